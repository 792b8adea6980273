#!/usr/bin/env python3
"""Measures sella and its peers in turns, A B A B, and prints a table. Standard library only; bench/peers/run.sh calls it.

A peer is started once per kind of work, finds its fastest setting, and then measures once whenever a line comes in; sella's bench runs once a
turn, with its own warm-up, and beside the roof. What neither of them does in its turn is sleeping.
"""
import argparse
import json
import os
import platform
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def say(text):
    print(text, file=sys.stderr, flush=True)


def lines_of(command):
    say("+ " + " ".join(command))
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def sella(args, *words):
    return lines_of([args.sella, "bench", *words, "--json", "--quiet"])


class Peer:
    def __init__(self, args, script, *words):
        command = [args.python, os.path.join(HERE, script), *words, "--serve"]
        say("+ " + " ".join(command))
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def measure(self):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"the peer ended with status {self.process.wait()}; its own words are above")
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def one(lines, name):
    """The best line of a bench of one run."""
    return next(line for line in lines if line["name"] == name and "best of" in line["work"])


def alternate(args, title, peer, words, name, sum_up):
    ours, theirs, roofs = [], [], []
    for turn in range(args.turns):
        say(f"{title}: turn {turn + 1} of {args.turns}")
        lines = sella(args, *words)
        ours.append(one(lines, name))
        roofs.append(one(lines, "gemm"))
        theirs.append(peer.measure())
    peer.close()
    sum_up.append((title, ours, theirs, roofs))


def machine():
    model = platform.machine()
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        model = next((line.split(":")[1].strip() for line in file if line.startswith("model name")), model)
    return f"{model}, {len(os.sched_getaffinity(0))} processors"


def figure(rate):
    return f"{rate / 1e6:.2f} M" if rate >= 1e6 else f"{rate:.0f}"


def rows_of(sum_up):
    for title, ours, theirs, roofs in sum_up:
        a, b = [m["rate"] for m in ours], [m["rate"] for m in theirs]
        roof = max(m["rate"] for m in roofs)
        share = max(m["bound_share"] * r["rate"] for m, r in zip(ours, roofs)) / roof
        load = max((m["foreign_load"] for m in ours if m.get("foreign_load") is not None), default=float("nan"))
        yield [title, ours[0]["unit"], f"{figure(max(a))} / {figure(statistics.median(a))}", f"{100 * share:.0f} %",
               f"{figure(max(b))} / {figure(statistics.median(b))}", f"{max(a) / max(b):.2f} / {statistics.median(x / y for x, y in zip(a, b)):.2f}",
               f"{max(m['rss_mb'] for m in ours):.0f} / {max(m['rss_mb'] for m in theirs):.0f}", f"{100 * load:.0f} %"]


def print_table(head, rows, markdown):
    if markdown:
        for row in [head, ["---"] * len(head), *rows]:
            print("| " + " | ".join(row) + " |")
        return
    width = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    for row in [head, *rows]:
        print("  ".join(cell.ljust(w) for cell, w in zip(row, width)).rstrip())


def prefix_rows(lines):
    for line in lines:
        if line.get("token_ratio") is not None and "best of" in line["work"]:
            yield [line["work"].split(", trees:")[0], f"{line['token_ratio']:.2f}", f"{line['speed_up']:.2f}", f"{100 * line['share']:.0f} %",
                   f"{line['rate']:.0f}", f"{100 * line['bound_share']:.0f} %", f"{line['difference']:.1e}"]


def profile_rows(lines):
    for line in lines:
        if "profile, " in line["work"] and line["rate"] >= 0.05:
            share = line["bound_share"]
            yield [line["name"], line["work"].split("profile, ")[1].rsplit(",", 1)[0], f"{line['rate']:.1f} %",
                   f"{1000 * line['seconds']:.1f}", f"{100 * share:.0f} %" if share is not None else ""]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sella", default=os.path.join(HERE, "..", "..", "build", "sella"))
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--model", required=True)
    parser.add_argument("--data", help="DATASET of sella import: prefix is measured on it, too")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--prefix-runs", type=int, default=2)
    parser.add_argument("--tokens", type=int, default=1024)
    parser.add_argument("--row-tokens", type=int, default=128)
    parser.add_argument("--ratings", type=int, default=1000000)
    parser.add_argument("--only", default="score,train,train-all,collab,profile,prefix", help="comma-separated")
    parser.add_argument("--markdown", action="store_true")
    args = parser.parse_args()
    only, sum_up = args.only.split(","), []
    size = ["--tokens", str(args.tokens), "--row-tokens", str(args.row_tokens)]
    once = ["--model", args.model, *size, "--runs", "1"]
    if "score" in only:
        alternate(args, "scoring", Peer(args, "pytorch_lora.py", "--model", args.model, "--work", "score", *size), ["score", *once], "score", sum_up)
        a, b = sum_up[-1][1][0]["answer"], sum_up[-1][2][0]["answer"]
        say(f"the same rows: mean answer {a:.6f} and {b:.6f}")
        if not abs(a - b) < 1e-3 * max(1, abs(b)):
            sys.exit("the two engines disagree about the same rows: nothing to compare")
    for key, rank, targets in (("train", "8", "q_proj,v_proj"), ("train-all", "16", "all")):
        if key in only:
            peer = Peer(args, "pytorch_lora.py", "--model", args.model, "--work", "train", "--rank", rank, "--targets", targets, *size)
            words = ["train", *once, "--lora-rank", rank, "--lora-targets", targets]
            alternate(args, f"LoRA training, r={rank}, {targets}", peer, words, "train", sum_up)
    if "collab" in only:
        ratings = ["--ratings", str(args.ratings)]
        alternate(args, "MF epoch, k=64", Peer(args, "libmf_peer.py", *ratings), ["collab", *ratings, "--runs", "3"], "collab", sum_up)
    print(f"Machine: {machine()}. Best / median of {args.turns} turns, alternating.\n")
    if sum_up:
        print_table(["work", "unit", "sella", "share of the roof", "peer", "ratio of bests / median of ratios", "peak MB sella / peer", "load of others"],
                    list(rows_of(sum_up)), args.markdown)
    if "profile" in only:
        words = ["--profile", "--model", args.model, *size, "--runs", str(args.turns)]
        lines = sella(args, "score", *words) + sella(args, "train", *words)
        print()
        print_table(["bench", "part", "time", "ms", "share of the roof"], list(profile_rows(lines)), args.markdown)
    if "prefix" in only:
        words = ["prefix", "--model", args.model, "--tokens", str(args.tokens), "--runs", str(args.prefix_runs)]
        lines = sella(args, *words) + (sella(args, *words, "--data", args.data) if args.data else [])
        print()
        print_table(["rows that share a prefix", "token ratio", "speed-up", "share", "tokens/s", "share of the roof", "results differ by"],
                    list(prefix_rows(lines)), args.markdown)


if __name__ == "__main__":
    main()
