"""What remla writes as X.ds.zst two independent seekable readers read at any place; and remla reads what was put together here with another library,
frames that end within tokens, with and without checksums in the table. usage: seekable.py REMLA. Exit 77: a package is missing."""
import json
import os
import random
import struct
import subprocess
import sys
import tempfile

import numpy

try:
    import indexed_zstd
    import pyzstd
    import xxhash
    import zstandard
except ImportError as missing:
    print("skipped:", missing)
    sys.exit(77)

TOKENS = 700_000
remla = os.path.abspath(sys.argv[1])
random.seed(5)


def call(*arguments, expect=0):
    result = subprocess.run([remla, *arguments], capture_output=True, text=True)
    assert result.returncode == expect, f"{arguments}: {result.returncode}: {result.stderr}"
    return result


with tempfile.TemporaryDirectory() as folder:
    os.chdir(folder)
    ids = (numpy.random.default_rng(1).zipf(1.2, TOKENS) % 50000).astype("<u4")
    raw = ids.tobytes()
    ids.tofile("raw.ds")
    with open("raw.ds.metadata", "w") as f:
        f.write(f"t|4\n{TOKENS}\n")
    call("data", "import", "raw.ds", "own.ds.zst", "import.vocabulary=70000")

    _, packed, content = pyzstd.SeekableZstdFile("own.ds.zst").seek_table_info
    assert content == len(raw) and packed < os.path.getsize("own.ds.zst"), (packed, content)
    for reader in (pyzstd.SeekableZstdFile("own.ds.zst"), indexed_zstd.IndexedZstdFile("own.ds.zst")):
        for _ in range(200):
            at, count = random.randrange(len(raw)), random.randrange(1, 300_000 if random.random() < 0.1 else 5000)
            reader.seek(at)
            assert reader.read(count) == raw[at : at + count], (reader, at, count)

    zstd = zstandard.ZstdCompressor(level=5, write_checksum=True)
    for checksums in (True, False):
        frames, entries = b"", b""
        for at in range(0, len(raw), 99_999):
            part = raw[at : at + 99_999]
            frame = zstd.compress(part)
            frames += frame
            entries += struct.pack("<II", len(frame), len(part)) + (struct.pack("<I", xxhash.xxh64_intdigest(part) & 0xFFFFFFFF) if checksums else b"")
        count = -(-len(raw) // 99_999)
        with open("theirs.ds.zst", "wb") as f:
            f.write(frames + struct.pack("<II", 0x184D2A5E, len(entries) + 9) + entries + struct.pack("<IBI", count, 0x80 if checksums else 0, 0x8F92EAB1))
        with open("theirs.ds.metadata", "w") as f:
            f.write(f"t|4\n{TOKENS}\n")
        call("data", "verify", "theirs.ds.zst")
        found = json.loads(call("data", "inspect", "theirs.ds.zst", "--json").stdout)["files"][0]
        assert found["tokens"] == TOKENS and found["first_tokens"] == ids[:16].tolist(), found
