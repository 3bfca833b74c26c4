"""bench/peer_tokenizers.py TOKENIZER.json TEXT.jsonl [ROUNDS]: what bench/tokenizer does, with PyPI `tokenizers`: encode_batch, and
encode_batch_fast, which leaves offsets out, on one thread. The faster of the two counts."""
import json
import os
import sys
import time

os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["RAYON_NUM_THREADS"] = "1"
import tokenizers

path = os.path.join(sys.argv[1], "tokenizer.json") if os.path.isdir(sys.argv[1]) else sys.argv[1]
rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 3
tokenizer = tokenizers.Tokenizer.from_file(path)
documents = [json.loads(line) for line in open(sys.argv[2])]
size = sum(len(d.encode()) for d in documents)
best = {}
for _ in range(rounds):
    for name in ("encode_batch", "encode_batch_fast"):
        tokens, taken = 0, 0.0
        for i in range(0, len(documents), 1000):
            began = time.thread_time()
            encoded = getattr(tokenizer, name)(documents[i:i + 1000], add_special_tokens=False)
            taken += time.thread_time() - began
            tokens += sum(len(e) for e in encoded)
            del encoded
        best[name] = min(best.get(name, taken), taken)
print(json.dumps({"program": "tokenizers " + tokenizers.__version__, "documents": len(documents), "bytes": size, "tokens": tokens,
                  "mb_s": round(size / min(best.values()) / 1e6, 2), **{name: round(size / t / 1e6, 2) for name, t in best.items()}}))
