"""Writes the tokenizer fixtures of tests/ref with the `tokenizers` package (which is the oracle).

    python tests/ref/tokenizer_dump.py tiny          tiny_tokenizer/tokenizer.json, for tiny random models of other tests
"""
import json
import os
import sys

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

HERE = os.path.dirname(os.path.abspath(__file__))
CORPUS = os.path.join(HERE, "tokenizer_corpus.txt")
TINY_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|reserved_0|>", "<|reserved_1|>", "<|reserved_2|>"]


def trained(vocab, pre_tokenizer, lines):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=vocab, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


def corpus():
    with open(CORPUS, encoding="utf-8") as file:
        return file.read().splitlines()


def tiny():
    """512 tokens: 256 bytes, 250 merges, 6 special tokens; " Yes", " No", "Yes" and "No" are single tokens."""
    gpt2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    english = [line for line in corpus() if line.isascii()]
    tokenizer = trained(506, gpt2, english)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in TINY_SPECIAL])
    assert tokenizer.get_vocab_size() == 512
    for text in ("Yes", "No", " Yes", " No"):
        assert len(tokenizer.encode(text).ids) == 1, text
    os.makedirs(os.path.join(HERE, "tiny_tokenizer"), exist_ok=True)
    tokenizer.save(os.path.join(HERE, "tiny_tokenizer", "tokenizer.json"), pretty=False)


if __name__ == "__main__":
    {"tiny": tiny}[sys.argv[1]]()
