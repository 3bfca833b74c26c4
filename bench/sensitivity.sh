#!/usr/bin/env bash
# bench/sensitivity.sh NAME MODEL TOKENS: measures how much the conversion by layers depends on its calibration text. TOKENS is the folder of shards that
# scripts/demo.sh makes (train, docs, other: documentation, held-out documentation, fortunes). Calibrates on 2,048 to 49,152 tokens of
# documentation or of fortunes (not the last 12,289, which are for evaluation), converts to rank 96 + rope 32, and evaluates on
# 12,288 held-out tokens of both. Writes bench/results/NAME.csv; the same command resumes after an interruption.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/common.sh"

[ $# = 3 ] || CODE=2 stop "usage: bench/sensitivity.sh NAME MODEL TOKENS"
name=$1 model=$2 tokens=$3
remla=${REMLA:-$ROOT/build/cpu/remla}
work=$ROOT/build/$name
rows=$work/$name.csv
held_out=12288
mkdir -p "$work" "$ROOT/bench/results"
need_python numpy
[ -e "$rows" ] || echo "calibration,tokens,loss_docs,loss_other" >"$rows"

# Plain shards: u16 tokens, one document.
"$PYTHON" - "$tokens/other" "$work" $held_out <<'PY'
import glob, subprocess, sys
import numpy as np

source, work, held_out = sys.argv[1], sys.argv[2], int(sys.argv[3])
files = sorted(glob.glob(source + ".ds") or glob.glob(source + "/*.ds.zst"))
ids = np.concatenate([np.frombuffer(open(f, "rb").read() if f.endswith(".ds") else subprocess.run(["zstd", "-dc", f], capture_output=True, check=True).stdout, "<u2") for f in files])
for name, part in (("fortunes", ids[: -held_out - 1]), ("other", ids[-held_out - 1 :])):
    part.tofile(f"{work}/{name}.ds")
    open(f"{work}/{name}.ds.metadata", "w").write(f"tokenizer.json|2\n{len(part)}\n")
PY

shards() { # NAME: as a shard, or as a folder of them
    if [ -e "$tokens/$1.ds" ]; then echo "$tokens/$1.ds"; else echo "$tokens/$1/*.ds.zst"; fi
}

loss() { # MODEL SHARDS
    "$remla" eval "$1" data.val="$2" val.tokens=$held_out eval.seq_len=512 data.document_mask=false --json 2>/dev/null | sed 's/.*"loss": \([^,]*\).*/\1/'
}

for count in 2048 6144 16384 49152; do
    for kind in documentation fortunes; do
        ! grep -q "^$kind,$count," "$rows" || continue
        if [ $kind = documentation ]; then calib=$(shards train); else calib=$work/fortunes.ds; fi
        rm -rf "$work/mla"
        "$remla" convert "$model" "$work/mla" calib.data="$calib" calib.tokens=$count calib.seq_len=256 convert.qk_rope_head_dim=32 \
            convert.kv_lora_rank=96 convert.dtype=f32 >"$work/convert.log"
        grep -q "^  \"tokens\": $count," "$work/mla/conversion.json" || stop "$calib holds fewer than $count tokens"
        echo "$kind,$count,$(loss "$work/mla" "$(shards docs)"),$(loss "$work/mla" "$work/other.ds")" | tee -a "$rows"
    done
done
rm -rf "$work/mla"
{ echo "# bench/sensitivity.sh $name $(basename "$model") $(basename "$tokens")"; cat "$rows"; } >"$ROOT/bench/results/$name.csv"
say "bench/results/$name.csv"
