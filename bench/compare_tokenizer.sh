#!/usr/bin/env bash
# bench/compare_tokenizer.sh NAME TOKENIZER...: bench/tokenizer beside PyPI `tokenizers`, alternately, one core each, on the same text: TEXT_MB (10)
# megabytes of English manual pages and Python, and as much of all kinds of text that this machine has (tests/data/make_tokenizers.py). ROUNDS
# (3) runs of each, of which the fastest counts; CPU time. Writes bench/results/NAME.csv.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/common.sh"

[ $# -ge 2 ] || CODE=2 stop "usage: bench/compare_tokenizer.sh NAME TOKENIZER..."
name=$1
shift
rounds=${ROUNDS:-3}
result=$ROOT/bench/results/$name.csv
bash "$ROOT/scripts/build.sh" cpu >/dev/null
need_python tokenizers
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$PYTHON" - "$ROOT/tests/data" "$work" "${TEXT_MB:-10}" <<'PY'
import glob, json, sys
sys.path.insert(0, sys.argv[1])
import make_tokenizers
limit = int(float(sys.argv[3]) * 1e6)
with open(sys.argv[2] + "/mixed.jsonl", "w") as f:
    for text in make_tokenizers.machine_text(limit):
        f.write(json.dumps(text) + "\n")
with open(sys.argv[2] + "/english.jsonl", "w") as f:
    size = 0
    for path in sorted(glob.glob("/usr/share/man/man*/*.gz") + glob.glob("/usr/lib/python3*/**/*.py")):
        text = make_tokenizers.read(path)
        size += len(text.encode())
        f.write(json.dumps(text) + "\n")
        if size > limit:
            break
PY

runs=$work/runs
for tokenizer in "$@"; do
    for text in english mixed; do
        for ((round = 1; round <= rounds; round++)); do
            say "$tokenizer, $text, round $round of $rounds"
            ours=$("$ROOT/build/cpu/bench/tokenizer" "$tokenizer" "$work/$text.jsonl" 1)
            theirs=$("$PYTHON" "$ROOT/bench/peer_tokenizers.py" "$tokenizer" "$work/$text.jsonl" 1)
            printf '%s\t%s\t%s\t%s\n' "$tokenizer" "$text" "$ours" "$theirs" | tee -a "$runs"
        done
    done
done

mkdir -p "$(dirname "$result")"
"$PYTHON" - "$runs" "# TEXT_MB=${TEXT_MB:-10} ROUNDS=$rounds bench/compare_tokenizer.sh $name ..." >"$result" <<'PY'
import json, os, re, sys
cpu = re.search(r"model name\s*: (.*)", open("/proc/cpuinfo").read())
best = {}
for line in open(sys.argv[1]):
    path, text, ours, theirs = line.rstrip("\n").split("\t")
    ours, theirs = json.loads(ours), json.loads(theirs)
    assert ours["tokens"] == theirs["tokens"], line
    before = best.get((path, text), (ours, theirs))
    best[path, text] = tuple(max(a, b, key=lambda run: run["mb_s"]) for a, b in zip(before, (ours, theirs)))
print(sys.argv[2])
print("# " + (cpu[1] if cpu else "unknown CPU") + ", one core, CPU time")
print("tokenizer,text,bytes,tokens,remla_mb_s,tokenizers_mb_s,ratio")
for (path, text), (ours, theirs) in best.items():
    name = os.path.basename(os.path.dirname(path) if path.endswith("tokenizer.json") else path)
    print(f"{name},{text},{ours['bytes']},{ours['tokens']},{ours['mb_s']:.1f},{theirs['mb_s']:.2f},{ours['mb_s'] / theirs['mb_s']:.1f}")
PY
cat "$result"
