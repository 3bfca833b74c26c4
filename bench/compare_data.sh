#!/usr/bin/env bash
# bench/compare_data.sh NAME SHARD [TOKENS]: bench/data on the ids of a shard, beside `zstd -d` and pyzstd on the file that it wrote, alternately; the
# medians of ROUNDS (3) rounds. In CPU seconds, which other processes disturb less; one thread each. Writes bench/results/data-NAME.csv.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/common.sh"

[ $# -ge 2 ] || CODE=2 stop "usage: bench/compare_data.sh NAME SHARD [TOKENS]"
name=$1 shard=$2 tokens=${3:-20000000} rounds=${ROUNDS:-3}
result=$ROOT/bench/results/data-$name.csv
bash "$ROOT/scripts/build.sh" cpu >/dev/null
need_packages zstd
need_python pyzstd
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for ((round = 1; round <= rounds; round++)); do
    say "round $round of $rounds"
    rm -f "$work"/bench.ds*
    ours=$("$ROOT/build/cpu/bench/data" "$shard" "$work" "$tokens")
    zstd_seconds=$(TIMEFORMAT='%U %S'; { time zstd -dcq "$work/bench.ds.zst" >/dev/null; } 2>&1 | awk '{ print $1 + $2 }')
    printf '%s\t%s\t%s\n' "$ours" "$zstd_seconds" "$("$PYTHON" "$ROOT/bench/peer_seekable.py" "$work/bench.ds.zst")" | tee -a "$work/runs"
done

mkdir -p "$(dirname "$result")"
"$PYTHON" - "$work/runs" "# ROUNDS=$rounds bench/compare_data.sh $name $shard $tokens" >"$result" <<'PY'
import json, os, re, statistics, sys

cpu = re.search(r"model name\s*: (.*)", open("/proc/cpuinfo").read())
ours, zstd, peer = [], [], []
for line in open(sys.argv[1]):
    a, b, c = line.split("\t")
    ours.append(json.loads(a)), zstd.append(json.loads(a)["tokens"] / float(b)), peer.append(json.loads(c))
row = {"cpu": f"{cpu[1] if cpu else 'unknown CPU'} ({os.cpu_count()} cores)".replace(",", "")}
row |= {k: statistics.median(r[k] for r in ours) for k in ours[0]}
row |= {"zstd_d_tok_s": statistics.median(zstd)} | {"pyzstd_" + k: statistics.median(r[k] for r in peer) for k in peer[0]}
print(sys.argv[2])
print(",".join(row))
print(",".join(v if isinstance(v, str) else f"{v:.4g}" for v in row.values()))
PY
say "bench/results/data-$name.csv"
cat "$result"
