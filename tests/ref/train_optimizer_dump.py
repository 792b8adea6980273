"""Writes tests/ref/train_optimizer.ref: ten steps of torch.optim Adam and AdamW with clipping, and transformers' schedules.

Run from the project: python tests/ref/train_optimizer_dump.py
"""
import os

import numpy as np
import torch
from transformers import get_constant_schedule_with_warmup, get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

from ref_file import write

out = {}


def put(name, values):
    out[name] = np.array([float(v) for v in values], dtype=np.float64 if name.startswith("schedule") else np.float32)


torch.manual_seed(5)
w0, b0 = torch.randn(7, 5), torch.randn(3)
grads = [(torch.randn(7, 5) * (0.2 + i), torch.randn(3) * 1e-3) for i in range(10)]
grads[3] = (torch.zeros(7, 5), grads[3][1])
put("w0", w0.flatten())
put("b0", b0)
for i, (gw, gb) in enumerate(grads):
    put(f"gw{i}", gw.flatten())
    put(f"gb{i}", gb)
for kind in ("adam", "adamw", "clip"):
    w, b = torch.nn.Parameter(w0.clone()), torch.nn.Parameter(b0.clone())
    groups = [{"params": [w], "weight_decay": 0.05}, {"params": [b], "weight_decay": 0.0}]
    cls = torch.optim.Adam if kind == "adam" else torch.optim.AdamW
    opt = cls(groups, lr=0.01, betas=(0.9, 0.999), eps=1e-8, foreach=False)
    for i, (gw, gb) in enumerate(grads):
        w.grad, b.grad = gw.clone(), gb.clone()
        for g in opt.param_groups:
            g["lr"] = 0.01 * (1 + i % 3)
        if kind == "clip":
            put(f"clip.norm{i}", [torch.nn.utils.clip_grad_norm_([w, b], 2.0)])
        opt.step()
        put(f"{kind}.w{i}", w.detach().flatten())
        put(f"{kind}.b{i}", b.detach())
for name, make in (("constant", lambda o: get_constant_schedule_with_warmup(o, 4)), ("linear", lambda o: get_linear_schedule_with_warmup(o, 4, 20)),
                   ("cosine", lambda o: get_cosine_schedule_with_warmup(o, 4, 20))):
    opt = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.3)
    schedule, rates = make(opt), []
    for _ in range(20):
        rates.append(opt.param_groups[0]["lr"])
        opt.step()
        schedule.step()
    put(f"schedule.{name}", rates)
here = os.path.dirname(os.path.abspath(__file__))
write(os.path.join(here, "train_optimizer.ref"), out)
