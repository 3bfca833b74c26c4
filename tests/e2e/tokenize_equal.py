#!/usr/bin/env python3
"""`remla data tokenize` against PyPI `tokenizers` and readers written here: every token and every document, from plain text, JSON lines, .gz and .zst,
with every tokenize.eos. usage: tokenize_equal.py REMLA MODEL-FOLDER [MODEL-FOLDER ...]; folders that are not there are passed over.

What is expected follows datatrove: text is encoded without special tokens, documents without text are left out, the end of text is appended."""
import array
import glob
import gzip
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile

try:
    from tokenizers import Tokenizer
except ImportError:
    print("skipped: there is no Python package tokenizers")
    sys.exit(77)

WORDS = ["the", " quick", "  brown", "\tfox", "\n", "\r\n", "jumps", "12345", "it's", "don't", "Ünïcödé", "日本語", "🦊👩‍👩‍👧", "\u0000", "\ufeff", "a" * 300, "<|endoftext|>",
         "e\u0301", "\u00a0", "...", "SELECT * FROM t;", "привет", "\u200b", "ﬁ", "العربية"]


def text(rng):
    return "".join(rng.choice(WORDS) + rng.choice(["", " "]) for _ in range(rng.choice([0, 1, 5, 50, 800])))


def zstd_frame(data):
    """Blocks that are not compressed, which any decoder takes; this needs no library."""
    out = b"\x28\xb5\x2f\xfd\x00\x38"
    for at in range(0, max(len(data), 1), 1 << 16):
        block = data[at : at + (1 << 16)]
        out += ((at + len(block) >= len(data)) | len(block) << 3).to_bytes(3, "little") + block
    return out


def write(folder, rng):
    """Files in the order of their names, and what is in them."""
    documents = []
    kinds = ["a.txt", "b.md", "c.jsonl", "d.json", "e.ndjson", "f.txt.gz", "g.jsonl.gz", "h.txt.zst", "i.jsonl.zst", "j", "k.txt"]
    for name in kinds:
        if ".json" in name or ".ndjson" in name:
            found = [text(rng) for _ in range(100)]
            lines = []
            for t in found:
                line = {"id": rng.randrange(1 << 80), "meta": {"x": [1.5, None, True]}}
                if rng.random() < 0.5:
                    line = {"body": t} | line
                else:
                    line["body"] = t
                lines.append(json.dumps(line, ensure_ascii=rng.random() < 0.5) + rng.choice(["\n", "\r\n", "\n\n", " \n"]))
            data = "".join(lines).encode()
            if rng.random() < 0.5:
                data = data.rstrip()
        else:
            found = ["" if name == "k.txt" else text(rng)]
            data = found[0].encode()
            found[0] = found[0].removeprefix("\ufeff")
        if name.endswith(".gz"):
            half = len(data) // 2
            data = gzip.compress(data[:half]) + gzip.compress(data[half:])
        elif name.endswith(".zst"):
            half = len(data) // 2
            data = zstd_frame(data[:half]) + zstd_frame(data[half:])
        with open(f"{folder}/{name}", "wb") as f:
            f.write(data)
        documents += found
    return documents


def read_shards(folder):
    ids, ends = [], []
    with open(f"{folder}/dataset.json") as f:
        manifest = json.load(f)
    names = sorted(glob.glob(f"{folder}/*.ds"))
    assert [os.path.basename(n) for n in names] == [s["name"] for s in manifest["shards"]], names
    for name, listed in zip(names, manifest["shards"]):
        tokens, index = array.array("H" if manifest["token_bytes"] == 2 else "I"), array.array("Q")
        with open(name, "rb") as f:
            tokens.frombytes(f.read())
        with open(name + ".index", "rb") as f:
            index.frombytes(f.read())
        assert len(tokens) == listed["tokens"] and len(index) == listed["documents"], listed
        ends += [len(ids) + e for e in index]
        ids += tokens
    return manifest, ids, ends


def check(remla, model, folder, seed):
    rng = random.Random(seed)
    tokenizer = Tokenizer.from_file(f"{model}/tokenizer.json")
    size = max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1
    text_folder, out = f"{folder}/text", f"{folder}/out"
    os.mkdir(text_folder)
    documents = write(text_folder, rng)
    with open(f"{model}/tokenizer_config.json") as f:
        named = tokenizer.token_to_id(json.load(f)["eos_token"])
    eos, appended = rng.choice([("auto", [named]), ("none", []), ("7", [7])])
    want, ends, empty = [], [], 0
    for d in documents:
        ids = tokenizer.encode(d, add_special_tokens=False).ids
        if not ids:
            empty += 1
            continue
        want += ids + appended
        ends.append(len(want))
    shard_tokens = rng.choice([30000, 200000, 10**9])
    result = subprocess.run([remla, "data", "tokenize", text_folder, f"tokenize.model={model}", f"tokenize.out={out}", "tokenize.column=body", f"tokenize.eos={eos}",
                             "tokenize.compress=false", f"tokenize.shard_tokens={shard_tokens}", "--json"], stdout=subprocess.PIPE, check=True)
    said = json.loads(result.stdout)
    manifest, ids, got_ends = read_shards(out)
    assert ids == want, f"{model}: {len(ids)} tokens, {len(want)} expected; the first that differs is {next((i for i, (a, b) in enumerate(zip(ids, want)) if a != b), None)}"
    assert got_ends == ends
    assert (said["documents"], said["tokens"], said["empty"], said["files"]) == (len(ends), len(want), empty, 11), said
    assert said["shards"] == len(manifest["shards"]) <= -(-len(want) // shard_tokens)
    assert manifest["vocabulary"] == size and manifest["eos"] == (appended[0] if appended else None), manifest
    print(f"{model}: {len(want)} tokens in {len(ends)} documents, {said['shards']} shards, eos {eos}: equal")


def main(remla, *models):
    seen = 0
    for model in models:
        if not os.path.exists(f"{model}/tokenizer.json"):
            print(f"passed over: there is no {model}/tokenizer.json")
            continue
        for seed in range(3):
            folder = tempfile.mkdtemp(prefix="remla-tokenize-")
            try:
                check(remla, model, folder, seed)
            finally:
                shutil.rmtree(folder)
        seen += 1
    sys.exit(0 if seen else 77)


if __name__ == "__main__":
    main(*sys.argv[1:])
