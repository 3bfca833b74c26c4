#!/usr/bin/env bash
# `remla inspect` of checkpoints and runs: whole ones are explained, damaged ones named, mistyped paths answered; and a run that goes on
# warns of what can change its numbers, and of nothing else.
. "$(dirname "$0")/common.sh"
write_config config.yaml "$golden/mla"
run=("$REMLA" train config.yaml train.steps=8 checkpoint.every=2 val.every=4 train.out=run)
inspect=("$REMLA" inspect)
# says FILE PATTERN...: each is in the file.
says() {
    local file=$1 pattern
    shift
    for pattern; do grep -qE -e "$pattern" "$file" || { cat "$file" >&2; fail "no '$pattern' in $file"; }; done
}

# ---- a run that stops, and goes on elsewhere
ONEDNN_MAX_CPU_ISA=SSE41 check_exit 0 "${run[@]}" train.stop_after=4
OMP_NUM_THREADS=2 check_exit 0 "${run[@]}" train.stop_after=2 optim.lr=0.01
if grep -q avx2 /proc/cpuinfo; then says err "^remla: warning: oneDNN's instructions sse41 -> [a-z0-9_]*: losses need not agree bit for bit$"; fi
OMP_NUM_THREADS=2 check_exit 0 "${run[@]}" optim.lr=0.01
[ ! -s err ] || { cat err >&2; fail "nothing that decides numbers has changed"; }
checkpoint=run/checkpoints/step-00000008
for file in run $checkpoint; do grep -q '"onednn_isa"' $file/env.json || fail "$file/env.json"; done
grep -q env.json $checkpoint/MANIFEST.json || fail "env.json is not in the manifest"

# ---- ranks on unlike machines: said, with the check that cannot be made
unlike() { ranks 1 "$REMLA" train config.yaml "$@" : -n 1 env ONEDNN_MAX_CPU_ISA=SSE41 "$REMLA" train config.yaml "$@"; }
check_exit 0 unlike train.steps=1 train.out=unlike
if grep -q avx2 /proc/cpuinfo; then
    says err "^remla: warning: rank 1 on .* is not like rank 0: oneDNN's instructions [a-z0-9_]* -> sse41: their bits may differ, and parallel.check compares weights alone"
fi

# ---- a checkpoint
check_exit 0 "${inspect[@]}" $checkpoint
says out "^$checkpoint: a checkpoint, whole$" '^  step +8 of 8, 2048 tokens$' 'goes on at position 64 of the order; fingerprint [0-9a-f]{16}$' \
    '^  model +MLA, 4 heads' '1 rank of 2 threads$' 'CPU: .*oneDNN' 'train.seq_len=32'
check_exit 0 "${inspect[@]}" $checkpoint/ --json
says out '"whole": true' '"step": 8' '"position": 64' '"attention": "mla"' '"onednn_isa"' '"train.seq_len": 32' '"state_files": 1'

# ---- the run
check_exit 0 "${inspect[@]}" run
says out '^run: a run, step 8 of 8, done$' '^  starts +3$' 'step 4 .* 1 rank on ' 'optim.lr 0.02 -> 0.01' '^  validations +3, the last [0-9.]+ at step 8$' \
    '^    step 8 .* kB, whole, val [0-9.]+, the newest, the best$'
! grep -q 'goes on' out || fail "a run that is done goes on"
check_exit 0 "${inspect[@]}" run --json
says out '"step": 8' '"steps": 8' '"done": true' '"live": false' '"command": null' '"name": "optim.lr"' '"from": "run/checkpoints/step-00000006"'

# ---- a run that is not done: the command goes on, also from elsewhere
check_exit 0 "$REMLA" train config.yaml train.steps=6 train.stop_after=2 checkpoint.every=2 train.out=part
check_exit 0 "${inspect[@]}" part
says out '^part: a run, step 2 of 6, stopped$' '^  goes on +from step 2: remla train part/config.yaml train.out=part train.stop_after=none$'
mkdir elsewhere
(cd elsewhere && "${inspect[@]}" ../part) >out
command=$(sed -n 's/^  goes on  *from step 2: //p' out)
[ "$command" = "cd $work && remla train $work/part/config.yaml train.out=$work/part train.stop_after=none" ] || fail "$command"
(cd / && PATH=$(dirname "$REMLA"):$PATH bash -c "$command") >said
says said '^resumed from .*/part/checkpoints/step-00000002: step 2' '^done: step 6 of 6'

# ---- the command is one for a shell
cp -r part "it's a part"
rm -r "it's a part/checkpoints/step-00000006"
sed -i '/"step": [3-6],/d' "it's a part/metrics.jsonl"
check_exit 0 "${inspect[@]}" "it's a part"
command=$(sed -n 's/^  goes on  *from step [24]: //p' out)
PATH=$(dirname "$REMLA"):$PATH bash -c "$command" >said || fail "$command"
says said '^done: step 6 of 6'

# ---- a live run is told, and not disturbed
"$REMLA" train config.yaml train.steps=20000 checkpoint.every=none train.out=live >/dev/null 2>complaints &
job=$!
clean_up+=("kill -9 $job")
wait_for_steps live
check_exit 0 "${inspect[@]}" live
says out '^live: a run, step [0-9]+ of 20000, a job is writing it$' '^  checkpoints +none$'
! grep -q 'goes on' out || fail "a second job is suggested beside a live one"
kill -USR1 $job
got=0
wait $job || got=$?
clean_up=()
[ $got = 85 ] || { cat complaints >&2; fail "the live run ended with $got"; }
check_exit 0 "${inspect[@]}" live
says out '^live: a run, step [0-9]+ of 20000, stopped$' '^  checkpoints +1$' '^  goes on '

# ---- damage: what can be read is told, and the sentence is that of the first damage
# damaged PATTERN SED-ARGUMENTS...: the checkpoint after a change; exit code 3.
damaged() {
    rm -rf bad
    cp -r $checkpoint bad
    (cd bad && eval "$1")
    check_exit 3 "${inspect[@]}" bad
    says out '^bad: a checkpoint, DAMAGED$'
    says err "^remla inspect: bad.*$2"
    check_exit 3 "${inspect[@]}" bad --json
    says out '"whole": false' "\"damage\": \".*$2"
}
damaged 'printf x | dd of=model.safetensors bs=1 seek=60000 conv=notrunc 2>/dev/null' 'model.safetensors: .*XXH3'
damaged 'printf x | dd of=optim-00000.safetensors bs=1 seek=60000 conv=notrunc 2>/dev/null' 'optim-00000.safetensors: .*XXH3'
damaged 'truncate -s -1 optim-00000.safetensors' 'optim-00000.safetensors: '
damaged 'rm model.safetensors' 'model.safetensors'
damaged 'rm optim-00000.safetensors' 'optim-00000.safetensors'
damaged 'rm MANIFEST.json' 'MANIFEST.json: is missing'
damaged 'echo "{" >MANIFEST.json' 'MANIFEST.json'
damaged 'rm state.json' 'state.json'
damaged 'echo {} >state.json' 'state.json'
damaged 'echo x >>config.json' 'config.json'
damaged 'rm config.json' 'config.json'
damaged 'echo x >>options.yaml' 'options.yaml'
damaged 'echo "{}" >env.json' 'env.json'
damaged 'echo >model-00001-of-00002.safetensors' 'model-00001-of-00002.safetensors: does not belong'
rm -rf run/checkpoints/step-00000012
cp -r $checkpoint run/checkpoints/step-00000012
check_exit 3 "${inspect[@]}" run/checkpoints/step-00000012
says err 'is of step 8, but its folder is called step-00000012'
check_exit 0 "${inspect[@]}" run
says out '^  checkpoints +3$' 'step 12 +DAMAGED: state.json: is of step 8' 'step 8 .*the newest'
rm -r run/checkpoints/step-00000012

# ---- a run of which nothing is whole
cp -r run ruined
for state in ruined/checkpoints/*/state.json; do echo >>$state; done
check_exit 3 "${inspect[@]}" ruined
says err '^remla inspect: ruined: none of its 2 checkpoints is whole; the newest: ruined/checkpoints/step-00000008/state.json'
says err 'to begin anew, move ruined/checkpoints elsewhere$'
says out '^ruined: a run, step 8 of 8, stopped$'
! grep -qE '^  (begins anew|goes on)' out || fail "a start would refuse: $(cat out)"

# ---- why the last process ended
cp -r part refused
rm -r refused/checkpoints/step-00000006
check_exit 3 "$REMLA" train config.yaml train.steps=6 train.out=refused data.train="$golden/val.ds"
check_exit 0 "${inspect[@]}" refused
says out '^  ended +refused/checkpoints/step-0000000[0-9] was trained on other data'
check_exit 0 "${inspect[@]}" refused --json
says out '"ended": "refused/checkpoints/step-0000000[0-9] was trained'
check_exit 0 "$REMLA" train config.yaml train.steps=6 train.out=refused
check_exit 0 "${inspect[@]}" refused --json
says out '"ended": null'

# ---- a folder without anything of a checkpoint is in no start's way
mkdir -p void/checkpoints/step-00000003
cp run/config.yaml void
check_exit 0 "${inspect[@]}" void
says out '^    step 3 +DAMAGED: MANIFEST.json: is missing' '^  begins anew +remla train void/config.yaml'

# ---- a run whose options cannot be read
cp -r part unread
rm -r unread/checkpoints/step-00000006
echo '{' >unread/config.yaml
check_exit 0 "${inspect[@]}" unread
says out '^  config +cannot be read: unread/config.yaml'
! grep -qE '^  (begins anew|goes on)' out || fail "a start would refuse: $(cat out)"

# ---- an old run and checkpoint: without env.json, events and fingerprints
cp -r run old
rm -r old/env.json old/checkpoints/step-00000006
sed -i '/"event"/d' old/metrics.jsonl
check_exit 0 "${inspect[@]}" old
says out '^old: a run, step 8 of 8, done$'
! grep -q starts out || fail "starts of a run without events"

# ---- what is no such folder
check_exit 3 "${inspect[@]}" runn
says err '^remla inspect: runn: there is no such folder; did you mean run\?$'
check_exit 3 "${inspect[@]}" run/checkpoints/step-00000007
says err 'did you mean run/checkpoints/step-0000000[68]\?'
check_exit 3 "${inspect[@]}" run/checkpoints
says err '^remla inspect: run/checkpoints: holds checkpoints: name one of them, or the run'
check_exit 3 "${inspect[@]}" run/metrics.jsonl
says err 'run/metrics.jsonl: is a file, expected a folder'
mkdir empty
check_exit 3 "${inspect[@]}" empty
says err '^remla inspect: empty: is no model folder .*no checkpoint .*no run'
check_exit 3 "${inspect[@]}" "$(printf 'a%.0s' {1..1020})"
says err 'path is too long'
check_exit 0 "${inspect[@]}" "$golden/gqa"
says out "^$golden/gqa: GQA, 4 heads of 8"
