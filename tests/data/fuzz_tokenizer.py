#!/usr/bin/env python3
"""Compares `remla data encode` and `remla data decode` with the library `tokenizers`: the ids of random and adversarial strings, the text
that these ids give again, and the text of random ids must be the same.

usage: fuzz_tokenizer.py REMLA [--strings N] [--seed N] [--characters] [--real MB] [--progress] [TOKENIZER.json|FOLDER ...]

Without a tokenizer it makes small ones (make_tokenizers.py). --characters: also every character there is, between letters, digits and
spaces. --real: also so many megabytes of text of this machine. Exit code 1, and the strings, when something differs; 77 where the library
is not installed."""
import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
try:
    from tokenizers import Tokenizer
except ImportError:
    print("skipped: PyPI tokenizers is not installed")
    sys.exit(77)

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import make_tokenizers

BATCH = 50000
SPACES = [chr(c) for c in [*range(9, 14), 0x1c, 0x1f, 0x20, 0x85, 0xa0, 0x1680, 0x180e, *range(0x2000, 0x200e), 0x2028, 0x2029, 0x202f, 0x205f,
                           0x2060, 0x3000, 0xfeff]]
DIGITS = [chr(c) for c in range(0x110000) if not 0xd800 <= c <= 0xdfff and chr(c).isnumeric()]
MARKS = [chr(c) for first, last in [(0x300, 0x36f), (0x483, 0x489), (0x591, 0x5c7), (0x610, 0x61a), (0x64b, 0x65f), (0x93c, 0x94d), (0xe31, 0xe3a),
                                    (0x1ab0, 0x1ace), (0x1dc0, 0x1dff), (0x20d0, 0x20f0), (0x302a, 0x302f), (0x3099, 0x309a), (0xfe20, 0xfe2f),
                                    (0x1d165, 0x1d172), (0x10f46, 0x10f50), (0x1e8d0, 0x1e8d6)] for c in range(first, last + 1)]
JAMO = [chr(c) for c in [*range(0x1100, 0x1113), *range(0x1161, 0x1176), *range(0x11a8, 0x11c3), 0xac00, 0xac01, 0xd7a3]]
EMOJI = [chr(c) for c in [*range(0x1f600, 0x1f650), *range(0x1f3fb, 0x1f400), *range(0x1f1e6, 0x1f200), 0x1f468, 0x1f469, 0x1f466, 0x200d, 0x200d,
                          0x200d, 0xfe0f, 0xfe0f, 0x2764, 0x20e3, 0xe0067, 0xe007f]]
ENDINGS = ["'s", "'S", "'\u017f", "'t", "'T", "'re", "'RE", "'ve", "'m", "'ll", "'LL", "'d", "'D", "\u2019s", "'", "''", "'l", "'r"]
BLOCKS = [b for b in range(0, 0x110000, 0x80) if not 0xd800 <= b < 0xe000 and (b < 0x34000 or 0xe0000 <= b < 0xe0200)]
YOUNG = [(0x870, 0x8ff), (0xc3c, 0xc5d), (0xcdd, 0xcf3), (0xece, 0xecf), (0x1715, 0x171f), (0x1b4c, 0x1b7f), (0x1c89, 0x1c8a), (0x2427, 0x2429),
         (0x2ffc, 0x2fff), (0x31e4, 0x31ef), (0x32ff, 0x32ff), (0xa7c0, 0xa7dc), (0xab68, 0xab6b), (0x105c0, 0x105f3), (0x10780, 0x107ba),
         (0x10d40, 0x10d8f), (0x10efc, 0x10eff), (0x11380, 0x113e2), (0x11930, 0x11946), (0x116d0, 0x116e3), (0x11bc0, 0x11bf9), (0x11de0, 0x11de9),
         (0x11f00, 0x11f5a), (0x13430, 0x13460), (0x16100, 0x16139), (0x16d40, 0x16d79), (0x16ff0, 0x16ff6), (0x1cc00, 0x1ccf9), (0x1e030, 0x1e08f),
         (0x1e4d0, 0x1e4f9), (0x1e5d0, 0x1e5ff), (0x1f16c, 0x1f16f), (0x1fbcb, 0x1fbf9), (0x2ebf0, 0x2ebf8), (0x31350, 0x31358), (0x323b0, 0x323b8)]


class Strings:
    """An endless supply of strings, the same for all tokenizers: each meets the others' tokens too."""

    def __init__(self, tokenizers, seed):
        self.random = random.Random(seed)
        self.added, self.tokens = ["<s>"], []
        for tokenizer in tokenizers:
            added = [token.content for token in tokenizer.get_added_tokens_decoder().values()]
            self.added += self.random.sample(added, min(40, len(added)))
            ids = self.random.sample(range(tokenizer.get_vocab_size()), min(2000, tokenizer.get_vocab_size()))
            self.tokens += [tokenizer.decode([i]) for i in ids] + [tokenizer.id_to_token(i) or "" for i in ids[:200]]
        self.texts = list(make_tokenizers.machine_text(1 << 20))
        self.kinds = [self.any, self.block, self.spaces, self.endings, self.digits, self.emoji, self.marks, self.jamo, self.added_tokens,
                      self.long_word, self.control, self.vocabulary, self.real, self.young, self.ascii, self.bytes, self.mixture]

    def some(self, alphabet, least=1, most=12):
        return "".join(self.random.choices(alphabet, k=self.random.randint(least, most)))

    def letters(self, most=6):
        return self.some("aAbBeEsStTzé漢字かがЖя가ابא", 0, most)

    def character(self):
        while True:
            c = self.random.randrange(0x110000)
            if not 0xd800 <= c <= 0xdfff:
                return chr(c)

    def any(self):
        return "".join(self.character() for _ in range(self.random.randint(0, 30)))

    def block(self):
        b = self.random.choice(BLOCKS)
        alphabet = [chr(c) for c in range(b, b + 0x80)] + [" ", " ", "a", "1", "\n"]
        return self.some(alphabet, 0, 40)

    def spaces(self):
        return "".join(self.some(SPACES, 0, 5) + self.letters(3) for _ in range(self.random.randint(1, 6))) + self.some(SPACES, 0, 3)

    def endings(self):
        return "".join(self.letters(4) + self.random.choice(ENDINGS) + self.some(" ", 0, 1) for _ in range(self.random.randint(1, 6)))

    def digits(self):
        return "".join(self.some(DIGITS if self.random.random() < 0.5 else "0123456789", 1, 8) + self.some(" .,a\n-", 0, 2) for _ in range(4))

    def emoji(self):
        return self.some(EMOJI, 1, 12) + self.letters(2) + self.some(EMOJI + [" "], 0, 12)

    def marks(self):
        return "".join(self.letters(2) + self.some(MARKS, 0, 6) for _ in range(self.random.randint(1, 6)))

    def jamo(self):
        return self.some(JAMO + [" ", "a", "\u3099", "か", "Å", "\u212b", "\ufb01", "\ufdfa", "㌔", "½"], 1, 20)

    def added_tokens(self):
        parts = []
        for _ in range(self.random.randint(1, 6)):
            token = self.random.choice(self.added)
            cut = self.random.random()
            if cut < 0.15:
                token = token[:self.random.randrange(len(token) + 1)]
            elif cut < 0.2:
                token = token[self.random.randrange(len(token) + 1):]
            elif cut < 0.25:
                token = token.swapcase()
            parts.append(self.some([" ", "  ", "\n", "\u3000", "a", "_", "é", "1", ".", "\u0301", ""], 0, 3) + token)
        return "".join(parts) + self.some([" ", "x", "\t"], 0, 2)

    def long_word(self):
        most = 3000 if self.random.random() < 0.1 else 300
        kind = self.random.randrange(4)
        if kind == 0:
            return self.character() * self.random.randint(1, most)
        if kind == 1:
            return self.some("abcdefghijklmnopqrstuvwxyz" if self.random.random() < 0.5 else "the", 50, most)
        if kind == 2:
            return self.some([" ", "▁", "\n"][:self.random.randint(1, 3)], 1, most // 4)
        return self.some("漢字かなЖяابא한글", 50, most)

    def control(self):
        return self.some([chr(c) for c in [*range(32), *range(0x7f, 0xa0), 0xfffe, 0xffff, 0xfffd, 0x10ffff, 0xe000]] + ["a", " "], 1, 20)

    def vocabulary(self):
        return "".join(self.random.choices(self.tokens, k=self.random.randint(1, 10)))

    def real(self):
        text = self.random.choice(self.texts)
        start = self.random.randrange(len(text) + 1)
        part = list(text[start:start + self.random.randint(1, 120)])
        for _ in range(self.random.randint(0, 3)):
            if part:
                i = self.random.randrange(len(part))
                part[i] = self.random.choice([self.character(), part[i].swapcase(), "", " ", part[i] * 3])
        return "".join(part)

    def young(self):
        first, last = self.random.choice(YOUNG)
        alphabet = [chr(c) for c in range(first, last + 1)] + ["a", " ", "1", ".", "\u0301", "é", "漢"]
        return self.some(alphabet, 1, 16)

    def ascii(self):
        return self.some([chr(c) for c in range(32, 127)] + [" "] * 10 + ["\n"] * 3, 0, 60)

    def bytes(self):
        return "".join(self.random.choice(["<0x%02X>" % self.random.randrange(256), "<0x", "▁", self.character(), " a"])
                       for _ in range(self.random.randint(1, 8)))

    def mixture(self):
        return "".join(self.random.choice(self.kinds[:-1])()[:20] for _ in range(self.random.randint(2, 5)))

    def next(self):
        return self.random.choice(self.kinds)()


def remla(program, command, path, values):
    """What the program makes of them; it runs once."""
    with tempfile.TemporaryFile("w+") as given:
        given.writelines(json.dumps(value) + "\n" for value in values)
        given.seek(0)
        run = subprocess.run([program, "data", command, path], stdin=given, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if run.returncode:
        sys.exit("%s: remla data %s failed: %s" % (path, command, run.stderr.decode().strip()))
    return json.loads(b"[" + b",".join(run.stdout.splitlines()) + b"]") # ASCII: nothing but \n ends a line


class Comparison:
    def __init__(self, program, path):
        self.program = program
        self.path = os.path.join(path, "tokenizer.json") if os.path.isdir(path) else path
        self.tokenizer = Tokenizer.from_file(self.path)
        self.strings, self.bytes, self.ids, self.different = 0, 0, 0, 0
        self.random = random.Random(1)
        self.all_ids = sorted(set(self.tokenizer.get_vocab(with_added_tokens=True).values()))
        self.least_ids = [i for i in self.all_ids if len(self.tokenizer.id_to_token(i)) in (1, 6)] or self.all_ids

    def some_ids(self):
        """Ids as no text gives them: bytes that are no character."""
        return self.random.choices(self.least_ids if self.random.random() < 0.7 else self.all_ids, k=self.random.randint(0, 12))

    def complain(self, what, string, got, want):
        self.different += 1
        if self.different <= 10:
            print("%s: %s of %s: remla %s, tokenizers %s" % (self.path, what, ascii(string)[:600], str(got)[:600], str(want)[:600]))

    def compare(self, what, strings, got, want):
        if len(got) != len(want):
            sys.exit("%s: %d lines for %d strings" % (self.path, len(got), len(want)))
        if got != want:
            for string, a, b in zip(strings, got, want):
                if a != b:
                    self.complain(what, string, ascii(a), ascii(b))

    def run(self, strings):
        want = [encoding.ids for encoding in self.tokenizer.encode_batch(strings, add_special_tokens=False)]
        self.compare("ids", strings, remla(self.program, "encode", self.path, strings), want)
        texts = self.tokenizer.decode_batch(want, skip_special_tokens=False)
        self.compare("text again", strings, remla(self.program, "decode", self.path, want), texts)
        lists = [self.some_ids() for _ in range(len(strings) // 10)]
        texts = self.tokenizer.decode_batch(lists, skip_special_tokens=False)
        self.compare("text", lists, remla(self.program, "decode", self.path, lists), texts)
        self.strings += len(strings)
        self.bytes += sum(len(string.encode()) for string in strings)
        self.ids += sum(len(ids) for ids in want)


def every_character():
    for c in range(0x110000):
        if not 0xd800 <= c <= 0xdfff:
            yield "a%c \u0301%c1\n%c" % (c, c, c)


def batches(strings, size):
    batch = []
    for string in strings:
        batch.append(string)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def all_batches(options, tokenizers):
    supply = Strings(tokenizers, options.seed)
    yield from batches((supply.next() for _ in range(options.strings)), BATCH)
    if options.characters:
        yield from batches(every_character(), 2 * BATCH)
    yield from batches(make_tokenizers.machine_text(int(options.real * 1e6)), 200)


def compare_all(options):
    comparisons = [Comparison(options.remla, path) for path in options.tokenizer]
    began = time.time()
    for batch in all_batches(options, [c.tokenizer for c in comparisons]):
        for comparison in comparisons:
            comparison.run(batch)
        if options.progress:
            c = comparisons[0]
            print("%s strings, %.0f MB, %d different, %.0f s" % (format(c.strings, ","), c.bytes / 1e6, sum(c.different for c in comparisons),
                                                               time.time() - began), file=sys.stderr, flush=True)
    for c in comparisons:
        print("%s: %s strings, %.1f MB, %s ids, %d different" % (c.path, format(c.strings, ","), c.bytes / 1e6, format(c.ids, ","), c.different))
    return sum(c.different for c in comparisons)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("remla")
    parser.add_argument("--strings", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--characters", action="store_true")
    parser.add_argument("--real", type=float, default=0)
    parser.add_argument("--progress", action="store_true")
    parser.add_argument("tokenizer", nargs="*")
    options = parser.parse_intermixed_args()
    with tempfile.TemporaryDirectory() as folder:
        if not options.tokenizer:
            make_tokenizers.make_all(folder, list(make_tokenizers.machine_text(500000)), 1500)
            options.tokenizer = sorted(os.path.join(folder, name) for name in os.listdir(folder))
        sys.exit(1 if compare_all(options) else 0)


if __name__ == "__main__":
    main()
