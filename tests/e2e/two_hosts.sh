#!/usr/bin/env bash
# Two hosts, which are network namespaces: two ranks on each have the losses of four on one, to the last bit; when the network between them is
# cut, both end.
. "$(dirname "$0")/hosts.sh"
in_namespaces "$0"
. "$(dirname "$0")/common.sh"
hosts_make
write_config config.yaml "$golden/mla"
check_exit 0 ranks 4 "$REMLA" train config.yaml train.micro_batch=1 train.steps=20 train.out=one
check_exit 0 host_ranks 4 "$REMLA" train config.yaml train.micro_batch=1 train.steps=20 train.out=two
cmp <(curve one) <(curve two) >&2 || fail "two hosts: the curves differ"
for file in one/checkpoints/step-00000020/{model,optim}-*.safetensors; do
    cmp "$file" "two/${file#one/}" >&2 || fail "two hosts: $file differs"
done
grep -q 'ranks: 4' out || fail "not four ranks"

# Then what mpirun does is its own affair; its exit code is not always that of the ranks.
host_ranks 4 "$REMLA" train config.yaml train.micro_batch=1 train.steps=1000000 parallel.timeout=5 train.out=cut >out 2>err &
job=$!
wait_for_steps cut
hosts_cut
gone() { ! pgrep -x "$1" >/dev/null; }
wait_for gone remla
wait_for gone 'mpirun|orted'
wait $job && fail "a network that is cut: exit code 0"
grep -q '^remla: rank [02] on a, step [0-9]*, [a-z ]*: .*rank [13] on b' err || { cat err >&2; fail "a network that is cut: no sentence that names the ranks that are lost"; }
