"""Matrix factorisation with signs in PyTorch: logits, loss and gradients with tanh alone (t) and with signs alone (s), and the codes.

    python collab_binary_dump.py        writes collab_binary.ref

Everything is computed in double precision and dumped as f32.
"""
import os

import numpy as np
import torch

import ref_file

USERS, ITEMS, C = 5, 7, 6
ROWS = [(0, 1, 1), (0, 3, 0), (1, 1, 1), (2, 6, 0), (4, 0, 1), (4, 1, 0), (3, 2, 1), (3, 5, 0), (0, 6, 1)]


class Sign(torch.autograd.Function):
    @staticmethod
    def forward(ctx, t):
        return torch.where(t >= 0, 1.0, -1.0).to(t.dtype)

    @staticmethod
    def backward(ctx, grad):
        return grad


def main():
    g = torch.Generator().manual_seed(5)

    def new(*shape):
        return (torch.randn(*shape, generator=g, dtype=torch.float64) * 0.7).float().double().requires_grad_()

    t = {"user.weight": new(USERS, C), "item.weight": new(ITEMS, C), "user.code.weight": new(C, C), "user.code.bias": new(C),
         "item.code.weight": new(C, C), "item.code.bias": new(C)}
    user, item, label = (torch.tensor([r[k] for r in ROWS]) for k in range(3))

    def tanh(side, x):
        return torch.tanh(x @ t[f"{side}.code.weight"].T + t[f"{side}.code.bias"])

    out = {"user": user, "item": item, "label": label.float()}
    out.update({n: p.detach().float() for n, p in t.items()})
    for name, sign in (("t", lambda x: x), ("s", Sign.apply)):
        for p in t.values():
            p.grad = None
        h = {s: sign(tanh(s, t[f"{s}.weight"][rows])) for s, rows in (("user", user), ("item", item))}
        z = (h["user"] * h["item"]).sum(1)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(z, label.double())
        loss.backward()
        out[f"{name}.z"], out[f"{name}.loss"] = z.detach().float(), loss.detach()[None].float()
        out.update({f"{name}.grad.{n}": p.grad.float() for n, p in t.items()})
    for side in ("user", "item"):
        x = t[f"{side}.weight"].detach()
        x = torch.cat([x, x.mean(0, keepdim=True)])
        out[f"{side}.bit"] = (tanh(side, x) >= 0).detach().numpy().astype(np.uint8)
    ref_file.write(os.path.join(os.path.dirname(os.path.abspath(__file__)), "collab_binary.ref"), out)


if __name__ == "__main__":
    main()
