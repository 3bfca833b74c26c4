#!/usr/bin/env bash
# bench/compare_step.sh NAME [BxT ...]: bench/step beside its peer in PyTorch, alternately and on all cores, so that both see the same
# machine. Default 4x256 2x1024; ROUNDS (3) runs of STEPS (3) steps each, of which the medians count. Writes bench/results/NAME.csv.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/common.sh"

[ $# -ge 1 ] || CODE=2 stop "usage: bench/compare_step.sh NAME [BxT ...]"
name=$1
shift
[ $# -gt 0 ] || set -- 4x256 2x1024
rounds=${ROUNDS:-3} steps=${STEPS:-3}
result=$ROOT/bench/results/$name.csv
bash "$ROOT/scripts/build.sh" cpu >/dev/null
need_torch || stop "torch cannot be had here"

# The peer's tuning: one thread a core, and memory that stays with the process instead of being returned and faulted in again.
peer=(env "OMP_NUM_THREADS=$(nproc)" GLIBC_TUNABLES=glibc.malloc.mmap_threshold=17179869184:glibc.malloc.trim_threshold=17179869184
    "$PYTHON" "$ROOT/bench/peer_torch.py")

runs=$(mktemp)
trap 'rm -f "$runs"' EXIT
for shape in "$@"; do
    size=(--batch "${shape%x*}" --seq-len "${shape#*x}" --steps "$steps")
    for ((round = 1; round <= rounds; round++)); do
        say "$shape, round $round of $rounds"
        ours=$("$ROOT/build/cpu/bench/step" "${size[@]}" --json)
        theirs=$("${peer[@]}" "${size[@]}")
        printf '%s\t%s\t%s\n' "$shape" "$ours" "$theirs" | tee -a "$runs"
    done
done

mkdir -p "$(dirname "$result")"
"$PYTHON" - "$runs" "# ROUNDS=$rounds STEPS=$steps bench/compare_step.sh $name $*" >"$result" <<'PY'
import importlib.metadata, json, os, re, statistics, sys

cpu = re.search(r"model name\s*: (.*)", open("/proc/cpuinfo").read())
cpu = f"{cpu[1] if cpu else 'unknown CPU'} ({os.cpu_count()} cores)".replace(",", "")
torch = importlib.metadata.version("torch")
shapes = {}
for line in open(sys.argv[1]):
    shape, ours, theirs = line.split("\t")
    shapes.setdefault(shape, []).append((json.loads(ours), json.loads(theirs)))
print(sys.argv[2])
print("cpu,torch,shape,remla_tok_s,torch_tok_s,ratio,remla_mib,torch_mib,memory_ratio,remla_share_of_peak")
for shape, pairs in shapes.items():
    ours, theirs = ({key: statistics.median(run[i][key] for run in pairs) for key in pairs[0][i]} for i in (0, 1))
    print(f"{cpu},{torch},{shape},{ours['tok_s']:.1f},{theirs['tok_s']:.1f},{ours['tok_s'] / theirs['tok_s']:.2f},{ours['peak_rss_mib']:.0f},"
          f"{theirs['peak_rss_mib']:.0f},{ours['peak_rss_mib'] / theirs['peak_rss_mib']:.2f},{ours['share_of_peak']:.3f}")
PY
say "bench/results/$name.csv"
cat "$result"
