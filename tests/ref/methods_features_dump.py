"""What PyTorch computes for one step of the baselines with features in the prompt: logits, loss and gradients.

    python methods_features_dump.py     writes methods_features.ref; needs backbone_dump.py's tiny_llama with its adapter

p4: prompt4nr, three shared vectors a slot, together with the adapter.     pp: personprompt, a vector a user and an item.
co: collm, projected vectors of matrix factorisation (ReLU between).       bi: binllm, codes as text, the adapter.
cd: collm over DIN, whose user vector is the interest of the history in the row's item.
The rows are methods_dump.py's. Everything is computed in double precision and dumped as f32.
"""
import os

import numpy as np
import torch
from peft import PeftModel
from tokenizers import Tokenizer
from transformers import LlamaForCausalLM

import ref_file
from methods_dump import HERE, ITEMS, L, ROWS, SLOT_ITEM, SLOT_USER, TITLES, USERS, din_tables, interest

BIAS, C, HIDDEN, TOKENS = 0.3, 5, 50, 3
USER_CODE = ["0110", "1011", "0001"]
ITEM_CODE = ["1.22", "255.0", "7.7", "0.0", "13.128", "99.1"]


def prompt(tokenizer, user, item, history, tokens, coded):
    """Ids and slots of the template in test_methods_features.c; -1 stands for a slot's id."""
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
    if coded:
        text("Person " + USER_CODE[user] + "\n")
        text("Movie " + ITEM_CODE[item] + "\n")
    else:
        ids += [-1] * (2 * tokens)
        slots += [SLOT_USER] * tokens + [SLOT_ITEM] * tokens
    text("Like " + TITLES[item] + "? Answer:")
    return ids, slots


def main():
    g = torch.Generator().manual_seed(12)

    def new(*shape, scale=0.4):
        return (torch.randn(*shape, generator=g, dtype=torch.float64) * scale).float().double().requires_grad_()

    tokenizer = Tokenizer.from_file(os.path.join(HERE, "tiny_llama", "tokenizer.json"))
    yes, no = (tokenizer.encode(w, add_special_tokens=False).ids for w in (" Yes", " No"))
    model = LlamaForCausalLM.from_pretrained(os.path.join(HERE, "tiny_llama"), attn_implementation="eager").double().eval()
    model = PeftModel.from_pretrained(model, os.path.join(HERE, "tiny_llama", "adapter"), autocast_adapter_dtype=False).double().eval()
    lora = {n.replace(".default", ""): p for n, p in model.named_parameters() if "lora_" in n}
    for p in model.parameters():
        p.requires_grad_(False)
    head = model.get_output_embeddings().weight
    direction = head[yes[0]] - head[no[0]]
    out = {"label": np.array([r[2] for r in ROWS], dtype="float32"), "user": np.array([r[0] for r in ROWS], dtype="int32"),
           "item": np.array([r[1] for r in ROWS], dtype="int32"),
           "history_start": np.cumsum([0] + [len(r[3]) for r in ROWS]).astype("int32"),
           "history": np.array(sum((r[3] for r in ROWS), []), dtype="int32")}

    def case(name, tables, tokens, soft, train_lora, coded=False):
        bias = torch.tensor([BIAS], dtype=torch.float64).float().double().requires_grad_()
        for p in lora.values():
            p.requires_grad_(train_lora)
            p.grad = None
        z, ids_all, slots_all, start = [], [], [], [0]
        for user, item, _, history in ROWS:
            ids, slots = prompt(tokenizer, user, item, history, tokens, coded)
            table = model.get_input_embeddings().weight
            vectors = iter(soft(user, item, history) if soft else [])
            x = torch.stack([next(vectors) if s else table[i] for i, s in zip(ids, slots)])[None]
            h = model.get_base_model().model(inputs_embeds=x, attention_mask=torch.ones(1, len(ids), dtype=torch.long)).last_hidden_state[0, -1]
            z.append(h @ direction + bias[0])
            ids_all += ids
            slots_all += slots
            start.append(len(ids_all))
        z = torch.stack(z)
        loss = torch.nn.functional.binary_cross_entropy_with_logits(z, torch.tensor([float(r[2]) for r in ROWS], dtype=torch.float64))
        loss.backward()
        got = {"loss": loss[None], "z": z, "grad.logit.bias": bias.grad}
        out.update({f"{name}.start": np.array(start, dtype="int32"), f"{name}.token": np.array(ids_all, dtype="int32"),
                    f"{name}.slot": np.array(slots_all, dtype="int32")})
        for n, p in tables.items():
            got[n] = p
            got["grad." + n] = torch.zeros_like(p) if p.grad is None else p.grad
        for n, p in lora.items():
            if train_lora:
                got["grad." + n] = p.grad
        out.update({f"{name}.{k}": v.detach().float() for k, v in got.items()})

    t = {"soft.user": new(TOKENS, L), "soft.item": new(TOKENS, L)}
    case("p4", t, TOKENS, lambda u, i, h, t=t: [*t["soft.user"], *t["soft.item"]], True)
    t = {"user.weight": new(USERS, L), "item.weight": new(ITEMS, L)}
    case("pp", t, 1, lambda u, i, h, t=t: [t["user.weight"][u], t["item.weight"][i]], False)

    def projected():
        return {"user.weight": new(USERS, C), "item.weight": new(ITEMS, C), "proj.0.weight": new(HIDDEN, C), "proj.0.bias": new(HIDDEN),
                "proj.2.weight": new(L, HIDDEN, scale=0.1), "proj.2.bias": new(L)}

    t = projected()

    def proj(x):  # of the case at hand
        return torch.relu(x @ t["proj.0.weight"].T + t["proj.0.bias"]) @ t["proj.2.weight"].T + t["proj.2.bias"]

    case("co", t, 1, lambda u, i, h, t=t: [proj(t["user.weight"][u]), proj(t["item.weight"][i])], False)
    case("bi", {}, 0, None, True, coded=True)
    t = {**projected(), **din_tables(new)}
    case("cd", t, 1, lambda u, i, h: [proj(interest(t, i, h)), proj(t["item.weight"][i])], False)
    ref_file.write(os.path.join(HERE, "methods_features.ref"), out)


if __name__ == "__main__":
    main()
