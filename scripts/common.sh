# shellcheck shell=bash
# Sourced by the scripts of this folder. Prints short lines, installs only what is missing.
set -euo pipefail
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export DEBIAN_FRONTEND=noninteractive PIP_DISABLE_PIP_VERSION_CHECK=1
# Open MPI refuses to run as root unless both are set.
if [ "$(id -u)" = 0 ]; then export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1; fi

say() { printf '==> %s\n' "$*"; }
stop() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit "${CODE:-3}"; }

# apt_get ARGUMENTS...: runs apt-get, through sudo unless root; with neither, prints the command to run as root.
apt_get() {
    local command=(env DEBIAN_FRONTEND=noninteractive apt-get -qq "$@")
    if [ "$(id -u)" = 0 ]; then
        "${command[@]}" </dev/null
    elif command -v sudo >/dev/null; then
        sudo "${command[@]}"
    else
        stop "neither root nor sudo; as root run: apt-get update && apt-get $*"
    fi
}

# need_packages PACKAGE...: installs the Debian packages that are missing.
need_packages() {
    local missing=() p
    for p in "$@"; do
        dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'install ok installed' || missing+=("$p")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "Debian packages are missing, installing them: ${missing[*]}"
    [ "$(id -u)" = 0 ] || command -v sudo >/dev/null ||
        stop "neither root nor sudo; as root run: apt-get update && apt-get install --no-install-recommends ${missing[*]}"
    apt_get update || say "apt-get update failed; going on with the package lists that are here"
    local log
    log=$(apt_get install -y --no-install-recommends "${missing[@]}" 2>&1) || { printf '%s\n' "$log" >&2; stop "apt could not install: ${missing[*]}"; }
}

VENV=$ROOT/build/venv
PYTHON=$VENV/bin/python
# A client's extras; its own Hugging Face path wants torch, transformers and accelerate beside it.
# shellcheck disable=SC2034 # for those who source this
LM_EVAL='lm-eval[api]==0.4.13'

# Hides pip's output unless it fails: pip complains about the packages that torch_cpu.py leaves out on purpose.
pip_install() {
    local log
    log=$("$PYTHON" -m pip install -q "$@" 2>&1) || { printf '%s\n' "$log" >&2; return 1; }
}

# need_python PACKAGE...: makes the environment VENV (build/venv) with these packages of PyPI; PYTHON is its interpreter.
need_python() {
    if ! [ -x "$PYTHON" ]; then
        python3 -c 'import ensurepip, venv' 2>/dev/null || need_packages python3-venv ca-certificates
        say "making a Python environment in ${VENV#"$ROOT/"}"
        python3 -m venv "$VENV" || stop "could not make $VENV"
    fi
    local missing=() p
    for p in "$@"; do
        [ -e "$VENV/has-$p" ] || missing+=("$p")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    say "installing Python packages into ${VENV#"$ROOT/"}: ${missing[*]}"
    pip_install "${missing[@]}" || stop "pip could not install: ${missing[*]}"
    for p in "${missing[@]}"; do : >"$VENV/has-$p"; done
}

# need_torch [VERSION]: installs torch for the CPU in VENV (0.6 GB to download), the newest or this version; fails if it cannot.
need_torch() {
    need_python numpy
    "$PYTHON" -c 'import torch' 2>/dev/null && return
    say "installing torch for the CPU into ${VENV#"$ROOT/"} (0.6 GB to download, about a minute)"
    pip_install --no-deps "torch${1:+==$1}" && "$PYTHON" "$ROOT/scripts/torch_cpu.py" && "$PYTHON" -c 'import torch'
}
