"""Writes tests/ref/collab_models.ref: SASRec and LightGCN, first step's vectors, logits and gradients and ten Adam steps, by torch.

Both are written the plain way (left-padded sequences with masks; a dense adjacency matrix), unlike the code under test.
Run from the project: python tests/ref/collab_models_dump.py
"""
import numpy as np
import torch
import torch.nn.functional as F
from ref_file import write

torch.manual_seed(23)
out = {}
STEPS, N, LR, DECAY = 10, 12, 0.01, 0.01


def train(prefix, names, vectors, users, items, labels):
    """names: parameters by name, among them the biases; vectors(step) -> user and item vectors [N, C]."""
    opt = torch.optim.Adam(names.values(), lr=LR, weight_decay=DECAY)
    losses = []
    out.update({f"{prefix}.start.{k}": v.detach().clone() for k, v in names.items()})
    for t in range(STEPS):
        p, q = vectors(t)
        known_u, known_i = (users[t] >= 0).float(), (items[t] >= 0).float()
        z = (p * q).sum(1) + names["global.bias"] + known_u * names["user.bias"][users[t].clamp(min=0)] + \
            known_i * names["item.bias"][items[t].clamp(min=0)]
        loss = F.binary_cross_entropy_with_logits(z, labels[t])
        opt.zero_grad()
        loss.backward()
        if t == 0:
            out.update({f"{prefix}.user": p, f"{prefix}.item": q, f"{prefix}.z": z})
            out.update({f"{prefix}.grad.{k}": v.grad.clone() for k, v in names.items()})
        opt.step()
        losses.append(loss.item())
    out.update({f"{prefix}.end.{k}": v.detach() for k, v in names.items()})
    out.update({f"{prefix}.users": users, f"{prefix}.items": items, f"{prefix}.labels": labels, f"{prefix}.losses": np.array(losses)})


def biases(users, items):
    return {"user.bias": torch.nn.Parameter(0.1 * torch.randn(users)), "item.bias": torch.nn.Parameter(0.1 * torch.randn(items)),
            "global.bias": torch.nn.Parameter(torch.tensor([0.1]))}


# ---- SASRec: 5 users, 11 items, width 6 in 2 heads, 2 blocks, the last 4 positives ----
U, I, C, HEADS, BLOCKS, T = 5, 11, 6, 2, 2, 4
names = {"item.weight": torch.nn.Parameter(0.5 * torch.randn(I, C)), "sasrec.position.weight": torch.nn.Parameter(0.5 * torch.randn(T, C)),
         "sasrec.norm.weight": torch.nn.Parameter(1 + 0.1 * torch.randn(C)), "sasrec.norm.bias": torch.nn.Parameter(0.1 * torch.randn(C))}
for b in range(BLOCKS):
    for k in ("norm1", "norm2"):
        names[f"sasrec.block.{b}.{k}.weight"] = torch.nn.Parameter(1 + 0.1 * torch.randn(C))
        names[f"sasrec.block.{b}.{k}.bias"] = torch.nn.Parameter(0.1 * torch.randn(C))
    for k in ("query", "key", "value", "ffn.0", "ffn.2"):
        names[f"sasrec.block.{b}.{k}.weight"] = torch.nn.Parameter(torch.randn(C, C) / C**0.5)
    for k in ("ffn.0", "ffn.2"):
        names[f"sasrec.block.{b}.{k}.bias"] = torch.nn.Parameter(0.1 * torch.randn(C))
names.update(biases(U, I))
users, items = torch.randint(-1, U, (STEPS, N)), torch.randint(-1, I, (STEPS, N))
labels = torch.randint(0, 2, (STEPS, N)).float()
counts = torch.randint(0, T + 1, (STEPS, N))
history = torch.randint(0, I, (STEPS, N, T))
counts[:, 3], history[:, 3] = counts[:, 2], history[:, 2]  # neighbours with one history
counts[0, 0] = 0
counts[0, 1] = T


def norm(x, name):
    return F.layer_norm(x, (C,), names[name + ".weight"], names[name + ".bias"], 1e-5)


def sasrec(t):
    padded = torch.zeros(N, T, dtype=torch.long)
    there = torch.zeros(N, T, dtype=torch.bool)
    for n in range(N):
        m = int(counts[t, n])
        if m:
            padded[n, T - m:], there[n, T - m:] = history[t, n, :m], True
    x = names["item.weight"][padded] * C**0.5 + names["sasrec.position.weight"]
    allowed = torch.tril(torch.ones(T, T, dtype=torch.bool)) & there[:, None, :]
    for b in range(BLOCKS):
        at = f"sasrec.block.{b}."
        a = norm(x, at + "norm1")
        q, k, v = ((a @ names[f"{at}{m}.weight"].T).view(N, T, HEADS, C // HEADS).transpose(1, 2) for m in ("query", "key", "value"))
        score = (q @ k.transpose(2, 3)) / (C // HEADS) ** 0.5
        prob = score.masked_fill(~allowed[:, None], -1e30).softmax(-1)
        x = x + (prob @ v).transpose(1, 2).reshape(N, T, C)
        f = norm(x, at + "norm2")
        x = x + F.linear(F.relu(F.linear(f, names[at + "ffn.0.weight"], names[at + "ffn.0.bias"])), names[at + "ffn.2.weight"], names[at + "ffn.2.bias"])
    last = torch.where(there[:, -1:], x[:, -1], torch.zeros(N, C))
    known = (items[t] >= 0).float()[:, None]
    return norm(last, "sasrec.norm"), known * names["item.weight"][items[t].clamp(min=0)]


train("sasrec", names, sasrec, users, items, labels)
out.update({"sasrec.counts": counts, "sasrec.history": history})

# ---- LightGCN: 6 users, 8 items, width 5, 3 layers; user 5 and item 7 have no positive; a repeated edge ----
U, I, C, K = 6, 8, 5, 3
edge_u = torch.tensor([0, 0, 0, 1, 1, 2, 3, 3, 3, 4, 0, 2])
edge_i = torch.tensor([0, 1, 2, 1, 3, 4, 5, 6, 0, 2, 2, 6])
names = {"lightgcn.user.weight": torch.nn.Parameter(0.5 * torch.randn(U, C)), "lightgcn.item.weight": torch.nn.Parameter(0.5 * torch.randn(I, C))}
names.update(biases(U, I))
adjacency = torch.zeros(U + I, U + I)
adjacency[edge_u, U + edge_i] = 1
adjacency = adjacency + adjacency.T
degree = adjacency.sum(1)
scale = torch.where(degree > 0, degree.clamp(min=1) ** -0.5, torch.zeros(U + I))
adjacency = scale[:, None] * adjacency * scale[None]
users, items = torch.randint(0, U, (STEPS, N)), torch.randint(-1, I, (STEPS, N))
labels = torch.randint(0, 2, (STEPS, N)).float()
guest = [1, 2, 6]  # a user never seen who liked these, as one more node that nothing flows out of


def propagated():
    layer = torch.cat([names["lightgcn.user.weight"], names["lightgcn.item.weight"]])
    layers = [layer]
    for _ in range(K):
        layers.append(adjacency @ layers[-1])
    return layers


def lightgcn(t):
    final = torch.stack(propagated()).mean(0)
    known = (items[t] >= 0).float()[:, None]
    return final[users[t]], known * final[U + items[t].clamp(min=0)]


with torch.no_grad():
    layers = propagated()
    out["lightgcn.final"] = torch.stack(layers).mean(0)
    fold = sum(layers[k][U + i] * scale[U + i] * len(guest) ** -0.5 for k in range(K) for i in guest) / (K + 1)
    out["lightgcn.guest"], out["lightgcn.guest.history"] = fold, torch.tensor(guest)
out.update({"lightgcn.edge.user": edge_u, "lightgcn.edge.item": edge_i})
train("lightgcn", names, lightgcn, users, items, labels)

write("tests/ref/collab_models.ref", out)
