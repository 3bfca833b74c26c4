#!/usr/bin/env bash
# crash_points.sh [all [kills | cuts]]: a run dies, or the power fails, at a call that changes a file: of a start, of saves, of prunes, on 1 rank and on 2. The same
# command then goes on and ends with the same weights, moments and losses, and leaves nothing behind. After a power cut what was not synced is lost,
# in the worst ways and in random mixtures (power_cut.py). Without `all` only some of the calls.
: "${FAULTY_FILES:?the library made of faulty_files.c}"
FAULTY_FILES=$(realpath "$FAULTY_FILES")
. "$(dirname "$0")/common.sh"
command -v python3 >/dev/null || { echo "skipped: no python3"; exit 77; }
export FAULTY_FILES REMLA PYTHONDONTWRITEBYTECODE=1
write_config config.yaml "$golden/mla"
python3 "$REMLA_SOURCE/tests/e2e/crash_points.py" "${@:-some}" || exit 1
