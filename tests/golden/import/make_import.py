#!/usr/bin/env python3
"""Writes everything in this folder but itself: python3 make_import.py

    narrow.txt, wide.txt   documents, one a line, ids below 2^16 and beyond; each ends with EOS. All files hold one of the two
    datatrove/             by datatrove 0.10.1 (TokenizedFile), with one document that is empty
    megatron/              by megatron-core 0.16.1 (IndexedDatasetBuilder), documents of several sequences; datatrove.bin by
                           datatrove's own writer of that format
    mds-*/                 by mosaicml-streaming 0.13.0 (MDSWriter); blocks: the ids in blocks of 16, as made for training
    llmc/, nanogpt/        by the code below: their writers are scripts that download a data set

Made with numpy 2.1.3, torch 2.15.0, zstd 1.5.7.2. The writers need these packages; the tests need only the files."""
import os
import shutil

import numpy as np
import torch
from datatrove.pipeline.tokens.megatron_tokenizer import MegatronTokenizedFile
from datatrove.pipeline.tokens.tokenizer import TokenizedFile
from megatron.core.datasets.indexed_dataset import IndexedDatasetBuilder
from streaming import MDSWriter

HERE = os.path.dirname(os.path.abspath(__file__))
EOS = 7
BLOCK = 16


def make_documents(seed, vocabulary):
    random = np.random.RandomState(seed)
    documents = []
    for _ in range(12):
        ids = random.randint(8, vocabulary, random.randint(1, 40))
        documents.append(np.append(ids, EOS))
    documents[3][0] = vocabulary - 1
    total = sum(map(len, documents))
    documents[-1] = np.append(random.randint(8, vocabulary, -total % BLOCK), documents[-1])   # whole blocks
    return documents


def folder(name):
    path = f"{HERE}/{name}"
    shutil.rmtree(path, ignore_errors=True)
    return path


def write_datatrove(name, documents, size):
    out = TokenizedFile(f"{HERE}/datatrove", name, tokenizer_name_or_path="golden/tokenizer.json", save_final_metadata=True, token_size=size)
    for i, document in enumerate(documents):
        if i == 5:
            out.write([], None)
        out.write([int(x) for x in document], None)
    out.close()


def write_megatron(name, documents, dtype):
    path = f"{HERE}/megatron/{name}"
    out = IndexedDatasetBuilder(path + ".bin", dtype=dtype)
    for document in documents:
        middle = len(document) // 3                       # two sequences, the first may be empty
        out.add_document(torch.from_numpy(document.astype(np.int64)), [middle, len(document) - middle])
    out.finalize(path + ".idx")


def write_mds(name, documents, encoding, make, **more):
    columns = {"tokens": encoding, "source": "str", "weight": "float32"}
    with MDSWriter(out=folder(name), columns=columns, **more) as out:
        for i, document in enumerate(documents):
            out.write({"tokens": make(document), "source": "text of any length"[:i], "weight": np.float32(i)})


def write_llmc(name, documents, magic, version, dtype):
    ids = np.concatenate(documents)
    header = np.zeros(256, "<i4")
    header[:3] = magic, version, len(ids)
    with open(f"{HERE}/llmc/{name}", "wb") as f:
        f.write(header.tobytes() + ids.astype(dtype).tobytes())


def main():
    narrow, wide = make_documents(1, 1 << 16), make_documents(2, 200000)
    for name, documents in (("narrow", narrow), ("wide", wide)):
        with open(f"{HERE}/{name}.txt", "w") as f:
            f.writelines(" ".join(map(str, d)) + "\n" for d in documents)
    for name in ("datatrove", "megatron", "llmc", "nanogpt"):
        os.makedirs(folder(name))

    write_datatrove("narrow.ds", narrow, 2)
    write_datatrove("wide.ds", wide, 4)
    write_megatron("narrow", narrow, np.uint16)
    write_megatron("wide", wide, np.int32)
    write_megatron("wide64", wide, np.int64)
    out = MegatronTokenizedFile(f"{HERE}/megatron", "datatrove", token_size=4)
    for document in wide:
        out.bin_file.write(document.astype("<i4").tobytes())
        out.sequence_lengths.append(len(document))
        out.document_indices.append(len(out.sequence_lengths))
    out.close()
    write_llmc("narrow.bin", narrow, 20240520, 1, "<u2")
    write_llmc("wide.bin", wide, 20240801, 7, "<u4")
    np.concatenate(narrow).astype("<u2").tofile(f"{HERE}/nanogpt/narrow.bin")
    np.concatenate(wide).astype("<u4").tofile(f"{HERE}/nanogpt/wide.bin")

    blocks = np.concatenate(wide).reshape(-1, BLOCK)
    write_mds("mds-raw", wide, "ndarray:int32", lambda d: d.astype(np.int32), hashes=["sha1", "xxh3_64"], size_limit=1000)
    write_mds("mds-zstd", narrow, "ndarray:uint16", lambda d: d.astype(np.uint16), hashes=["blake2b", "sha256", "xxh128"],
              compression="zstd:7", size_limit=900)
    write_mds("mds-bytes", wide, "bytes", lambda d: d.astype(np.int64).tobytes())
    write_mds("mds-blocks", blocks, f"ndarray:int64:{BLOCK}", lambda d: d.astype(np.int64), compression="zstd")


if __name__ == "__main__":
    main()
