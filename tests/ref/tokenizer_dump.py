"""Writes the tokenizer fixtures of tests/ref with the `tokenizers` package, which is the oracle.

    python tests/ref/tokenizer_dump.py tiny                       tiny_tokenizer/tokenizer.json, for tiny random models of other tests
    python tests/ref/tokenizer_dump.py cases SHARED SMOLLM2.gguf  the small tokenizers, their GGUF twins, and tokenizer_cases.json

SHARED is the folder that holds data/tokenizers/qwen/tokenizer.json and data/ml-1m/items.tsv. Of the MovieLens titles only the number
of tokens and one hash over all ids are kept.
"""
import json
import os
import random
import sys

import gguf
import xxhash
import numpy as np
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

HERE = os.path.dirname(os.path.abspath(__file__))
TINY_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|reserved_0|>", "<|reserved_1|>", "<|reserved_2|>"]
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
          r"\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")
BYTES = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)


def path(*names):
    return os.path.join(HERE, *names)


def corpus():
    with open(path("tokenizer_corpus.txt"), encoding="utf-8") as file:
        return file.read().splitlines()


def trained(vocab, pre_tokenizer, lines, normalizer=None):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    trainer = trainers.BpeTrainer(vocab_size=vocab, initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()), show_progress=False)
    tokenizer.train_from_iterator(lines, trainer)
    return tokenizer


def tiny():
    """512 tokens: 256 bytes, 250 merges, 6 special tokens; " Yes", " No", "Yes" and "No" are single tokens."""
    english = [line for line in corpus() if line.isascii()]
    tokenizer = trained(506, GPT2, english)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in TINY_SPECIAL])
    assert tokenizer.get_vocab_size() == 512
    for text in ("Yes", "No", " Yes", " No"):
        assert len(tokenizer.encode(text).ids) == 1, text
    os.makedirs(path("tiny_tokenizer"), exist_ok=True)
    tokenizer.save(path("tiny_tokenizer", "tokenizer.json"), pretty=False)


def small_tokenizers():
    """name -> (file, pre-tokenizer's name in GGUF or None)."""
    made = {"tiny": ("tiny_tokenizer/tokenizer.json", "gpt-2")}

    def save(name, tokenizer, pre, edit=None, added=()):
        tree = json.loads(tokenizer.to_str())
        if edit:
            edit(tree)
        if name == "digits":  # merges as pairs in the other files, as one text here
            tree["model"]["merges"] = [" ".join(pair) for pair in tree["model"]["merges"]]
        final = Tokenizer.from_str(json.dumps(tree))
        for token in added:
            (final.add_special_tokens if token.special else final.add_tokens)([token])
        tree["added_tokens"] = json.loads(final.to_str())["added_tokens"]
        with open(path(f"tokenizer_{name}.json"), "w", encoding="utf-8") as file:
            json.dump(tree, file, ensure_ascii=False, separators=(",", ":"))
        made[name] = (f"tokenizer_{name}.json", pre)

    def special(*texts):
        return [AddedToken(text, special=True, normalized=False) for text in texts]

    def whole_words(tree):  # words that only ignore_merges can find
        tree["model"]["ignore_merges"] = True
        for word in ("Ġpredictably", "ZQZQ", "ãĥ¼ãĥ¼"):
            tree["model"]["vocab"][word] = len(tree["model"]["vocab"])

    split = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(LLAMA3), "isolated"), BYTES])
    save("llama3", trained(800, split, corpus()), "llama-bpe", whole_words,
         special("<|begin_of_text|>", "<|end_of_text|>", "<|reserved_special_token_0|>", "<|eot_id|>", "<|reserved_special_token_1|>"))

    split = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(QWEN2), "isolated"), BYTES])
    save("qwen2", trained(800, split, corpus(), normalizers.NFC()), "qwen2", None,
         special("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|box_start|>", "<|box_end|>")
         + [AddedToken(text, special=False, normalized=False) for text in ("<tool_call>", "</tool_call>")])

    digits = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), GPT2])
    save("digits", trained(700, digits, corpus()), "smollm", None, special("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<file_sep>"))

    def no_tokens(tree):  # some bytes have no token: the package leaves them out
        for k in ("ÿ", "x", "Ð"):
            del tree["model"]["vocab"][k]
        tree["model"]["vocab"] = {text: i for i, text in enumerate(tree["model"]["vocab"])}
        tree["model"]["merges"] = [pair for pair in tree["model"]["merges"]
                                   if all(t in tree["model"]["vocab"] for t in (*pair, pair[0] + pair[1]))]

    flags = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=False), GPT2])
    save("flags", trained(500, flags, corpus(), normalizers.Sequence([normalizers.NFC()])), None, no_tokens, [
        AddedToken("<mask>", special=True, normalized=False, lstrip=True),
        AddedToken("<tail>", special=True, normalized=False, rstrip=True),
        AddedToken("<both>", special=False, normalized=False, lstrip=True, rstrip=True),
        AddedToken("<a>", special=False, normalized=False),
        AddedToken("<a><b>", special=False, normalized=False),
        AddedToken("<|in<a>side|>", special=True, normalized=False),
        AddedToken("ca\u0301fe", special=False, normalized=True),
        AddedToken("Zug", special=False, normalized=True),
        AddedToken("\n\n", special=False, normalized=False),
        AddedToken("\u5927\u5927", special=False, normalized=False),
    ])
    return made


def gguf_twin(name, file, pre):
    """The same tokenizer as GGUF metadata, with one token that nothing uses at the end."""
    tree = json.load(open(path(file), encoding="utf-8"))
    vocab = dict(tree["model"]["vocab"])
    kind = {}
    for token in tree["added_tokens"]:
        vocab[token["content"]] = token["id"]
        kind[token["content"]] = gguf.TokenType.CONTROL if token["special"] else gguf.TokenType.USER_DEFINED
    tokens = [text for text, _ in sorted(vocab.items(), key=lambda item: item[1])]
    assert [vocab[text] for text in tokens] == list(range(len(tokens)))
    types = [int(kind.get(text, gguf.TokenType.NORMAL)) for text in tokens]
    writer = gguf.GGUFWriter(path(f"tokenizer_{name}.gguf"), "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens + ["[PAD]"])
    writer.add_token_types(types + [int(gguf.TokenType.UNUSED)])
    writer.add_token_merges([pair if isinstance(pair, str) else " ".join(pair) for pair in tree["model"]["merges"]])
    if "<|im_end|>" in vocab:
        writer.add_eos_token_id(vocab["<|im_end|>"])
        writer.add_chat_template("{{ '<|im_start|>' + message + '<|im_end|>' + '<file_sep>' }}")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def texts():
    fixed = [
        "", " ", "a", "Hello, world!", "Yes", " Yes", "No No  No", "The Matrix (1999)", "Star Wars: Episode IV - A New Hope (1977)",
        "今天天气很好,我们去看电影。", "昨日は友だちと映画を見ました。カタカナー", "오늘은 영화를 보러 갑니다", "大大 大大大 大",
        "👨‍👩‍👧‍👦 family", "🇩🇪🇫🇷🇯🇵", "👍🏽👍🏿 ok", "❤️ vs ❤", "☃⛄🎬🍿",
        "cafe\u0301 naïve re\u0301sume\u0301", "A\u030a\u0323 o\u0302\u0301 \u1100\u1161\u11a8", "\u0344 \u212b \u2126 \ufb01 \u0958", "ca\u0301fe Zug",
        "q\u0307\u0323 q\u0323\u0307 \u0323\u0307", "a\u0301\u0301\u0316\u0316\u0301b", "e\u0301\u0302\u0303\u0304\u0305\u0306\u0307\u0308" * 5,
        "a" + "\u0301\u0316\u0327\u0308\u0345" * 30 + "b",
        "0 1 12 123 1234 12345 1234567890", "3.14159, 1,000,000; 50% off", "٣٤٥ ²³ ½ Ⅷ 四 ①", "x1y22z333", "007James",
        "a  b   c    d     e", "  leading", "trailing   ", "\ttab\t\ttabs\t", "line\nline\n\nline\n\n\n", "crlf\r\ncrlf\r\n\r\nend", " \n \r\n  \t x",
        "   \n   ", "\n", "\r", "\r\n", "\u00a0nbsp\u2003em\u3000ideographic\u200bzero\u2028ls\u2029ps\u0085nel\u180emvs\u1680ogham", "\x0b\x0c\x1c\x1f\x7fnul\x01",
        "I'm you're he's we'll they've I'd don't", "I'M YOU'RE HE'S WE'LL THEY'VE I'D DON'T", "'s 'll 'S 'LL ''s '\u017f 'Ll", "rock 'n' roll's",
        "Съешь же ещё этих мягких булок", "Ξεσκεπάζω την ψυχοφθόρα", "यह फ़िल्म बहुत अच्छी है", "هذا الفيلم جميل جدا", "הסרט הזה מצוין", "ภาพยนตร์เรื่องนี้",
        "mixedСмесь混合مزيجαβγ", "Straße GRÖSSE ǅ ǆ ſ", "ZQZQ predictably predictably ーー", "ZQZQ!", "!?!?... --- *** ((()))", "a_b-c.d/e\\f@g#h$i%j^k&l", "~`|<>[]{}",
        "<|im_start|>user\nHi there<|im_end|>\n<|im_start|>assistant\n", "<|endoftext|><|endoftext|>x<|endoftext|>", "<|im_start|", "<|im_start|>>", "<<|im_end|>>",
        "<|begin_of_text|>a <|eot_id|> b<|reserved_special_token_1|>", "<|begin_of_text", "<tool_call>{}</tool_call>", "<file_sep>a<file_sep> b",
        "x  <mask>  y", "x  <tail>  y", "x \n <both> \n y", "<both>  <both>", "<mask> <mask>", "  <mask>", "<tail>  ", "\u3000\u00a0<mask>z<tail>\u2003\u3000z",
        "<a><b><a><a><c>", "<|in<a>side|> <a>", "ca\u0301fe cáfe cafe\u0301", "Zug Zugs ZugZug", "a\n\nb\n\n\nc", "大大大大大", "<|box_start|>1<|box_end|>", "xÿxx<x>Ж",
        "https://example.org/p?q=1&r=2#s", "for (int i = 0; i < n; i++) { s += a[i]; }", "\ufeffbom", "\ufffd\uffff\U0010ffff\U000e0001", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 𝟙𝟚𝟛",
        "word" * 300, "ab " * 200, " " * 500, "\n" * 77, "1" * 100, "é" * 99, "!" * 130,
    ]
    pool = list("abcXYZ  \n\r\t'019.,!-<>|") + [
        "'s", "'LL", "  ", "\r\n", "é", "e\u0301", "\u0323", "\u0308", "ß", "Ж", "中", "日本", "한", "\u1100\u1161", "ع", "א", "ก", "ि", "\u00a0", "\u3000",
        "\u200d", "👍🏽", "🇩🇪", "①", "½", "٣", "Ⅷ", "<|im_start|>", "<|im_end|>", "<|eot_id|>", "<tool_call>", "<mask>", "<tail>", "<both>", "<a>", "<b>", "Zug",
        "ca\u0301fe", "the", " movie", "Yes", " No", "_", "$", "€", "+", "\u2028", "x", "\n\n"]
    draw = random.Random(20)
    return fixed + ["".join(draw.choice(pool) for _ in range(draw.randint(1, 40))) for _ in range(200)]


def ids(tokenizer, text, special):
    tokenizer.encode_special_tokens = not special
    return tokenizer.encode(text, add_special_tokens=False).ids


def smollm2(file):
    """The oracle for the GGUF's own tokenizer: its vocabulary and merges, digits on their own, then GPT-2's pattern."""
    fields = gguf.GGUFReader(file).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    types = fields["tokenizer.ggml.token_type"].contents()
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"].contents()]
    tokenizer = Tokenizer(models.BPE({text: i for i, text in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), GPT2])
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text, kind in zip(tokens, types) if kind == 3])
    assert tokenizer.get_vocab_size() == len(tokens)
    return tokenizer


def titles(tokenizer, file):
    with open(file, encoding="utf-8", newline="\n") as lines:
        next(lines)
        all_ids = [i for line in lines for i in ids(tokenizer, line.rstrip("\n").split("\t")[1], False)]
    return {"count": len(all_ids), "xxh3": xxhash.xxh3_64_hexdigest(np.asarray(all_ids, dtype="<i4").tobytes())}


def cases(shared, model):
    made = small_tokenizers()
    inputs = texts()
    result = {"texts": inputs, "sets": {}, "titles": {}}
    real = {
        "qwen": Tokenizer.from_file(os.path.join(shared, "data", "tokenizers", "qwen", "tokenizer.json")),
        "smollm2": smollm2(model),
    }
    for name, (file, pre) in made.items():
        real[name] = Tokenizer.from_file(path(file))
        if pre:
            gguf_twin(name, file, pre)
    for name, tokenizer in real.items():
        special = [ids(tokenizer, text, True) for text in inputs]
        plain = [ids(tokenizer, text, False) for text in inputs]
        result["sets"][name] = {"special": special, "plain": [b if a != b else None for a, b in zip(special, plain)]}  # None: the same
    for name in ("qwen", "smollm2"):
        result["titles"][name] = titles(real[name], os.path.join(shared, "data", "ml-1m", "items.tsv"))
    with open(path("tokenizer_cases.json"), "w", encoding="ascii") as file:
        json.dump(result, file, separators=(",", ":"))


if __name__ == "__main__":
    if sys.argv[1] == "tiny":
        tiny()
    else:
        cases(sys.argv[2], sys.argv[3])
