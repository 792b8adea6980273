"""Blocks made by the `gguf` package and what it makes of them: tests/ref/kernels_dequant.ref.

Run in the project's folder: python tests/ref/kernels_dequant_dump.py
"""
import numpy as np
from gguf import GGMLQuantizationType as Q
from gguf.quants import dequantize, quantize

import ref_file

rng = np.random.default_rng(7)
x = (rng.standard_normal((6, 96)) * rng.choice([1e-3, 0.05, 1, 30], (6, 1))).astype(np.float32)
x[0, :32] = 0
out = {}
for kind in (Q.F32, Q.F16, Q.BF16, Q.Q8_0, Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1):
    blocks = quantize(x, kind)
    out[f"{kind.name}.blocks"] = np.ascontiguousarray(blocks).view(np.uint8)
    out[f"{kind.name}.values"] = dequantize(blocks, kind).astype(np.float32)
    if kind in (Q.Q8_0, Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1):  # any bytes with finite scales, so that every code and subnormal scales occur
        size = {Q.Q8_0: 34, Q.Q4_0: 18, Q.Q4_1: 20, Q.Q5_0: 22, Q.Q5_1: 24}[kind]
        blocks = rng.integers(0, 256, (24, size), dtype=np.uint8)
        blocks[:, 1] = blocks[:, 1] % 0x78 | blocks[:, 1] & 0x80
        blocks[:3, 1] &= 0x80
        if kind in (Q.Q4_1, Q.Q5_1):
            blocks[:, 3] = blocks[:, 3] % 0x78 | blocks[:, 3] & 0x80
        out[f"{kind.name}.random.blocks"] = blocks
        out[f"{kind.name}.random.values"] = dequantize(blocks, kind).astype(np.float32)

# The package reads blocks of 256 values but does not make them: random bytes, then scales and codes at their ends. A scale in half
# precision goes through 0, -0, both ends of the subnormals and both ends of all values, alone and with the others.
EXTREME = np.array([0x0000, 0x8000, 0x0001, 0x83FF, 0x7BFF, 0xFBFF], dtype=np.uint16)
for kind, size, halves_at, scales in ((Q.Q4_K, 144, (0, 2), slice(4, 16)), (Q.Q5_K, 176, (0, 2), slice(4, 16)),
                                      (Q.Q6_K, 210, (208,), slice(192, 208))):
    blocks = rng.integers(0, 256, (14, size), dtype=np.uint8)
    for at in halves_at:
        blocks[:, at + 1] = blocks[:, at + 1] % 0x78 | blocks[:, at + 1] & 0x80
        blocks[2:8, at:at + 2] = np.roll(EXTREME, at).view(np.uint8).reshape(6, 2)
    others = np.setdiff1d(np.arange(size), [b for at in halves_at for b in (at, at + 1)])
    blocks[8, others], blocks[9, others] = 0, 255
    blocks[10, scales], blocks[11, scales], blocks[12, scales] = 0, 255, 0x80
    blocks[13, :] = 0
    out[f"{kind.name}.random.blocks"] = blocks
    out[f"{kind.name}.random.values"] = dequantize(blocks, kind).astype(np.float32)
    assert np.isfinite(out[f"{kind.name}.random.values"]).all()

# conversions: every seventh half
out["half.floats"] = np.arange(65536, dtype=np.uint16)[::7].view(np.float16).astype(np.float32)
ref_file.write("tests/ref/kernels_dequant.ref", out)
