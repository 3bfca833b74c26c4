#!/usr/bin/env bash
# Ends a job of four ranks in many ways, and measures: seconds until no process of it is left, mpirun's exit code, the sentence that names the
# cause. Fails where a process is left after the limit, and where code or sentence are not those expected. Without arguments, what takes a few
# seconds; with arguments, the cases of these names, or "all":
#
#     REMLA=build/cpu/remla REMLA_SOURCE=. FAULTY_READS=build/cpu/tests/e2e/libfaulty_reads.so \
#         FAULTY_FILES=build/cpu/tests/e2e/libfaulty_files.so FAILING_MEMORY=build/cpu/tests/e2e/libfailing_memory.so bash tests/e2e/failures.sh all
#
# With REMLA_FAILURES=show nothing fails: the table is all. Small disk and two hosts are namespaces (hosts.sh), the script runs in such ones.
. "$(dirname "$0")/hosts.sh"
in_namespaces "$0" "$@"
: "${FAULTY_READS:?the library that lets reads hang}" "${FAULTY_FILES:?the library that lets writes hang}" "${FAILING_MEMORY:?the library that lets allocations fail}"
FAULTY_READS=$(realpath "$FAULTY_READS") FAULTY_FILES=$(realpath "$FAULTY_FILES") FAILING_MEMORY=$(realpath "$FAILING_MEMORY")
. "$(dirname "$0")/common.sh"
timeout=${REMLA_FAILURES_TIMEOUT:-5} # parallel.timeout
most=$((4 * timeout + 20))           # seconds after which a job is given up
cp "$golden/train.ds"* .
write_config config.yaml "$golden/mla"
sed -i "s:$golden/train.ds:$work/train.ds:" config.yaml
bad=0

# A rank leaves its id. Rank 2 is the one that some faults are for: FAULT_PRELOAD is for it alone, MISSING keeps it from starting.
cat >rank.sh <<'SH'
#!/usr/bin/env bash
echo $$ >pid-$OMPI_COMM_WORLD_RANK
if [ $OMPI_COMM_WORLD_RANK = 2 ]; then
    [ -z "${MISSING:-}" ] || exec sleep 1000
    [ -z "${FAULT_PRELOAD:-}" ] || export LD_PRELOAD=$FAULT_PRELOAD
fi
exec "$@"
SH
chmod +x rank.sh

# start CASE [OPTION...]: a job of four ranks, and its third step; $launch is four or host_ranks.
four() { ASAN_OPTIONS=detect_leaks=0 mpirun --oversubscribe --bind-to none -n "$@"; } # as ranks, with mpirun's own words
launch=four
start() {
    name=$1
    rm -f pid-[0-9]
    JOB_OF_FAILURES=$name $launch 4 ./rank.sh "$REMLA" train config.yaml train.micro_batch=1 train.steps=1000000 parallel.timeout="$timeout" train.out="$name" "${@:2}" >out 2>err &
    job=$!
    if [ "$name" = missing ] || [ "$name" = memory ]; then wait_for [ -s pid-2 ]; else wait_for_steps "$name"; fi
}
pid() { cat "pid-$1"; }
launcher() { pgrep -x mpirun; }
left() { grep -lsz "^JOB_OF_FAILURES=$name\$" /proc/[0-9]*/environ | cut -d/ -f3; }

# ended WHAT CODE SENTENCE: waits, and prints the row.
ended() {
    local from=$EPOCHREALTIME code=0 seconds sentence verdict=ok
    while [ -n "$(left)" ] && [ "$(echo "$EPOCHREALTIME $from" | awk '{ print ($1 - $2 < '$most') }')" = 1 ]; do sleep 0.05; done
    seconds=$(echo "$EPOCHREALTIME $from" | awk '{ printf "%.1f", $1 - $2 }')
    if [ -n "$(left)" ]; then
        verdict="left: $(for p in $(left); do cat "/proc/$p/comm"; done | sort | uniq -c | awk '{ print $1, $2 }' | paste -sd,)"
        # shellcheck disable=SC2046
        kill -9 $(left) 2>/dev/null || true
    fi
    { wait "$job" || code=$?; } 2>/dev/null
    sentence=$(grep '^remla\|^mpirun noticed' err | grep -v '^remla: signal' | head -n 1 || true)
    if [ "$verdict" = ok ] && ! [[ $code =~ ^($2)$ ]]; then verdict="not $2"; fi
    if [ "$verdict" = ok ] && [ -n "$3" ] && ! grep -q "^\(remla\|mpirun\).*$3" err; then verdict="no /$3/"; fi
    printf '| %s | %s | %s | %s | %s |\n' "$1" "$seconds" "$code" "${sentence:--}" "$verdict"
    [ "$verdict" = ok ] || bad=1
    [ "$verdict" = ok ] || [ -z "${REMLA_FAILURES_ERR:-}" ] || { echo "--- $name" && cat err; } >>"$REMLA_FAILURES_ERR"
    rm -rf "${work:?}/$name"
}

case_kill() { start kill; kill -9 "$(pid 2)"; ended "kill -9 of a rank" 137 'rank 2 '; }
case_segv() { start segv; kill -SEGV "$(pid 2)"; ended "a rank crashes (SIGSEGV)" 139 'rank 2 '; }
case_abort() { start abort; kill -ABRT "$(pid 2)"; ended "a rank aborts (SIGABRT)" 134 'rank 2 '; }
case_launcher() { start launcher; kill -9 "$(launcher)"; ended "kill -9 of mpirun" 137 ''; }
case_stop() { start stop; kill -STOP "$(pid 2)"; ended "SIGSTOP of a rank" 4 'rank 2 '; }
case_stop0() {
    local tries
    start stop0 checkpoint.every=1
    for ((tries = 0; tries < 2000; tries++)); do # until it happens to be in a checkpoint
        kill -STOP "$(pid 0)"
        ! compgen -G "stop0/checkpoints/.remla-tmp-*" >/dev/null || break
        kill -CONT "$(pid 0)"
        sleep 0.01
    done
    compgen -G "stop0/checkpoints/.remla-tmp-*" >/dev/null || fail "rank 0 is never in a checkpoint"
    ended "SIGSTOP of rank 0 in a checkpoint" 4 'rank 0 '
}
case_term() { start term; kill -TERM "$(launcher)"; ended "SIGTERM of mpirun" 1 ''; }
case_usr1() { start usr1; kill -USR1 "$(launcher)"; ended "SIGUSR1 of mpirun" 85 'stopped by signal 10'; }
case_hang() { FAULT_FILE=$work/fault FAULT_PRELOAD=$FAULTY_READS start hang; : >fault; ended "a disk that hangs under one rank" 4 'rank 2.*samples'; rm fault; }
# Training goes on beside it, with a warning, until it has to end.
case_stuck() {
    FAULT_PRELOAD=$FAULTY_FILES FAULT_UNDER=$work/stuck FAULT_CALLS=fsync FAULT_DO=slow FAULT_AT=1 FAULT_MS=1000000 start stuck checkpoint.every=10
    wait_for grep -q 'warning: the checkpoint of step 10: the disk under rank 2 on .* has not answered' err
    before=$(curve stuck | wc -l)
    sleep 1
    [ "$(curve stuck | wc -l)" -gt "$before" ] || fail "a disk that hangs under a checkpoint: training does not go on"
    kill -USR1 "$(launcher)"
    ended "a disk that hangs under a checkpoint" 86 'rank 2 .*, step [0-9]*, checkpoint: the disk has not answered'
}
case_error() { FAULT_FILE=$work/fault FAULT_PRELOAD=$FAULTY_READS start error; echo EIO >fault; ended "a disk that fails under one rank" 6 'Input/output error'; rm fault; }
case_disk() {
    mkdir -p disk
    mount -t tmpfs -o size=100k none disk
    ln -s "$work/disk" full
    start full checkpoint.every=100 train.steps=400
    ended "full disk (rank 0 writes)" 86 'No space left on device'
    umount disk
}
case_memory() {
    FAIL_IN=$REMLA FAIL_COUNT=$work/counted FAULT_PRELOAD=$FAILING_MEMORY start memory train.steps=3
    wait "$job" || { cat err >&2; fail "the job that counts allocations"; }
    rm -rf memory pid-2
    FAIL_IN=$REMLA FAIL_AT=$(($(cat counted) * 9 / 10)) FAULT_PRELOAD=$FAILING_MEMORY start memory
    ended "no memory in one rank" 4 'rank 2.*no memory for'
}
# The parent is no launcher: nobody waits to end it.
case_script() {
    name=script
    rm -f err
    JOB_OF_FAILURES=$name OMPI_COMM_WORLD_SIZE=1 FAIL_IN=$REMLA FAIL_AT=40 LD_PRELOAD=$FAILING_MEMORY "$REMLA" train config.yaml train.out="$name" >out 2>err &
    job=$!
    wait_for [ -s err ]
    ended "no memory, in a script with a launcher's variables" 4 'no memory for'
}
case_missing() {
    MISSING=1 REMLA_START_TIMEOUT=$timeout start missing
    ended "a rank that does not start" 4 'MPI has not started'
}
two_hosts() { # CASE FUNCTION WHAT CODE SENTENCE
    [ -n "${made:-}" ] || hosts_make
    made=1 launch=host_ranks
    start "$1"
    $2
    ended "${@:3}"
    launch=four
}
# mpirun is ended by a rank of its host, or finds that it cannot reach the other one; it does not always pass on the ranks' exit code then.
case_cut() { two_hosts cut hosts_cut "the network between two hosts is cut" '1|4|137|139' 'silent\|not come' && hosts_mend; }
case_daemon() { two_hosts daemon 'pkill -KILL -x orted' "kill -9 of mpirun's daemon on another host" '.*' ''; }

quick="kill stop memory hang stuck script"
all="error segv abort kill launcher stop stop0 cut daemon disk term usr1 memory hang stuck script missing"
cases=${*:-$quick}
[ "$cases" != all ] || cases=$all
echo "$(date -u +%Y-%m-%d), $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc --all) cores, 4 ranks, parallel.timeout=$timeout, $(mpirun --version | head -n 1 | sed 's/.* //')"
echo "| what happens | seconds until all is gone | exit code of mpirun | the first sentence | |"
echo "| --- | --- | --- | --- | --- |"
for this in $cases; do "case_$this"; done
[ $bad = 0 ] || [ "${REMLA_FAILURES:-}" = show ] || fail "see the last column"
