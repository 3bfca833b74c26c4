# shellcheck shell=bash
# Sourced by every script of this folder. The scripts call the program as a user would, on the models of tests/golden, and
# need nothing but bash, coreutils and awk. By hand: REMLA=build/cpu/remla REMLA_SOURCE=. bash tests/e2e/resume.sh
set -euo pipefail
: "${REMLA:?the program to test}" "${REMLA_SOURCE:?the root of the sources}"
REMLA=$(realpath "$REMLA")
REMLA_SOURCE=$(realpath "$REMLA_SOURCE")
golden=$REMLA_SOURCE/tests/golden
export OMP_NUM_THREADS=1 OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_btl_vader_single_copy_mechanism=none LC_ALL=C

work=$(mktemp -d "${TMPDIR:-/tmp}/remla-e2e.XXXXXX")
clean_up=()
finish() { # EXIT-CODE COMMAND-THAT-LED-TO-IT
    local step
    for step in "${clean_up[@]}"; do $step || true; done
    rm -rf "$work"
    [ "$1" = 0 ] || [[ $2 == exit* ]] || echo "FAILED: exit code $1: $2" >&2
}
trap 'finish $? "$BASH_COMMAND"' EXIT
cd "$work"

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# check_exit CODE COMMAND...: runs it with its output in the files out and err.
check_exit() {
    local want=$1 got=0
    shift
    "$@" >out 2>err || got=$?
    ! grep FAKECUDA err >&2 || fail "the emulated device complains: $*" # of memory that was not freed
    [ "$got" = "$want" ] && return
    cat out err >&2
    fail "exit code $got instead of $want: $*"
}

# ranks N COMMAND...: under mpirun, without mpirun's own remarks on exit codes. In a sanitizer build Open MPI's leaks are not ours.
ranks() {
    local n=$1
    shift
    ASAN_OPTIONS=detect_leaks=0 mpirun -q --oversubscribe --bind-to none -n "$n" "$@"
}

# write_config FILE MODEL: the run of tests/golden/make_golden.py, less train.steps and train.out.
write_config() {
    cat >"$1" <<YAML
model: { path: $2 }
data: { train: $golden/train.ds, val: $golden/val.ds, document_mask: true }
train: { seq_len: 32, batch_tokens: 256, micro_batch: 2, seed: 7 }
optim: { lr: 0.02, min_lr: 0.002, warmup: 3, schedule: cosine, beta1: 0.9, beta2: 0.95, eps: 1.0e-8, weight_decay: 0.1, clip: 0.7 }
YAML
}

# field NAME: its value in every JSON object of standard input that has it.
field() {
    sed -n "s/.*\"$1\": \\([^,}]*\\).*/\\1/p"
}

# curve RUN: step, loss, gradient norm and rate of every step, as they are written.
curve() {
    sed -n 's/^{"step": \([0-9]*\), "loss": \([^,]*\), "grad_norm": \([^,]*\), "lr": \([^,]*\),.*/\1 \2 \3 \4/p' "$1/metrics.jsonl"
}

# wait_for COMMAND...: until it succeeds, at most half a minute.
wait_for() {
    local wait
    for ((wait = 0; wait < 3000; wait++)); do
        "$@" 2>/dev/null && return
        sleep 0.01
    done
    fail "this never came: $*"
}

# wait_for_steps RUN: until three steps of it are done.
has_steps() { [ "$(curve "$1" | wc -l)" -ge 3 ]; }
wait_for_steps() { wait_for has_steps "$1"; }

# check_close LIMIT WHAT FILE FILE: as many lines of numbers in both, none further apart than LIMIT, relatively. No number is close to NaN.
check_close() {
    paste "$3" "$4" | awk -v limit="$1" -v what="$2" '
        NF % 2 || NF == 0 { print "FAILED: " what ": line " NR ": " $0; bad = 1; exit }
        {
            for (i = 1; i <= NF / 2; i++) {
                a = $i; b = $(i + NF / 2); d = a - b; if (d < 0) d = -d; s = b < 0 ? -b : b
                if (a !~ /^[-+0-9.eE]+$/ || b !~ /^[-+0-9.eE]+$/ || !(d <= limit * s)) { print "FAILED: " what ": line " NR ": " a " and " b; bad = 1; exit }
            }
        }
        END { if (NR == 0) print "FAILED: " what ": nothing to compare"; exit bad || NR == 0 }' >&2 || exit 1
}

# check_same_files WHAT FOLDER FOLDER: checkpoints whose weights and optimizer states have the same bytes. Their runs had as many ranks.
check_same_files() {
    local file
    for file in config.json state.json $(cd "$2" && ls ./*.safetensors) $(cd "$3" && ls ./*.safetensors); do
        cmp "$2/$file" "$3/$file" >&2 || fail "$1: $file differs"
    done
}

# check_same_values WHAT FOLDER FOLDER: checkpoints of one step and the same weights and moments, whatever ranks wrote them.
state_values() { grep -E '"(step|position|tokens|data_fingerprint|weights_fingerprint|masters_fingerprint|moments_fingerprint)"' "$1/state.json"; }
check_same_values() {
    [ "$(state_values "$2" | wc -l)" = 7 ] || fail "$1: $(cat "$2/state.json")"
    cmp <(state_values "$2") <(state_values "$3") >&2 || fail "$1: $(cat "$2/state.json" "$3/state.json")"
}
