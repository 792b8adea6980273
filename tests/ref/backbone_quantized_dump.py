"""A small Llama whose matrices stand in a GGUF as quantized blocks of mixed types, and what transformers computes with them.

    python backbone_quantized_dump.py            writes backbone_quantized.gguf and backbone_quantized.ref

Needs torch, transformers, gguf and numpy. The blocks come first: the gguf package dequantizes them, and transformers runs in double
precision on exactly those values. Blocks of 256 values, which the package cannot make, are drawn at random with scales that give
weights of a useful size.
"""
import math
import os

import numpy as np
import torch
from gguf import GGMLQuantizationType as Q
from gguf.quants import dequantize, quantize
from transformers import LlamaConfig, LlamaForCausalLM

import ref_file
from backbone_dump import HERE, V, answers, f32, gguf_finish, gguf_name, gguf_writer, make_rows

NAME = "backbone_quantized"
# rows of attn_output and ffn_down have 128 values: no multiple of 256
TYPES = {"token_embd": Q.Q6_K, "attn_q": Q.Q4_K, "attn_k": Q.Q8_0, "attn_v": Q.Q6_K, "attn_output": Q.Q5_0, "ffn_gate": Q.Q4_K,
         "ffn_up": Q.Q5_K, "ffn_down": Q.Q5_1}
CONFIG = LlamaConfig(vocab_size=V, hidden_size=256, intermediate_size=128, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=1,
                     head_dim=32, max_position_embeddings=2048, bos_token_id=506, eos_token_id=508, rms_norm_eps=1e-5,
                     rope_parameters=dict(rope_type="default", rope_theta=10000.0), tie_word_embeddings=True, attn_implementation="eager")


def halves(x):
    return x.astype(np.float16).view(np.uint8).reshape(-1, 2)


def six_bits(scale, least):
    """12 bytes from 8 scales and 8 minima below 64."""
    low = [scale[:, :4] | scale[:, 4:] >> 4 << 6, least[:, :4] | least[:, 4:] >> 4 << 6]
    return np.concatenate(low + [(scale[:, 4:] & 15) | (least[:, 4:] & 15) << 4], axis=1)


def draw_blocks(rng, kind, n, spread):
    """n random blocks of 256 values whose mean is about 0 and whose deviation is about `spread`."""
    codes = rng.integers(0, 256, (n, {Q.Q4_K: 128, Q.Q5_K: 160, Q.Q6_K: 192}[kind]), dtype=np.uint8)
    if kind == Q.Q6_K:
        scale = (rng.integers(16, 128, (n, 16)) * rng.choice([-1, 1], (n, 16))).astype(np.int8).view(np.uint8)
        d = spread / (72 * 18.5) * rng.uniform(0.5, 1.5, n)
        return np.concatenate([codes, scale, halves(d)], axis=1)
    middle = 7.5 if kind == Q.Q4_K else 15.5
    scale = rng.integers(20, 63, (n, 8)).astype(np.uint8)
    least = (scale + rng.integers(-1, 2, (n, 8))).astype(np.uint8)
    d = spread / (41 * middle / math.sqrt(3)) * rng.uniform(0.5, 1.5, n)
    return np.concatenate([halves(d), halves(middle * d), six_bits(scale, least), codes], axis=1)


def draw_matrix(rng, kind, rows, cols, spread):
    """What the file stores, [rows, bytes of a row]."""
    if kind in (Q.Q4_K, Q.Q5_K, Q.Q6_K):
        return draw_blocks(rng, kind, rows * cols // 256, spread).reshape(rows, -1)
    return quantize((spread * rng.standard_normal((rows, cols))).astype(np.float32), kind)


def unpermute(w, heads):
    """The inverse of backbone_dump.permute."""
    return w.reshape(heads, w.shape[0] // heads // 2, 2, w.shape[1]).swapaxes(1, 2).reshape(w.shape)


def main():
    rng = np.random.default_rng(5)
    model = LlamaForCausalLM(CONFIG).double().eval()
    writer = gguf_writer(NAME, CONFIG)
    for key, p in model.named_parameters():
        target, heads = gguf_name(key, CONFIG)
        if p.ndim == 1:
            w = (1 + 0.2 * rng.standard_normal(p.shape[0])).astype(np.float32)
            writer.add_tensor(target, w)
        else:
            kind = TYPES[target.split(".")[-2]]
            blocks = draw_matrix(rng, kind, *p.shape, 0.3 if "embed" in key else 1 / math.sqrt(p.shape[1]))
            writer.add_tensor(target, blocks, raw_dtype=kind)
            w = dequantize(blocks, kind)
            assert w.shape == tuple(p.shape) and np.isfinite(w).all() and abs(w.mean()) < 0.1 * w.std(), (key, w.mean(), w.std())
            print(f"{target}: {kind.name}, {blocks.size} bytes, deviation {w.std() * math.sqrt(p.shape[1]):.2f} / sqrt(columns)")
            w = unpermute(w, heads) if heads else w
        with torch.no_grad():
            p.copy_(torch.from_numpy(np.ascontiguousarray(w)))
    model.tie_weights()
    gguf_finish(writer)
    rows, labels = make_rows(torch.Generator().manual_seed(9))
    with torch.no_grad():
        hidden = answers(model, rows)
        logits = hidden @ model.get_output_embeddings().weight.T
    embedding = model.get_input_embeddings().weight.detach().float()
    ref_file.write(os.path.join(HERE, NAME + ".ref"), {
        "start": np.cumsum([0] + [len(r) for r in rows]).astype("int32"), "token": np.concatenate(rows).astype("int32"), "label": f32(labels),
        "soft.place": np.zeros((0, 2), dtype="int32"), "hidden": f32(hidden), "logits": f32(logits), "embedding": embedding[:16]})


if __name__ == "__main__":
    main()
