#!/usr/bin/env python3
"""Writes pack.txt: TransMLA's samples of a shard that follows from a formula (the same as in tests/data/test_pack.c). Needs nothing.

Written after the description of TransMLA's preprocessing (its map over batches of 1,024 texts and its collator), with lists as it has them: texts
without end-of-text token are cut into chunks of T-1, every chunk gets the token, chunks go into the current list or begin a new one, labels hide the first
token of each chunk, positions restart, the rest is padding. The model shifts labels by one; here `targets` are the shifted ones, -1 for what is hidden,
and `first` is where the position's count began. A line of pack.txt is FNV-1a (64 bits) over inputs, targets and first, each as little-endian int32."""
import os
import struct

T, EOS, DOCUMENTS, BATCH = 64, 0, 2300, 1024


def shard():
    """Documents as they lie in the shard."""
    state = 12345

    def draw(n):
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) % 2 ** 64
        return (state >> 33) % n

    documents = []
    for d in range(DOCUMENTS):
        length = 1 + draw(9)
        if d % 97 == 0:
            length += draw(300)
        tokens = [1 + draw(999) for _ in range(length)]
        if d % 5 != 3:
            tokens[-1] = EOS                        # a document of one token is an empty text
        if d % 11 == 7 and length > 1:
            tokens[-2] = EOS                        # a text that itself ends with the token
        documents.append(tokens)
    return documents


def text(tokens):
    return tokens[:-1] if tokens[-1] == EOS else tokens


def pack(texts):
    lists, used = [[]], 0
    for tokens in texts:
        for at in range(0, len(tokens), T - 1):
            chunk = tokens[at:at + T - 1] + [EOS]
            if used + len(chunk) > T:
                lists.append([])
                used = 0
            lists[-1].append(chunk)
            used += len(chunk)
    return lists


def collate(chunks):
    inputs, labels, positions = [], [], []
    for chunk in chunks:
        inputs += chunk
        labels += [-100] + chunk[1:]
        positions += range(len(chunk))
    padding = T - len(inputs)
    return inputs + [EOS] * padding, labels + [-100] * padding, positions + list(range(padding))


def fnv(values):
    h = 0xcbf29ce484222325
    for byte in struct.pack(f"<{len(values)}i", *values):
        h = (h ^ byte) * 0x100000001b3 % 2 ** 64
    return h


def main():
    documents = shard()
    with open(f"{os.path.dirname(os.path.abspath(__file__))}/pack.txt", "w") as out:
        for at in range(0, DOCUMENTS, BATCH):
            for chunks in pack(text(tokens) for tokens in documents[at:at + BATCH]):
                inputs, labels, positions = collate(chunks)
                targets = [label if label != -100 else -1 for label in labels[1:]] + [-1]
                first = [t - position for t, position in enumerate(positions)]
                out.write(f"{fnv(inputs + targets + first):016x}\n")


if __name__ == "__main__":
    main()
