"""Reproduce scores of a `sella train sella --preset paper` run in PyTorch, from its files alone.

    python pytorch_score.py SELLA RUN MODEL SPLIT ROW... [--data DATASET]

SELLA is the program (it renders the prompts), MODEL the Hugging Face folder that the run was trained on. `sella eval RUN --split SPLIT` (or training, for
valid) must have written RUN/predictions-SPLIT.csv with every row of that part. Needs torch, transformers, peft and safetensors.
"""
import argparse
import csv
import json
import os
import subprocess

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM


def rows_of(path):
    """First column -> row number: line r after the header is row r of the tables."""
    with open(path, encoding="utf-8") as f:
        return {line.rstrip("\n").split("\t")[0]: r for r, line in enumerate(f.readlines()[1:])}


class Run:
    def __init__(self, sella, run, model, data=None):
        self.sella, self.path, self.data = sella, run, data
        backbone = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
        self.model = PeftModel.from_pretrained(backbone, os.path.join(run, "adapter")).eval()
        self.collab = load_file(os.path.join(run, "collab.safetensors"))
        self.proj = load_file(os.path.join(run, "projection.safetensors"))
        self.users = rows_of(os.path.join(run, "users.tsv"))
        self.items = rows_of(os.path.join(run, "items.tsv"))

    def prompt(self, split, row):
        command = [self.sella, "inspect", "prompt", self.path, "--split", split, "--row", str(row), "--json", "--quiet"]
        command += ["--data", self.data] if self.data else []
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    def project(self, x):
        """C -> L: Linear, GELU, Linear."""
        hidden = torch.nn.functional.gelu(x @ self.proj["proj.0.weight"].T + self.proj["proj.0.bias"])
        return hidden @ self.proj["proj.2.weight"].T + self.proj["proj.2.bias"]

    def soft(self, slot, user, item):
        if slot == "user":  # a user never seen stands for the mean of those seen
            table = self.collab["user.weight"]
            return self.project(table[self.users[user]] if user in self.users else table.mean(0))
        row = self.items[item]
        if slot == "item":
            return self.project(self.collab["item.weight"][row])
        return self.proj["warm.weight"] @ self.collab["semantic.weight"][row] + self.proj["warm.bias"]

    @torch.no_grad()
    def score(self, split, row, user, item):
        prompt = self.prompt(split, row)
        x = self.model.get_input_embeddings()(torch.tensor([prompt["ids"]])).clone()
        for token in prompt["soft"]:
            x[0, token["position"]] = self.soft(token["slot"], user, item)
        logits = self.model(inputs_embeds=x).logits[0, prompt["answer_position"]]
        z = logits[prompt["label_ids"]["yes"]] - logits[prompt["label_ids"]["no"]]
        return torch.sigmoid(z).item()


def main():
    parser = argparse.ArgumentParser()
    for name in ("sella", "run", "model", "split"):
        parser.add_argument(name)
    parser.add_argument("rows", nargs="+", type=int)
    parser.add_argument("--data", help="the data set that holds the rows, when it is not the run's own")
    args = parser.parse_args()
    run = Run(args.sella, args.run, args.model, args.data)
    with open(os.path.join(args.run, f"predictions-{args.split}.csv"), encoding="utf-8", newline="") as f:
        predictions = list(csv.DictReader(f))
    worst = 0.0
    for row in args.rows:
        p = predictions[row]
        mine = run.score(args.split, row, p["user"], p["item"])
        worst = max(worst, abs(mine - float(p["score"])))
        print(f"row {row}: PyTorch {mine:.7f}, sella {float(p['score']):.7f}")
    print(f"largest difference {worst:.2e}")


if __name__ == "__main__":
    main()
