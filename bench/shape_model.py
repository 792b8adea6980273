"""A GGUF file of a published model's shape with random 4-bit weights, to measure memory and speed without the model.

What it answers with is noise; what it costs is what the real file costs: the same tensors, types and bytes. The
vocabulary is made up too: byte-level tokens first, then fillers up to the published size, so that every text encodes.

    python bench/shape_model.py qwen2-7b build/qwen2-7b.gguf
    build/sella bench score --model build/qwen2-7b.gguf --weights stored --runs 3
    build/sella bench train --model build/qwen2-7b.gguf --weights stored --runs 3

Needs numpy and gguf (bench/peers/requirements.txt). Shapes: the config.json files of the models' publishers.
"""
import argparse

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter

SHAPES = {  # layers, C, F, H, G, V
    "qwen2-0.5b": (24, 896, 4864, 14, 2, 151936),
    "qwen2-1.5b": (28, 1536, 8960, 12, 2, 151936),
    "qwen2-7b": (28, 3584, 18944, 28, 4, 152064),
}
BLOCK = 32  # weights of a Q4_0 block: one f16 scale, 16 bytes of two weights each


def byte_letters():
    """GPT-2's letter of every byte."""
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters = {byte: chr(byte) for byte in own}
    for byte in range(256):
        if byte not in letters:
            letters[byte] = chr(256 + len(letters) - len(own))
    return [letters[byte] for byte in range(256)]


def q4_0(rng, rows, columns):
    """Random blocks, weights of about 1 / sqrt(columns)."""
    blocks = columns // BLOCK
    data = np.empty((rows, blocks, 18), np.uint8)
    scale = np.float16(1 / (4.6 * columns**0.5))  # 4.6: sd of the integers -8..7
    data[:, :, :2] = np.frombuffer(scale.tobytes(), np.uint8)
    data[:, :, 2:] = rng.integers(0, 256, (rows, blocks, 16), dtype=np.uint8)
    return data.reshape(rows, blocks * 18)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("output")
    ask = parser.parse_args()
    layers, C, F, H, G, V = SHAPES[ask.shape]
    D = C // H
    rng = np.random.default_rng(0)
    out = GGUFWriter(ask.output, "qwen2")
    out.add_context_length(32768)
    out.add_embedding_length(C)
    out.add_block_count(layers)
    out.add_feed_forward_length(F)
    out.add_head_count(H)
    out.add_head_count_kv(G)
    out.add_layer_norm_rms_eps(1e-6)
    out.add_rope_freq_base(1e6)
    letters = byte_letters()
    yes = ["Ye", "Yes", "No", "Ġ" + "Yes", "Ġ" + "No"]
    merges = ["Y e", "Ye s", "N o", "Ġ Yes", "Ġ No"]
    fillers = [f"<filler {i}>" for i in range(V - len(letters) - len(yes))]
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("qwen2")
    out.add_token_list(letters + yes + fillers)
    out.add_token_types([1] * (len(letters) + len(yes)) + [5] * len(fillers))
    out.add_token_merges(merges)
    out.add_eos_token_id(V - 1)

    def vector(name, n, value):
        out.add_tensor(name, np.full(n, value, np.float32))

    def matrix(name, rows, columns):
        out.add_tensor(name, q4_0(rng, rows, columns), raw_dtype=GGMLQuantizationType.Q4_0)

    matrix("token_embd.weight", V, C)
    matrix("output.weight", V, C)
    vector("output_norm.weight", C, 1)
    for i in range(layers):
        at = f"blk.{i}."
        vector(at + "attn_norm.weight", C, 1)
        vector(at + "ffn_norm.weight", C, 1)
        for name, rows in (("attn_q", H * D), ("attn_k", G * D), ("attn_v", G * D)):
            matrix(f"{at}{name}.weight", rows, C)
            vector(f"{at}{name}.bias", rows, 0)
        matrix(at + "attn_output.weight", C, H * D)
        matrix(at + "ffn_gate.weight", F, C)
        matrix(at + "ffn_up.weight", F, C)
        matrix(at + "ffn_down.weight", C, F)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


main()
