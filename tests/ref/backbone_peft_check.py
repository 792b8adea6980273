"""Does an adapter that sella wrote load in PEFT, and give the same logits?

    python tests/ref/backbone_peft_check.py build/test-*/test_backbone_lora [MODEL ...]

MODEL is a Hugging Face folder or a GGUF file; without any, the tiny models beside this script are checked. Exit status 1 on a miss.
"""
import os
import subprocess
import sys
import tempfile
import warnings

import numpy as np
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

warnings.filterwarnings("error", message=".*(missing|unexpected).*adapter keys.*")  # PEFT only warns about tensors it cannot place
HERE = os.path.dirname(os.path.abspath(__file__))
TINY = ["tiny_llama", "backbone_llama3", "backbone_qwen2", "backbone_qwen3", "backbone_qwen3_bias", "backbone_llama3.gguf"]


def load(path):
    if os.path.isdir(path):
        return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    folder, name = os.path.split(os.path.abspath(path))
    return AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32)


def check(binary, path):
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run([binary, "write", path, scratch], check=True, stdout=subprocess.DEVNULL)
        ids, ours = (np.load(os.path.join(scratch, name)) for name in ("ids.npy", "logits.npy"))
        same = path if not path.endswith("backbone_llama3.gguf") else path[:-len(".gguf")]  # transformers lacks its rope factors
        base = load(same).eval()
        with torch.no_grad():
            plain = base(torch.tensor(ids).long()).logits[:, -1].numpy()
            model = PeftModel.from_pretrained(base, scratch).eval()
            theirs = model(torch.tensor(ids).long()).logits[:, -1].numpy()
        adapted = sum("lora_A" in name for name, _ in model.named_parameters())
    error, effect = abs(ours - theirs).max() / abs(theirs).max(), abs(theirs - plain).max() / abs(theirs).max()
    print(f"{os.path.basename(path)}: {adapted} matrices, error {error:.2e}, effect of the adapter {effect:.2e}")
    return error < 1e-4 < effect and adapted == 7 * (base.config.num_hidden_layers - 1)


if __name__ == "__main__":
    models = sys.argv[2:] or [os.path.join(HERE, name) for name in TINY]
    sys.exit(0 if all([check(sys.argv[1], model) for model in models]) else 1)
