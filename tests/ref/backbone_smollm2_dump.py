"""What transformers computes with the real SmolLM2 GGUF: the 20 largest logits and the last hidden state of a short text.

    python backbone_smollm2_dump.py PATH/SmolLM2-135M-Instruct.Q4_1.gguf        writes backbone_smollm2.ref
"""
import os
import sys

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import ref_file  # noqa: E402

folder, name = os.path.split(os.path.abspath(sys.argv[1]))
model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32).eval()
tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
text = "The user liked these movies: The Matrix; Blade Runner; Alien. Will the user like Toy Story? Answer Yes or No:"
ids = tokenizer(text, add_special_tokens=False)["input_ids"]
with torch.no_grad():
    out = model(torch.tensor([ids]), output_hidden_states=True)
logits = out.logits[0, -1]
top = torch.topk(logits, 20)
print([(tokenizer.decode([i]), round(v.item(), 3)) for i, v in zip(top.indices, top.values)][:5])
ref_file.write(os.path.join(HERE, "backbone_smollm2.ref"),
               {"token": np.array(ids, dtype="int32"), "top.id": top.indices.int(), "top.logit": top.values, "hidden": out.hidden_states[-1][0, -1]})
