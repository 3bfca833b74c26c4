#!/usr/bin/env bash
# with_python.sh SCRIPT [argument ...]: runs a Python script in build/venv. Exit code 77, skipped, where either is missing.
set -euo pipefail
python=${REMLA_SOURCE:?the root of the sources}/build/venv/bin/python
for file in "$python" "$1"; do
    [ -e "$file" ] || { echo "skipped: there is no $file"; exit 77; }
done
exec "$python" "$@"
