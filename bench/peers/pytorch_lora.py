#!/usr/bin/env python3
"""PyTorch + transformers + PEFT on the work of `sella bench score` and `sella bench train`.

The same made-up ids in rows of one length, so that PyTorch needs no padding; float32 weights from the same file; hidden states of the last
token only go through the head, and only its two label rows are computed; in training only the adapters have gradients, the loss is taken at
the labels alone, AdamW makes the step. Several thread counts and both attention kernels are tried first, the fastest is measured.

    pytorch_lora.py --model FILE.gguf|FOLDER --work score|train [--turns N]     N measurements, one JSON line each
    pytorch_lora.py ... --serve                                                 one for every line that comes in
"""
import argparse
import json
import os
import resource
import sys
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

import torch
from transformers import AutoModelForCausalLM
from transformers.utils import logging

logging.set_verbosity_error()
logging.disable_progress_bar()


def say(text):
    print(text, file=sys.stderr, flush=True)


def made_up_rows(rows, length, vocabulary):
    """The ids of src/engine/bench_model.c."""
    state, mask = 2, (1 << 64) - 1
    ids = []
    for _ in range(rows * length):
        state = (state * 6364136223846793005 + 1442695040888963407) & mask
        ids.append((state >> 33) % vocabulary)
    return torch.tensor(ids).view(rows, length)


def load(path):
    options = {"dtype": torch.float32}
    if os.path.isdir(path):
        return AutoModelForCausalLM.from_pretrained(path, **options)
    folder, name = os.path.split(os.path.abspath(path))
    return AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, **options)


class Work:
    def __init__(self, args):
        self.args = args
        self.train = args.work == "train"
        self.model = model = load(args.model)
        self.rows = made_up_rows(max(args.tokens // args.row_tokens, 1), args.row_tokens, model.config.vocab_size)
        head = model.get_output_embeddings().weight.detach()
        self.direction = (head[1] - head[0]).clone()
        self.label = (torch.arange(len(self.rows)) % 2).float()
        if self.train:
            from peft import LoraConfig, get_peft_model
            names = args.targets.split(",")
            if args.targets == "all":
                names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
            config = LoraConfig(r=args.rank, lora_alpha=2 * args.rank, target_modules=names, task_type="CAUSAL_LM")
            self.whole = get_peft_model(model, config)
            self.body = self.whole.get_base_model().model
            self.whole.train()
            self.optimizer = torch.optim.AdamW([p for p in self.whole.parameters() if p.requires_grad], lr=1e-4, weight_decay=0.0)
        else:
            self.whole, self.body = model, model.model
            self.whole.eval()

    def logits(self):
        hidden = self.body(input_ids=self.rows, use_cache=False).last_hidden_state
        return hidden[:, -1] @ self.direction

    def once(self):
        """One forward pass or one step: seconds, processor seconds, mean answer (score)."""
        cpu, start, answer = time.process_time(), time.perf_counter(), None
        if self.train:
            loss = torch.nn.functional.binary_cross_entropy_with_logits(self.logits(), self.label)
            loss.backward()
            torch.nn.utils.clip_grad_norm_([p for p in self.whole.parameters() if p.requires_grad], 1.0)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
        else:
            with torch.inference_mode():
                answer = self.logits().mean().item()
        return time.perf_counter() - start, time.process_time() - cpu, answer


def fastest(args):
    """The best of the attention kernels at the most threads, then of the other thread counts: two passes each, the second counts."""
    cores = len(os.sched_getaffinity(0))
    threads = [int(n) for n in args.threads.split(",")] if args.threads else [cores, (cores + 1) // 2, 1]
    threads = sorted(set(threads), reverse=True)
    work, best = Work(args), None

    def attempt(count, attention):
        nonlocal best
        work.model.set_attn_implementation(attention)
        torch.set_num_threads(count)
        work.once()
        seconds = work.once()[0]
        say(f"tried {attention}, {count} threads: {work.rows.numel() / seconds:.0f} tokens/s")
        if best is None or seconds < best[0]:
            best = (seconds, count, attention)

    for attention in args.attention.split(","):
        attempt(threads[0], attention)
    for count in threads[1:]:
        attempt(count, best[2])
    torch.set_num_threads(best[1])
    work.model.set_attn_implementation(best[2])
    return work, best[1], best[2]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--work", choices=["score", "train"], required=True)
    parser.add_argument("--tokens", type=int, default=1024, help="of one pass or step")
    parser.add_argument("--row-tokens", type=int, default=128)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--targets", default="q_proj,v_proj", help="comma-separated, or all")
    parser.add_argument("--threads", default="", help="comma-separated counts to try; default: one, half, all")
    parser.add_argument("--attention", default="sdpa,eager", help="comma-separated kernels to try")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--serve", action="store_true")
    args = parser.parse_args()
    work, threads, attention = fastest(args)
    tokens = work.rows.numel()
    what = "forward pass" if args.work == "score" else f"LoRA step, rank {args.rank} on {args.targets}"
    what = f"PyTorch {torch.__version__.split('+')[0]}, {attention}: {what}, {tokens} tokens in {len(work.rows)} rows"
    for _ in sys.stdin if args.serve else range(args.turns):
        seconds, cpu, answer = work.once()
        line = {"name": args.work, "work": what, "seconds": seconds, "rate": tokens / seconds, "unit": "tokens/s", "bound_share": None,
                "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "threads": threads, "cpu_seconds": cpu}
        if answer is not None:
            line["answer"] = answer
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
