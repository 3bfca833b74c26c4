#!/usr/bin/env python3
"""Tokenizes JSON Lines documents into datatrove shards. usage: tokenize_text.py TOKENIZER.json DOCS.jsonl FORTUNES.jsonl OUT

OUT/train.ds, OUT/docs.ds    the documentation: one document in twenty is held out in docs.ds
OUT/other.ds                 the second kind of text, never trained on
OUT/calib.ds                 48 windows of 256 tokens at even distances in train.ds, for the converter
Documents are ordered by a hash of their names, so a shard's beginning is a fair sample of all of it and nothing depends on chance.
"""
import hashlib
import json
import os
import sys

import numpy as np
from tokenizers import Tokenizer

HELD_OUT = 20
CALIBRATION_WINDOWS, CALIBRATION_LENGTH = 48, 256
END_OF_TEXT = "<|endoftext|>"
BATCH = 256


def read_documents(path):
    with open(path, encoding="utf-8") as f:
        documents = [json.loads(line) for line in f]
    return [d["text"] for d in sorted(documents, key=lambda d: hashlib.sha256(d["id"].encode()).digest())]


def encode(tokenizer, texts):
    """Token ids of every text, with the end-of-text token appended."""
    end = tokenizer.token_to_id(END_OF_TEXT)
    ids = []
    for i in range(0, len(texts), BATCH):
        ids += [e.ids + [end] for e in tokenizer.encode_batch(texts[i : i + BATCH], add_special_tokens=False)]
    return ids


def write_shard(path, documents):
    """PATH: little-endian uint16 ids; PATH.index: where each document ends, uint64; PATH.metadata: what and how many."""
    ids = np.concatenate([np.asarray(d) for d in documents])
    if ids.max() >= 1 << 16:
        sys.exit(f"{path}: token id {ids.max()} does not fit in two bytes")
    ids.astype("<u2").tofile(path)
    np.cumsum([len(d) for d in documents]).astype("<u8").tofile(path + ".index")
    with open(path + ".metadata", "w") as f:
        f.write(f"tokenizer.json|2\n{len(ids)}\n{len(ids) / 1e6:.3g} M tokens\n")
    print(f"{path}: {len(ids)} tokens in {len(documents)} documents")
    return ids


def calibration(ids):
    """Windows as documents, and one token more: the target of the last."""
    stride = (len(ids) - 1) // CALIBRATION_WINDOWS
    if stride < CALIBRATION_LENGTH:
        sys.exit(f"{len(ids)} tokens of documentation are too few to calibrate on")
    windows = [ids[i * stride : i * stride + CALIBRATION_LENGTH] for i in range(CALIBRATION_WINDOWS)]
    windows[-1] = ids[(CALIBRATION_WINDOWS - 1) * stride : (CALIBRATION_WINDOWS - 1) * stride + CALIBRATION_LENGTH + 1]
    return windows


def main(tokenizer_file, docs, other, out):
    tokenizer = Tokenizer.from_file(tokenizer_file)
    documents = encode(tokenizer, read_documents(docs))
    held_out = len(documents) // HELD_OUT
    os.makedirs(out, exist_ok=True)
    train = write_shard(f"{out}/train.ds", documents[held_out:])
    write_shard(f"{out}/docs.ds", documents[:held_out])
    write_shard(f"{out}/other.ds", encode(tokenizer, read_documents(other)))
    write_shard(f"{out}/calib.ds", calibration(train))


if __name__ == "__main__":
    main(*sys.argv[1:])
