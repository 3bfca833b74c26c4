#!/usr/bin/env bash
# scripts/test.sh [ctest arguments]: installs what is missing, builds, and runs all tests. Tests that lack something say so and are skipped.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/common.sh"

bash "$ROOT/scripts/build.sh" cpu
need_packages zstd
need_python numpy safetensors
if ! (need_python pyzstd zstandard indexed-zstd xxhash); then say "readers of seekable zstd cannot be had here: the test that needs them will be skipped"; fi
if ! (need_python tokenizers); then say "PyPI tokenizers cannot be had here: the test that needs it will be skipped"; fi
# For one test only: that stock transformers loads what we convert.
if ! (need_torch && need_python transformers); then say "torch or transformers cannot be had here: the test that needs them will be skipped"; fi

cd "$ROOT"
say "running the tests"
exec ctest --preset cpu --parallel "$(nproc)" "$@"
