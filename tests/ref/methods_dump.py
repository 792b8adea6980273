"""What PyTorch computes for one step of stage 3: loss, logits, and gradients through soft tokens, Proj and Warm into the tables.

    python methods_dump.py      writes methods_stage3.ref; needs backbone_dump.py's tiny_llama with its adapter

Needs torch, transformers, peft, tokenizers and numpy. Everything is computed in double precision and dumped as f32.
"""
import os
import sys

import numpy as np
import torch
from peft import PeftModel
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import ref_file  # noqa: E402

USERS, ITEMS, C, HIDDEN, L = 3, 6, 5, 7, 32
TITLES = ["Red Road (1971)", "Blue King", "Short Night", "Red Night (1972)", "King of Gold", "Blue Road"]
# user, item, label, history: rows of one user share the beginning of their prompt
ROWS = [(0, 1, 1, []), (0, 2, 0, [1]), (0, 3, 1, [1]), (1, 0, 0, [4, 2]), (1, 5, 1, [4, 2]), (2, 4, 1, [0]), (2, 1, 0, [0, 4])]
SLOT_USER, SLOT_ITEM, SLOT_WARM = 1, 2, 3
GAIN, BIAS, ALIGN, TAU = 0.8, 0.3, 0.5, 0.2
ATTENTION, TOP = (4, 3), (5, 2)


def din_tables(new):
    """DIN's own tensors: every layer with Dice and the running statistics that it scores with."""
    t = {"din.history.weight": new(ITEMS, C)}
    for name, width, hidden in (("attention", 4 * C, ATTENTION), ("top", 3 * C, TOP)):
        for k, out in enumerate((*hidden, 1)):
            t[f"din.{name}.{k}.weight"], t[f"din.{name}.{k}.bias"] = new(out, width, scale=0.9), new(out)
            if k < 2:
                t[f"din.{name}.{k}.alpha"], t[f"din.{name}.{k}.mean"] = new(out), new(out)
                t[f"din.{name}.{k}.variance"] = (new(out).detach().abs() + 0.1).float().double().requires_grad_()
            width = out
    return t


def network(t, name, x):
    for k in range(3):
        x = x @ t[f"din.{name}.{k}.weight"].T + t[f"din.{name}.{k}.bias"]
        if k < 2:  # statistics are constants here
            mean, variance = t[f"din.{name}.{k}.mean"].detach(), t[f"din.{name}.{k}.variance"].detach()
            p = torch.sigmoid((x - mean) / (variance + 1e-8).sqrt())
            x = p * x + (1 - p) * t[f"din.{name}.{k}.alpha"] * x
    return x[..., 0]


def interest(t, item, history):
    """What a history says about one item."""
    q, k = t["item.weight"][item].expand(len(history), C), t["din.history.weight"][history]
    return network(t, "attention", torch.cat([q, k, q - k, q * k], 1)) @ k


def prompt(tokenizer, item, history):
    """Ids and slots of the template in test_methods_stage3.c with all three soft tokens; -1 stands for a slot's id."""
    ids, slots = [], []

    def text(t):
        new = tokenizer.encode(t, add_special_tokens=False).ids
        ids.extend(new)
        slots.extend([0] * len(new))

    text("Movies this person liked:\n")
    for j in history:
        text(TITLES[j] + "\n")
    if not history:
        text("none\n")
    for slot in (SLOT_USER, SLOT_ITEM, SLOT_WARM):
        ids.append(-1)
        slots.append(slot)
    text("Like " + TITLES[item] + "? Answer:")
    return ids, slots


def main():
    g = torch.Generator().manual_seed(11)

    def new(*shape, scale=0.4):
        return (torch.randn(*shape, generator=g, dtype=torch.float64) * scale).float().double().requires_grad_()

    tokenizer = Tokenizer.from_file(os.path.join(HERE, "tiny_llama", "tokenizer.json"))
    yes, no = (tokenizer.encode(w, add_special_tokens=False).ids for w in (" Yes", " No"))
    assert len(yes) == 1 and len(no) == 1
    model = LlamaForCausalLM.from_pretrained(os.path.join(HERE, "tiny_llama"), attn_implementation="eager").double().eval()
    model = PeftModel.from_pretrained(model, os.path.join(HERE, "tiny_llama", "adapter"), autocast_adapter_dtype=False).double().eval()
    for p in model.parameters():
        p.requires_grad_(False)
    head = model.get_output_embeddings().weight
    direction = head[yes[0]] - head[no[0]]
    t = {"user.weight": new(USERS, C), "item.weight": new(ITEMS, C), "user.bias": new(USERS), "item.bias": new(ITEMS), "global.bias": new(1),
         "history.weight": new(ITEMS, C), "semantic.weight": new(ITEMS, L), "proj.0.weight": new(HIDDEN, C), "proj.0.bias": new(HIDDEN),
         "proj.2.weight": new(L, HIDDEN), "proj.2.bias": new(L), "warm.weight": new(L, L, scale=0.2), "warm.bias": new(L),
         "logit.bias": torch.tensor([BIAS], dtype=torch.float64).float().double().requires_grad_(),
         "logit.gain": torch.tensor([GAIN], dtype=torch.float64).float().double().requires_grad_()}

    def mf(user, item, history):
        p = t["user.weight"][user]
        if history:
            p = p + t["history.weight"][history].sum(0) / len(history) ** 0.5
        return p, p @ t["item.weight"][item]

    def din(user, item, history):
        v = interest(t, item, history)
        return v, network(t, "top", torch.cat([t["user.weight"][user], v, t["item.weight"][item]]))

    out = step(tokenizer, model, direction, t, mf)
    t.update(din_tables(new))
    del t["history.weight"]
    for p in t.values():
        p.grad = None
    # tensors that both begin with are written once
    out.update({"din." + k: v for k, v in step(tokenizer, model, direction, t, din).items() if k in ("loss", "z") or k.startswith("grad.")})
    out.update({k: v.detach().float() for k, v in t.items() if k.startswith("din.")})
    ref_file.write(os.path.join(HERE, "methods_stage3.ref"), out)


def step(tokenizer, model, direction, t, collab):
    """Loss and gradients of one step; collab gives a row's user vector and its logit without biases."""

    def proj(x):
        return torch.nn.functional.gelu(x @ t["proj.0.weight"].T + t["proj.0.bias"]) @ t["proj.2.weight"].T + t["proj.2.bias"]

    z, ids_all, slots_all, start = [], [], [], [0]
    for user, item, _, history in ROWS:
        p, cf = collab(user, item, history)
        q = t["item.weight"][item]
        cf = cf + t["user.bias"][user] + t["item.bias"][item] + t["global.bias"][0]
        soft = {SLOT_USER: proj(p), SLOT_ITEM: proj(q), SLOT_WARM: t["semantic.weight"][item] @ t["warm.weight"].T + t["warm.bias"]}
        ids, slots = prompt(tokenizer, item, history)
        table = model.get_input_embeddings().weight
        x = torch.stack([soft[s] if s else table[i] for i, s in zip(ids, slots)])[None]
        h = model.get_base_model().model(inputs_embeds=x, attention_mask=torch.ones(1, len(ids), dtype=torch.long)).last_hidden_state[0, -1]
        z.append(t["logit.gain"][0] * (h @ direction) + t["logit.bias"][0] + cf)
        ids_all += ids
        slots_all += slots
        start.append(len(ids_all))
    z = torch.stack(z)
    labels = torch.tensor([float(r[2]) for r in ROWS], dtype=torch.float64)
    bce = torch.nn.functional.binary_cross_entropy_with_logits(z, labels)
    items = sorted({r[1] for r in ROWS})
    s = torch.nn.functional.normalize(t["semantic.weight"][items], dim=1)
    e = torch.nn.functional.normalize(proj(t["item.weight"][items]), dim=1)
    align = torch.nn.functional.cross_entropy(s @ e.T / TAU, torch.arange(len(items)))
    loss = bce + ALIGN * align
    loss.backward()
    out = {"loss": loss[None], "bce": bce[None], "z": z, "label": labels, "start": np.array(start, dtype="int32"), "token": np.array(ids_all, dtype="int32"),
           "slot": np.array(slots_all, dtype="int32"), "user": np.array([r[0] for r in ROWS], dtype="int32"),
           "item": np.array([r[1] for r in ROWS], dtype="int32"), "history_start": np.cumsum([0] + [len(r[3]) for r in ROWS]).astype("int32"),
           "history": np.array(sum((r[3] for r in ROWS), []), dtype="int32")}
    out = {k: v.detach().float() if hasattr(v, "detach") else v for k, v in out.items()}
    for name, p in t.items():
        out[name] = p.detach().float()
        out["grad." + name] = torch.zeros_like(out[name]) if p.grad is None else p.grad.float()
    return out


if __name__ == "__main__":
    main()
