#!/usr/bin/env python3
"""LIBMF (PyPI `libmf`) on the work of `sella bench collab`: epochs of matrix factorisation on made-up ratings.

    libmf_peer.py [--ratings N] [--turns N]     seconds of an epoch: (time of 1 + E epochs - time of 1 epoch) / E, so that set-up does not count
    libmf_peer.py ... --serve                   one measurement for every line that comes in
    libmf_peer.py --data DATASET                AUC and logloss on valid of a data set made by `sella import`, by epochs: quality beside time
"""
import argparse
import contextlib
import io
import json
import os
import resource
import sys
import time
import warnings

import numpy as np

warnings.filterwarnings("ignore", category=SyntaxWarning)
with contextlib.redirect_stdout(io.StringIO()):  # it prints its own path
    from libmf import mf as libmf

USERS, ITEMS = 6040, 3706
LOGISTIC, REGRESSION = 5, 0


def made_up(ratings):
    """As src/engine/bench_collab.c: uniform users and items, labels from vectors of four numbers."""
    random = np.random.default_rng(4)
    p, q = random.standard_normal((USERS, 4)), random.standard_normal((ITEMS, 4))
    u, i = random.integers(0, USERS, ratings), random.integers(0, ITEMS, ratings)
    label = random.random(ratings) < 1 / (1 + np.exp(-(p[u] * q[i]).sum(1)))
    return triples(u, i, label)


def triples(u, i, label):
    return np.column_stack([u, i, np.where(label, 1.0, -1.0)]).astype(np.float32)


def fit(x, epochs, args, threads):
    model = libmf.MF(fun=LOGISTIC if args.loss == "logistic" else REGRESSION, k=args.width, nr_threads=threads, nr_iters=epochs,
                        nr_bins=max(26, 2 * threads + 2), lambda_p2=args.l2, lambda_q2=args.l2, lambda_p1=0.0, lambda_q1=0.0, eta=args.eta, quiet=True)
    cpu, start = time.process_time(), time.perf_counter()
    model.fit(x)
    return model, time.perf_counter() - start, time.process_time() - cpu


def epoch(x, args, threads):
    one, more = fit(x, 1, args, threads), fit(x, 1 + args.epochs, args, threads)
    return (more[1] - one[1]) / args.epochs, (more[2] - one[2]) / args.epochs


def auc(score, label):
    _, place, count = np.unique(score, return_inverse=True, return_counts=True)
    rank = (np.cumsum(count) - (count - 1) / 2)[place]
    ones = label.sum()
    return (rank[label].sum() - ones * (ones + 1) / 2) / (ones * (len(label) - ones))


def columns(folder, split):
    return [np.load(os.path.join(folder, split, name + ".npy")) for name in ("user", "item", "label")]


def quality(args, threads):
    """Users and items that train never saw have no vector: score 0."""
    u, i, label = columns(args.data, "train")
    vu, vi, vlabel = columns(args.data, "valid")
    x, vlabel = triples(u, i, label > 0), vlabel > 0
    for epochs in (1, 2, 5, 10, 20, 40, 80):
        model, seconds, _ = fit(x, epochs, args, threads)
        p, q = np.nan_to_num(model.p_factors()), np.nan_to_num(model.q_factors())
        known = (vu < len(p)) & (vi < len(q))
        z = np.zeros(len(vu))
        z[known] = (p[vu[known]] * q[vi[known]]).sum(1)
        loss = np.logaddexp(0, np.where(vlabel, -z, z)).mean()
        print(json.dumps({"name": "collab", "work": f"LIBMF, {args.loss}, {args.width} wide, {epochs} epochs", "seconds": seconds,
                          "auc": auc(z, vlabel), "logloss": loss}), flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratings", type=int, default=1000000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=10, help="E")
    parser.add_argument("--loss", choices=["logistic", "regression"], default="logistic")
    parser.add_argument("--l2", type=float, default=0.05)
    parser.add_argument("--eta", type=float, default=0.1)
    parser.add_argument("--threads", default="", help="comma-separated counts to try; default: one, all")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--data")
    parser.add_argument("--serve", action="store_true")
    args = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    threads = [int(n) for n in args.threads.split(",")] if args.threads else sorted({1, cores})
    if args.data:
        return quality(args, threads[-1])
    x = made_up(args.ratings)
    best = min(threads, key=lambda count: epoch(x, args, count)[0])
    for _ in sys.stdin if args.serve else range(args.turns):
        seconds, cpu = epoch(x, args, best)
        print(json.dumps({"name": "collab", "work": f"LIBMF, {args.loss}: one epoch, {args.ratings} ratings of {USERS} users on {ITEMS} items, "
                          f"{args.width} wide", "seconds": seconds, "rate": args.ratings / seconds, "unit": "rows/s", "bound_share": None,
                          "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "threads": best, "cpu_seconds": cpu}), flush=True)


if __name__ == "__main__":
    main()
