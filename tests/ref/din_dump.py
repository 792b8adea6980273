"""Writes tests/ref/din.ref: DIN over ten Adam steps by torch, its scores with running statistics, and the contrastive loss.

Dice is written with torch.nn.BatchNorm1d; pairs of all rows are gathered by a mask over padded histories.
Run from the project: python tests/ref/din_dump.py
"""
import os

import numpy as np
import torch
import torch.nn.functional as F
from ref_file import write

torch.manual_seed(5)
U, I, C, N, STEPS, LONGEST = 9, 7, 6, 16, 10, 4
ATTENTION, TOP = (7, 5), (9, 4)


class Dice(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.alpha = torch.nn.Parameter(0.2 * torch.randn(width))
        self.norm = torch.nn.BatchNorm1d(width, eps=1e-8, momentum=0.1, affine=False)

    def forward(self, x):
        p = torch.sigmoid(self.norm(x))
        return p * x + (1 - p) * self.alpha * x


def network(width, hidden):
    layers = []
    for out in hidden:
        layers += [torch.nn.Linear(width, out), Dice(out)]
        width = out
    return torch.nn.Sequential(*layers, torch.nn.Linear(width, 1))


user, item, history = (torch.nn.Parameter(0.5 * torch.randn(n, C)) for n in (U, I, I))
attention, top = network(4 * C, ATTENTION), network(3 * C, TOP)
names = {"user.weight": user, "item.weight": item, "din.history.weight": history}
state = {}
for name, net in (("attention", attention), ("top", top)):
    for k in range(3):
        names[f"din.{name}.{k}.weight"], names[f"din.{name}.{k}.bias"] = net[2 * k].weight, net[2 * k].bias
        if k < 2:
            names[f"din.{name}.{k}.alpha"] = net[2 * k + 1].alpha
            state[f"din.{name}.{k}.mean"] = net[2 * k + 1].norm.running_mean
            state[f"din.{name}.{k}.variance"] = net[2 * k + 1].norm.running_var
out = {f"start.{k}": v.detach().clone() for k, v in {**names, **state}.items()}

users, items = torch.randint(-1, U, (STEPS, N)), torch.randint(-1, I, (STEPS, N))
counts, past = torch.randint(0, LONGEST + 1, (STEPS, N)), torch.randint(-1, I, (STEPS, N, LONGEST))
labels = torch.randint(0, 2, (STEPS, N)).float()


def rows(table, index):
    return torch.where((index >= 0)[..., None], table[index.clamp(min=0)], torch.zeros(C))


def forward(t):
    p, q, k = rows(user, users[t]), rows(item, items[t]), rows(history, past[t])
    real = torch.arange(LONGEST)[None] < counts[t][:, None]
    wide = q[:, None].expand_as(k)
    weight = torch.zeros(N, LONGEST)
    weight[real] = attention(torch.cat([wide, k, wide - k, wide * k], -1)[real])[:, 0]
    interest = (weight[..., None] * k).sum(1)
    sample = top[:-1](torch.cat([p, interest, q], -1))
    return top[-1](sample)[:, 0], interest, sample


adam = torch.optim.Adam([{"params": [v for k, v in names.items() if not k.endswith("alpha")], "weight_decay": 0.01},
                         {"params": [v for k, v in names.items() if k.endswith("alpha")]}], lr=0.02)
losses = []
for t in range(STEPS):
    z, interest, sample = forward(t)
    loss = F.binary_cross_entropy_with_logits(z, labels[t])
    adam.zero_grad()
    if t == 0:  # beside the loss: what contrastive pre-training and soft tokens send back
        extra, push = torch.randn_like(sample), torch.randn_like(interest)
        out.update({"z": z, "interest": interest, "sample": sample, "dsample": extra, "dinterest": push})
        ((sample * extra).sum() + (interest * push).sum() + loss).backward(retain_graph=True)
        out.update({f"both.{k}": v.grad.clone() for k, v in names.items() if v.grad is not None})
        adam.zero_grad()
    loss.backward()
    if t == 0:
        out.update({f"grad.{k}": v.grad.clone() for k, v in names.items()})
    adam.step()
    losses.append(loss.item())
out.update({f"end.{k}": v.detach().clone() for k, v in {**names, **state}.items()})
attention.eval(), top.eval()
out["scored.z"], out["scored.interest"], _ = forward(0)
out.update({"users": users, "items": items, "counts": counts, "history": past, "labels": labels, "losses": np.array(losses)})

# ---- the contrastive loss, in double ----
B, W = 6, 8
a0, b0 = torch.randn(B, W), torch.randn(B, W)
out.update({"contrast.a": a0, "contrast.b": b0})
for parts in (1, 2, 4):
    a, b = (x.double().requires_grad_() for x in (a0, b0))
    ua, ub = (F.normalize(x, dim=1).view(B, parts, W // parts) for x in (a, b))
    every = torch.einsum("imd,jkd->ijmk", ua, ub) / 0.7
    own = torch.arange(B)
    loss = (F.cross_entropy(every.amax(3).sum(2), own) + F.cross_entropy(every.amax(2).sum(2).T, own)) / 2
    loss.backward()
    out.update({f"contrast.{parts}.loss": np.array([loss.item()]), f"contrast.{parts}.da": a.grad.float(),
                f"contrast.{parts}.db": b.grad.float()})
write(os.path.join(os.path.dirname(os.path.abspath(__file__)), "din.ref"), out)
