"""t-SNE of the points of `sella bench tsne` by scikit-learn (its default, Barnes-Hut, PCA start), and sella, in turns.

    python bench/peers/tsne_peer.py [--points 6500] [--turns 3] [--sella build/sella]

KL of both is against the same similarities (perplexity 30, 91 neighbours); scikit-learn's own sums over q are approximate."""
import argparse
import json
import os
import statistics
import subprocess
import time

import numpy as np
from sklearn.manifold import TSNE

WIDTH, CLUSTERS = 64, 40


def made_up(points):
    """The numbers of engine/bench_tsne.c."""
    count = CLUSTERS * WIDTH + points * (WIDTH + 1)
    state, out = 1, np.empty(count, np.uint32)
    for n in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) & 0xFFFFFFFFFFFFFFFF
        out[n] = state >> 33
    def uniform(v):
        return (v % (1 << 24)).astype(np.float32) / np.float32(1 << 23) - np.float32(1)
    centre = uniform(out[: CLUSTERS * WIDTH]).reshape(CLUSTERS, WIDTH)
    rows = out[CLUSTERS * WIDTH :].reshape(points, WIDTH + 1)
    return centre[rows[:, 0] % CLUSTERS] + np.float32(0.8) * uniform(rows[:, 1:])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("--sella", default=os.path.join(here, "..", "..", "build", "sella"))
    parser.add_argument("--points", type=int, default=6500)
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    x, cores = made_up(args.points), len(os.sched_getaffinity(0))
    ours, theirs = [], []
    for _ in range(args.turns):
        lines = subprocess.run([args.sella, "bench", "tsne", "--points", str(args.points), "--runs", "1", "--json", "--quiet"],
                               check=True, capture_output=True, text=True).stdout.splitlines()
        ours.append(json.loads(lines[0]))
        start = time.perf_counter()
        peer = TSNE(2, init="pca", random_state=0, n_jobs=cores)
        peer.fit(x)
        theirs.append(time.perf_counter() - start)
        print(f"sella {ours[-1]['seconds']:.2f} s, KL {ours[-1]['answer']:.4f}; scikit-learn {theirs[-1]:.2f} s, KL {peer.kl_divergence_:.4f}", flush=True)
    mine = [m["seconds"] for m in ours]
    print(f"best of {args.turns}: sella {min(mine):.2f} s, scikit-learn {min(theirs):.2f} s; median of ratios "
          f"{statistics.median(b / a for a, b in zip(mine, theirs)):.2f}; load of others up to {max(m['foreign_load'] or 0 for m in ours):.0%}")


if __name__ == "__main__":
    main()
