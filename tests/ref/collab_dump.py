"""Writes tests/ref/collab.ref: MF with biases and history over ten Adam steps, both projections, and all alignment losses, by torch.

Run from the project: python tests/ref/collab_dump.py
"""
import os

import numpy as np
import torch
import torch.nn.functional as F
from ref_file import write

torch.manual_seed(11)
out = {}

# ---- MF: 9 users, 7 items, width 5; -1 is unseen; ten steps of Adam with coupled decay ----
U, I, C, N, STEPS = 9, 7, 5, 16, 10
p, q, y = (torch.nn.Parameter(0.3 * torch.randn(n, C)) for n in (U, I, I))
bu, bi, b0 = torch.nn.Parameter(0.1 * torch.randn(U)), torch.nn.Parameter(0.1 * torch.randn(I)), torch.nn.Parameter(torch.zeros(1))
names = {"user.weight": p, "item.weight": q, "user.bias": bu, "item.bias": bi, "global.bias": b0, "history.weight": y}
out.update({f"mf.start.{k}": v.detach().clone() for k, v in names.items()})
opt = torch.optim.Adam(names.values(), lr=0.02, weight_decay=0.01)
users, items = torch.randint(-1, U, (STEPS, N)), torch.randint(-1, I, (STEPS, N))
labels = torch.randint(0, 2, (STEPS, N)).float()
counts = torch.randint(0, 6, (STEPS, N))
history = torch.randint(0, I, (STEPS, N, 5))
losses = []
for t in range(STEPS):
    logits, vectors = [], []
    for n in range(N):
        u, i, h = int(users[t, n]), int(items[t, n]), history[t, n, : counts[t, n]]
        vec = p[u] if u >= 0 else torch.zeros(C)
        if len(h):
            vec = vec + y[h].sum(0) / len(h) ** 0.5
        z = b0[0]
        if i >= 0:
            z = z + vec @ q[i] + bi[i]
        if u >= 0:
            z = z + bu[u]
        logits.append(z)
        vectors.append(vec)
    z = torch.stack(logits)
    loss = F.binary_cross_entropy_with_logits(z, labels[t])
    opt.zero_grad()
    loss.backward()
    if t == 0:
        out["mf.z"], out["mf.vector"] = z, torch.stack(vectors)
        out.update({f"mf.grad.{k}": v.grad.clone() for k, v in names.items()})
    opt.step()
    losses.append(loss.item())
out.update({f"mf.end.{k}": v.detach() for k, v in names.items()})
out.update({"mf.users": users, "mf.items": items, "mf.labels": labels, "mf.counts": counts, "mf.history": history,
            "mf.losses": np.array(losses)})

# ---- projections: C 6 -> 11 -> L 8, warm 8 -> 8 ----
proj = torch.nn.Sequential(torch.nn.Linear(6, 11), torch.nn.GELU(), torch.nn.Linear(11, 8))
warm = torch.nn.Linear(8, 8)
for prefix, module in (("proj", proj), ("warm", warm)):
    x = torch.randn(5, 6 if prefix == "proj" else 8, requires_grad=True)
    result = module(x)
    dy = torch.randn(5, 8)
    result.backward(dy)
    out.update({f"{prefix}.x": x, f"{prefix}.y": result, f"{prefix}.dy": dy, f"{prefix}.dx": x.grad})
    for k, v in module.named_parameters():
        out[f"{prefix}.{k}"], out[f"{prefix}.{k}.grad"] = v, v.grad

# ---- alignment, in double ----
B, K, L, tau, power, lam = 6, 9, 10, 0.2, 0.01, 0.1
anchor = torch.randn(B, L, dtype=torch.float64, requires_grad=True)
wide = torch.randn(K, L, dtype=torch.float64, requires_grad=True)
own = torch.tensor([3, 0, 8, 5, 1, 6])
batch = torch.tensor([1, 0, 2, 4, 3, 5])  # places of the own candidate among the first B
out.update({"align.anchor": anchor.float(), "align.candidate": wide.float(), "align.own": own, "align.batch": batch})


def value(m_rows, pos, kind, q):
    if kind == "infonce":
        return (torch.logsumexp(m_rows, 1) - pos).mean()
    neg = m_rows.exp().sum(1)
    return (-(pos * q).exp() / q + (lam * (pos.exp() + neg)) ** q / q).mean()


for kind in ("infonce", "rince"):
    for negatives in ("batch", "all", "matched"):
        for both in (0, 1):
            anchor.grad = wide.grad = None
            # the float32 values that the dump holds
            a = anchor.detach().float().double().requires_grad_()
            c = wide.detach().float().double().requires_grad_()
            cand, idx = (c, own) if negatives == "all" else (c[:B], batch)
            m = F.normalize(a, dim=1) @ F.normalize(cand, dim=1).T / tau
            pos = m[torch.arange(B), idx]
            if negatives == "matched":
                loss = value(pos.expand(B, B), pos, kind, power)
            else:
                loss = value(m, pos, kind, power)
                if both:
                    loss = 0.5 * (loss + value(m[:, idx].T, pos, kind, power))
            loss.backward()
            name = f"align.{kind}.{negatives}.{both}"
            out.update({f"{name}.loss": np.array([loss.item()]), f"{name}.da": a.grad.float(), f"{name}.dc": c.grad[: len(cand)].float()})
write(os.path.join(os.path.dirname(os.path.abspath(__file__)), "collab.ref"), out)
