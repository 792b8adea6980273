"""Expected values of the kernels from PyTorch and transformers, in double where that is possible: tests/ref/kernels.ref.

Run in the project's folder: python tests/ref/kernels_dump.py
"""
import numpy as np
import torch
import torch.nn.functional as F
from transformers import LlamaConfig
from transformers.models.llama.modeling_llama import LlamaRMSNorm, LlamaRotaryEmbedding, apply_rotary_pos_emb

import ref_file

torch.manual_seed(20240601)
out = {}


def put(prefix, **tensors):
    for name, value in tensors.items():
        if isinstance(value, torch.Tensor):
            value = value.detach()
            value = value.to(torch.float32) if value.is_floating_point() else value.to(torch.int32)
        out[f"{prefix}.{name}"] = value


def f32(*shape):
    """Random values that are exact in f32, as double leaves."""
    return torch.randn(*shape, dtype=torch.float32).double().requires_grad_()


# RMSNorm
for tag, (n, c, eps) in {"norm0": (5, 37, 1e-5), "norm1": (3, 64, 1e-6), "norm2": (4, 576, 1e-5)}.items():
    x, w, dy = f32(n, c), f32(c), torch.randn(n, c).double()
    norm = LlamaRMSNorm(c, eps)
    y = w * (x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps))
    norm.weight.data = w.detach().float()
    assert torch.allclose(norm(x.float()).double(), y, atol=1e-5)
    y.backward(dy)
    put(tag, x=x, w=w, y=y, dy=dy, dx=x.grad, eps=np.array([eps]))

# RoPE: plain and with Llama 3's scaling
for tag, (d, theta, scaling) in {
    "rope0": (64, 100000.0, None),
    "rope1": (16, 10000.0, None),
    "rope2": (64, 500000.0, dict(rope_type="llama3", factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                 original_max_position_embeddings=8192)),
}.items():
    parameters = dict(rope_theta=theta, **(scaling or dict(rope_type="default")))
    config = LlamaConfig(hidden_size=3 * d, num_attention_heads=3, head_dim=d, max_position_embeddings=131072, rope_parameters=parameters)
    rotary = LlamaRotaryEmbedding(config)
    h, position = 3, torch.tensor([0, 1, 2, 7, 7, 100, 511, 1000])
    x = torch.randn(len(position), h, d)
    cos, sin = rotary(x, position[None])
    y, _ = apply_rotary_pos_emb(x.transpose(0, 1)[None], x.transpose(0, 1)[None], cos, sin)
    s = scaling or dict(factor=1.0, low_freq_factor=1.0, high_freq_factor=1.0, original_max_position_embeddings=1.0)
    put(tag, x=x, y=y[0].transpose(0, 1).contiguous(), position=position, inv=rotary.inv_freq.float(),
        setting=np.array([d, theta, scaling is not None, s["factor"], s["low_freq_factor"], s["high_freq_factor"],
                          s["original_max_position_embeddings"]], dtype=np.float64))

# SwiGLU and GELU, with values far out on both sides
n, width = 5, 43
gu, dy = f32(n, 2 * width), torch.randn(n, width).double()
with torch.no_grad():
    gu[0, :8] = torch.tensor([-120.0, -90, -40, -15, 15, 40, 90, 120]).double()
y = F.silu(gu[:, :width]) * gu[:, width:]
y.backward(dy)
put("swiglu", gu=gu, y=y, dy=dy, dgu=gu.grad)
x = torch.cat([torch.linspace(-12, 12, 481), torch.randn(200), torch.tensor([0.0, 1e-8, -1e-8, 50, -50, 1e4, -1e4])])
x = x.double().requires_grad_()
dy = torch.randn(len(x)).double()
y = F.gelu(x)
y.backward(dy)
put("gelu", x=x, y=y, dy=dy, dx=x.grad)

# BCE on logits, with weights and labels between 0 and 1
z = torch.cat([torch.randn(20) * 3, torch.tensor([0.0, 30, -30, 200, -200, 88, -88])]).double().requires_grad_()
label, weight = torch.rand(27).round().double(), torch.rand(27).float().double()
label[:3] = torch.tensor([0.25, 0.5, 0.75])
loss = (weight * F.binary_cross_entropy_with_logits(z, label, reduction="none")).sum()
loss.backward()
put("bce", z=z, y=label, weight=weight, dz=z.grad, loss=loss.detach().numpy().reshape(1))

# Attention over a forest of segments: an explicit mask, softmax, autograd
start = [0, 5, 9, 10, 17, 20, 33, 36, 37, 44]
parent = [-1, 0, 1, 1, 0, -1, 5, 6, 5]
subtree = [5, 4, 3, 4, 5, 9, 8, 8, 9]
T = start[-1]
segment = np.repeat(np.arange(len(parent)), np.diff(start))
mask = torch.zeros(T, T, dtype=torch.bool)
for i in range(T):
    s = segment[i]
    mask[i, start[s]:i + 1] = True
    while parent[s] >= 0:
        s = parent[s]
        mask[i, start[s]:start[s + 1]] = True
for tag, (h, g, d) in {"att0": (3, 1, 16), "att1": (2, 2, 10)}.items():
    scale = np.float32(1 / np.sqrt(d))
    q, k, v, do = f32(T, h, d), f32(T, g, d), f32(T, g, d), torch.randn(T, h, d).double()
    kk, vv = k.repeat_interleave(h // g, 1), v.repeat_interleave(h // g, 1)
    scores = torch.einsum("ihd,jhd->hij", q, kk) * float(scale)
    scores = scores.masked_fill(~mask, float("-inf"))
    o = torch.einsum("hij,jhd->ihd", scores.softmax(-1), vv)
    o.backward(do)
    put(tag, q=q, k=k, v=v, do=do, o=o, lse=scores.logsumexp(-1).T.contiguous(), dq=q.grad, dk=k.grad, dv=v.grad,
        start=np.array(start, dtype=np.int32), parent=np.array(parent, dtype=np.int32), subtree=np.array(subtree, dtype=np.int32),
        shape=np.array([T, len(parent), h, g, d], dtype=np.int32))

ref_file.write("tests/ref/kernels.ref", out)
