"""bench/peer_seekable.py FILE.ds.zst: the reads of bench/data by another program: pyzstd's SeekableZstdFile. Windows of 4096 ids of 4 bytes, in
order and at random. Prints one JSON object."""

import json
import sys
import time

import pyzstd

WINDOW, RANDOM_WINDOWS = 4 * 4096, 2000

f = pyzstd.SeekableZstdFile(sys.argv[1])
start, total = time.process_time(), 0
while len(f.read(WINDOW)) == WINDOW:
    total += WINDOW
sequential = total / 4 / (time.process_time() - start)

start = time.process_time()
for i in range(RANDOM_WINDOWS):
    f.seek(i * 0x9E3779B97F4A7C15 % (1 << 64) % (total // 4 - 4096) * 4)
    assert len(f.read(WINDOW)) == WINDOW
print(json.dumps({"read_tok_s": sequential, "random_ms": 1e3 * (time.process_time() - start) / RANDOM_WINDOWS}))
