"""What tokenizers and transformers make of two texts with tiny_llama: the oracle of `sella inspect MODEL --text`.

    python engine_dump.py       writes engine_text.json
"""
import json
import os

import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = os.path.join(HERE, "tiny_llama")
TEXTS = ["Toy Story (1995)", "Le Samouraï, naïve 北京 3.5"]


def first(tokenizer, text):
    return tokenizer.encode(text, add_special_tokens=False).ids[0]


def main():
    torch.manual_seed(0)
    tokenizer = Tokenizer.from_file(os.path.join(MODEL, "tokenizer.json"))
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float64, attn_implementation="eager").eval()
    cases = []
    for text in TEXTS:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        with torch.no_grad():
            out = model(torch.tensor([ids]), output_hidden_states=True)
        logits = out.logits[0, -1]
        top = torch.topk(logits, 10)
        cases.append({
            "text": text,
            "ids": ids,
            "top": [{"id": i, "logit": v} for i, v in zip(top.indices.tolist(), top.values.tolist())],
            "logits_of": {word: logits[first(tokenizer, word)].item() for word in ("Yes", " No")},
            "hidden": out.hidden_states[-1][0, -1].tolist(),
        })
    with open(os.path.join(HERE, "engine_text.json"), "w", encoding="utf-8") as f:
        json.dump(cases, f, ensure_ascii=False, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
