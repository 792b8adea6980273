"""Attention weights of every layer and head of tiny models, as transformers computes them (output_attentions), with an
adapter and with soft vectors in the place of some tokens.

    python attention_dump.py           writes backbone_attention.ref; needs the model folders that backbone_dump.py writes

Needs torch, transformers, peft, numpy. Computed in double precision and dumped as f32.
"""
import os
import sys

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import ref_file  # noqa: E402

TOKENS = [17, 301, 44, 509, 260, 8, 133, 509, 77, 77, 402, 9, 268, 55, 31]
PLACES = [3, 7]  # of soft vectors


def main():
    out = {"token": torch.tensor(TOKENS, dtype=torch.int32), "place": torch.tensor(PLACES, dtype=torch.int32)}
    for name in ["tiny_llama", "backbone_llama3", "backbone_qwen2", "backbone_qwen3", "backbone_qwen3_bias"]:
        folder = os.path.join(HERE, name)
        model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="eager", dtype=torch.float64)
        model = PeftModel.from_pretrained(model, os.path.join(folder, "adapter")).double().eval()
        torch.manual_seed(31)
        soft = torch.randn(len(PLACES), model.config.hidden_size, dtype=torch.float64).float()
        with torch.no_grad():
            x = model.get_input_embeddings()(torch.tensor([TOKENS])).clone()
            x[0, PLACES] = soft.double()
            result = model(inputs_embeds=x, output_attentions=True)
        weights = torch.stack([a[0] for a in result.attentions])  # [layers, H, T, T]
        assert torch.allclose(weights.sum(-1), torch.ones(1, dtype=torch.float64))
        out[name + ".soft"] = soft
        out[name + ".weight"] = weights.float()
    ref_file.write(os.path.join(HERE, "backbone_attention.ref"), out)


main()
