#!/usr/bin/env bash
# bench/scaling.sh: puts the tables of bench/scaling into docs/SCALING.md, its numbers into bench/results/scaling-h100.csv, and its
# pictures beside the page. They follow from the plan (train/plan_machine.h has the bandwidths): run it when that has changed.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/../scripts/common.sh"

bash "$ROOT/scripts/build.sh" cpu >/dev/null
cd "$ROOT"
page=docs/SCALING.md tables=$(mktemp)
trap 'rm -f "$tables"' EXIT
build/cpu/bench/scaling bench/results/scaling-h100.csv docs/scaling >"$tables"
for part in tables tensor; do
    grep -q "<!-- $part -->" $page || stop "$page has no line <!-- $part -->"
done
awk -v tables="$tables" '
    function insert(tensor,    line, here) {
        here = 0
        while ((getline line < tables) > 0) {
            if (line ~ /^\| one layer/) here = 1
            if (here == tensor) print line
        }
        close(tables)
    }
    /^<!-- (tables|tensor) -->$/ { print; insert($2 == "tensor"); if ($2 == "tensor") print ""; skip = 1 }
    /^<!-- end -->$/ { skip = 0 }
    !skip' $page >"$tables.page"
mv "$tables.page" $page
say "$page, bench/results/scaling-h100.csv, docs/scaling-*.svg"
