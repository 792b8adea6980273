"""Small random models of every family, and what transformers and PEFT compute with them.

    python backbone_dump.py            writes tiny_llama/, backbone_*/ (model folders with a PEFT adapter), backbone_*.ref, backbone_*.gguf

Needs torch, transformers, peft, safetensors, numpy and gguf. Everything is computed in double precision and dumped as f32.
"""
import json
import math
import os
import shutil
import sys

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM, Qwen3Config, Qwen3ForCausalLM

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import ref_file  # noqa: E402

V, YES, NO, SLOT = 512, 268, 267, 509
SEVEN = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
COMMON = dict(vocab_size=V, num_hidden_layers=2, intermediate_size=64, max_position_embeddings=2048, bos_token_id=506, eos_token_id=508,
              attn_implementation="eager")
LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)
# name: (class, config, stored type, shards)
CASES = {
    "tiny_llama": (LlamaForCausalLM, LlamaConfig(hidden_size=32, num_attention_heads=2, num_key_value_heads=2, tie_word_embeddings=True,
                                                 rms_norm_eps=1e-5, rope_parameters=dict(rope_type="default", rope_theta=10000.0), **COMMON),
                   torch.float32, 1),
    "backbone_llama3": (LlamaForCausalLM, LlamaConfig(hidden_size=48, num_attention_heads=3, num_key_value_heads=1, tie_word_embeddings=False,
                                                      rms_norm_eps=1e-5, rope_parameters=dict(rope_theta=500.0, **LLAMA3), **COMMON),
                        torch.bfloat16, 1),
    "backbone_qwen2": (Qwen2ForCausalLM, Qwen2Config(hidden_size=48, num_attention_heads=3, num_key_value_heads=1, tie_word_embeddings=True,
                                                     rms_norm_eps=1e-6, rope_parameters=dict(rope_type="default", rope_theta=1000.0), **COMMON),
                       torch.bfloat16, 2),
    "backbone_qwen3": (Qwen3ForCausalLM, Qwen3Config(hidden_size=32, num_attention_heads=2, num_key_value_heads=2, head_dim=24,
                                                     tie_word_embeddings=False, rms_norm_eps=1e-6,
                                                     rope_parameters=dict(rope_type="default", rope_theta=1000.0), **COMMON),
                       torch.float16, 1),
    "backbone_qwen3_bias": (Qwen3ForCausalLM, Qwen3Config(hidden_size=32, num_attention_heads=3, num_key_value_heads=1, head_dim=16,
                                                          attention_bias=True, tie_word_embeddings=True, rms_norm_eps=1e-6,
                                                          rope_parameters=dict(rope_type="default", rope_theta=1000.0),
                                                          **{**COMMON, "num_hidden_layers": 3}),
                            torch.bfloat16, 1),
}


def make_model(name):
    cls, config, dtype, shards = CASES[name]
    torch.manual_seed(len(name) * 1000 + sum(map(ord, name)))
    model = cls(config).double().eval()
    with torch.no_grad():
        for key, p in model.named_parameters():
            if key.endswith("norm.weight"):
                p.copy_(1 + 0.2 * torch.randn_like(p))
            elif "embed" in key:
                p.copy_(0.3 * torch.randn_like(p))
            elif key.endswith("bias"):
                p.copy_(0.5 * torch.randn_like(p))
            else:
                p.copy_(torch.randn_like(p) / math.sqrt(p.shape[1]))
            p.copy_(p.to(dtype))
        model.tie_weights()
    folder = os.path.join(HERE, name)
    shutil.rmtree(folder, ignore_errors=True)
    os.makedirs(folder)
    config.architectures = [cls.__name__]
    config.dtype = str(dtype).split(".")[1]
    settings = config.to_dict()
    if name == "tiny_llama":  # as older versions of transformers write it
        settings["rope_theta"] = settings.pop("rope_parameters")["rope_theta"]
        settings["rope_scaling"] = None
        settings["torch_dtype"] = settings.pop("dtype")
    with open(os.path.join(folder, "config.json"), "w") as f:
        json.dump({k: v for k, v in settings.items() if v is not None or k == "rope_scaling"}, f, indent=1)
        f.write("\n")
    state = {k: v.to(dtype).contiguous() for k, v in model.state_dict().items() if not (config.tie_word_embeddings and k == "lm_head.weight")}
    if shards == 1:
        save_file(state, os.path.join(folder, "model.safetensors"), metadata={"format": "pt"})
    else:
        names, weight_map = sorted(state), {}
        for s in range(shards):
            part = f"model-{s + 1:05d}-of-{shards:05d}.safetensors"
            mine = names[s::shards]
            save_file({k: state[k] for k in mine}, os.path.join(folder, part), metadata={"format": "pt"})
            weight_map.update({k: part for k in mine})
        with open(os.path.join(folder, "model.safetensors.index.json"), "w") as f:
            json.dump({"metadata": {"total_size": sum(v.numel() * v.element_size() for v in state.values())}, "weight_map": weight_map}, f, indent=0)
            f.write("\n")
    if name == "tiny_llama":
        shutil.copy(os.path.join(HERE, "tiny_tokenizer", "tokenizer.json"), folder)
    else:
        os.symlink("../tiny_tokenizer/tokenizer.json", os.path.join(folder, "tokenizer.json"))
    return model


def make_rows(generator, ids=500):
    rows = [torch.randint(0, ids, (n,), generator=generator).tolist() for n in (7, 1, 19, 12, 26)]
    return rows, torch.tensor([1.0, 0.0, 0.0, 1.0, 1.0], dtype=torch.float64)


def answers(model, rows, soft=None):
    """Hidden state of each row's last token after the final norm, one row at a time; soft: {(row, place): vector}."""
    out = []
    for r, row in enumerate(rows):
        e = model.get_input_embeddings()(torch.tensor([row])).detach()
        for (sr, place), vector in (soft or {}).items():
            if sr == r:
                e = torch.cat([e[:, :place], vector[None, None], e[:, place + 1:]], 1)
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        out.append(base.model(inputs_embeds=e, attention_mask=torch.ones(1, len(row), dtype=torch.long)).last_hidden_state[0, -1])
    return torch.stack(out)


def loss_of(model, hidden, labels):
    head = model.get_output_embeddings().weight
    z = hidden @ (head[YES] - head[NO])
    return torch.nn.functional.binary_cross_entropy_with_logits(z, labels), z


def gradients(model, prefix, out):
    for key, p in model.named_parameters():
        if p.requires_grad:
            out[prefix + key.replace(".default", "")] = p.grad.float().clone()
            p.grad = None


def f32(x):
    return x.detach().float()


def dump(name, model):
    g = torch.Generator().manual_seed(7)
    rows, labels = make_rows(g)
    out = {"start": np.cumsum([0] + [len(r) for r in rows]).astype("int32"), "token": np.concatenate(rows).astype("int32"),
           "label": f32(labels), "yes_no": np.array([YES, NO], dtype="int32")}
    with torch.no_grad():
        hidden = answers(model, rows)
        out["hidden"] = f32(hidden)
        out["logits"] = f32(hidden @ model.get_output_embeddings().weight.T)
    lora = get_peft_model(model, LoraConfig(r=4, lora_alpha=6, lora_dropout=0.0, target_modules=SEVEN, task_type="CAUSAL_LM"),
                          autocast_adapter_dtype=False)
    with torch.no_grad():
        for key, p in lora.named_parameters():
            if p.requires_grad:
                p.copy_((torch.randn(p.shape, generator=g, dtype=torch.float64) * (0.2 if "lora_B" in key else 0.3)).float())
    lora.peft_config["default"].base_model_name_or_path = name
    save = {k.replace(".default", ""): p.detach().float().contiguous() for k, p in lora.named_parameters() if p.requires_grad}
    lora.save_pretrained(os.path.join(HERE, name, "adapter"))
    os.remove(os.path.join(HERE, name, "adapter", "README.md"))
    with open(os.path.join(HERE, name, "adapter", "adapter_config.json"), "r+") as f:  # PEFT writes a set in any order
        config = json.load(f)
        config["target_modules"].sort()
        f.seek(0)
        json.dump(config, f, indent=2)
        f.truncate()
    save_file(save, os.path.join(HERE, name, "adapter", "adapter_model.safetensors"), metadata={"format": "pt"})
    hidden = answers(lora, rows)
    loss, z = loss_of(lora, hidden, labels)
    loss.backward()
    out["lora.hidden"], out["lora.z"], out["lora.loss"] = f32(hidden), f32(z), f32(loss)[None]
    gradients(lora, "lora.grad.", out)
    # soft rows: two in row 0, one in row 2 (in the middle) and one in the last place but one of row 4
    places = [(0, 2), (0, 5), (2, 11), (4, 24)]
    width = hidden.shape[1]
    vectors = torch.randn(len(places), width, generator=g, dtype=torch.float64).float().double().requires_grad_()
    loss, z = loss_of(lora, answers(lora, rows, {p: vectors[i] for i, p in enumerate(places)}), labels)
    loss.backward()
    out["soft.place"], out["soft.vector"] = np.array(places, dtype="int32"), f32(vectors)
    out["soft.z"], out["soft.loss"], out["soft.grad"] = f32(z), f32(loss)[None], vectors.grad.float()
    gradients(lora, "", {})  # only clears them
    # ten steps of AdamW
    optimizer = torch.optim.AdamW([p for p in lora.parameters() if p.requires_grad], lr=2e-3, weight_decay=0.01)
    losses = []
    for _ in range(10):
        loss, _ = loss_of(lora, answers(lora, rows), labels)
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    out["steps.loss"] = np.array(losses, dtype="float32")
    ref_file.write(os.path.join(HERE, (name if name.startswith("backbone") else "backbone_" + name) + ".ref"), out)
    return losses


def permute(w, heads):
    """Rows of q and k as llama.cpp's converter stores them: pairs (d, d + D/2) become neighbours."""
    return w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:]).swapaxes(1, 2).reshape(w.shape)


def head_width(c):
    return getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads


def gguf_writer(name, c):
    """A writer with the metadata of a configuration and of the tiny tokenizer."""
    import gguf
    family = c.model_type
    head = head_width(c)
    writer = gguf.GGUFWriter(os.path.join(HERE, name + ".gguf"), family)
    writer.add_name(name)
    writer.add_context_length(c.max_position_embeddings)
    writer.add_embedding_length(c.hidden_size)
    writer.add_block_count(c.num_hidden_layers)
    writer.add_feed_forward_length(c.intermediate_size)
    if family == "qwen3" or head * c.num_attention_heads != c.hidden_size:
        writer.add_key_length(head)
        writer.add_value_length(head)
    if family != "qwen3":
        writer.add_rope_dimension_count(head)
    writer.add_head_count(c.num_attention_heads)
    writer.add_head_count_kv(c.num_key_value_heads)
    writer.add_layer_norm_rms_eps(c.rms_norm_eps)
    writer.add_rope_freq_base(c.rope_parameters["rope_theta"])
    writer.add_vocab_size(V)
    tokenizer = json.load(open(os.path.join(HERE, "tiny_tokenizer", "tokenizer.json")))
    tokens = {i: t for t, i in tokenizer["model"]["vocab"].items()}
    special = {t["id"]: t["content"] for t in tokenizer["added_tokens"]}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([special.get(i, tokens.get(i)) for i in range(V)])
    writer.add_token_types([3 if i in special else 1 for i in range(V)])
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]])
    writer.add_eos_token_id(508)
    return writer


GGUF_NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
              "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
              "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "post_attention_layernorm": "ffn_norm"}


def gguf_name(key, c):
    """A parameter's name in a GGUF, and the heads by which its rows are permuted there (0: they are not)."""
    if not key.startswith("model.layers."):
        return {"model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight", "lm_head.weight": "output.weight"}[key], 0
    layer, rest = key[len("model.layers."):].split(".", 1)
    part, kind = rest.rsplit(".", 1)
    heads = {"self_attn.q_proj": c.num_attention_heads, "self_attn.k_proj": c.num_key_value_heads}.get(part, 0)
    return f"blk.{layer}.{GGUF_NAMES[part]}.{kind}", heads if c.model_type == "llama" else 0


def gguf_finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def write_gguf(name, model):
    import gguf
    c = model.config
    writer = gguf_writer(name, c)
    for key, p in model.state_dict().items():
        if key == "lm_head.weight" and c.tie_word_embeddings:
            continue
        w = p.float().numpy()
        target, heads = gguf_name(key, c)
        w = permute(w, heads) if heads else w
        if w.ndim == 1:
            writer.add_tensor(target, w)
        elif CASES[name][2] == torch.float16:
            writer.add_tensor(target, w.astype(np.float16))
        else:
            raw = (np.ascontiguousarray(w).view(np.uint32) >> 16).astype(np.uint16)  # the values are exact in bfloat16
            writer.add_tensor(target, raw.view(np.uint8).reshape(w.shape[0], -1), raw_dtype=gguf.GGMLQuantizationType.BF16)
    r, head = c.rope_parameters, head_width(c)
    factors = []
    for i in range(0, head if r["rope_type"] == "llama3" else 0, 2):
        wavelength = 2 * math.pi * r["rope_theta"] ** (i / head)
        low, high = (r["original_max_position_embeddings"] / r[k] for k in ("low_freq_factor", "high_freq_factor"))
        if wavelength < high:
            factors.append(1.0)
        elif wavelength > low:
            factors.append(r["factor"])
        else:
            smooth = (r["original_max_position_embeddings"] / wavelength - r["low_freq_factor"]) / (r["high_freq_factor"] - r["low_freq_factor"])
            factors.append(1 / ((1 - smooth) / r["factor"] + smooth))
    if factors:
        writer.add_tensor("rope_freqs.weight", np.array(factors, dtype=np.float32))
    gguf_finish(writer)


if __name__ == "__main__":
    for case in CASES:
        made = make_model(case)
        if case in ("backbone_llama3", "backbone_qwen2", "backbone_qwen3"):
            write_gguf(case, made)
        print(case, dump(case, made))
