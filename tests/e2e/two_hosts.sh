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
cmp one/checkpoints/step-00000020/model.safetensors two/checkpoints/step-00000020/model.safetensors >&2 || fail "two hosts: the weights differ"
grep -q 'ranks: 4' out || fail "not four ranks"

code=0
host_ranks 4 "$REMLA" train config.yaml train.micro_batch=1 train.steps=1000000 parallel.timeout=5 train.out=cut >out 2>err &
job=$!
wait_for_steps cut
hosts_cut
SECONDS=0
wait $job || code=$?
wait_for bash -c "! pgrep -f train.out=cut"
echo "cut: exit code $code after $SECONDS s: $(grep '^remla' err | head -n 3)"
