#!/usr/bin/env bash
# Tries train.sbatch on a cluster of one machine: makes slurmctld, slurmd and munged in namespaces of their own (processes, network, mounts) and
# in a temporary file system of these, so that nothing of them is left and no running Slurm is touched; submits a run of the tiny golden model on two
# tasks; lets the time limit's signal come; sees exit code 85, the job queued again, the checkpoint read, the end; then kills a rank. As root:
#
#     REMLA=build/cpu/remla scripts/slurm/try_cluster.sh
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
REMLA=$(realpath "${REMLA:-$root/build/cpu/remla}")
say() { printf '==> %s\n' "$*"; }
fail() {
    printf 'FAILED: %s\n' "$*" >&2
    exit 1
}
skip() {
    echo "skipped: $*"
    exit 77
}

if [ "${1:-}" != inside ]; then
    [ -x "$REMLA" ] || fail "no program at $REMLA: build it, or name it with REMLA"
    [ "$(id -u)" = 0 ] || skip "slurmd wants root"
    for program in slurmctld slurmd munged srun; do
        command -v $program >/dev/null || skip "$program is missing: apt-get install --no-install-recommends slurmctld slurmd slurm-client slurm-wlm-basic-plugins munge"
    done
    namespaces=(unshare --mount --net --pid --fork --kill-child --mount-proc)
    "${namespaces[@]}" true 2>/dev/null || skip "no right to make namespaces"
    REMLA=$REMLA exec "${namespaces[@]}" bash "${BASH_SOURCE[0]}" inside
fi

# ---- inside the namespaces ----
folder=/mnt
mount -t tmpfs none $folder
cd $folder
show_logs() {
    local file
    for file in slurmctld.log slurmd.log munged.log train.log; do
        [ ! -s $file ] || { echo "--- the end of $file"; tail -n 15 $file; }
    done >&2
}
trap '[ $? = 0 ] || show_logs' EXIT
ip link set lo up
ip address add 192.0.2.1/32 dev lo # slurmctld wants an address that is not 127.0.0.1
chmod 755 . # munged wants its socket reachable
mkdir -p state spool

say "munged, slurmctld and slurmd in $folder"
head -c 128 /dev/urandom >munge.key
chmod 400 munge.key
munged --force --key-file=munge.key --socket="$folder/munge.socket" --pid-file="$folder/munge.pid" --log-file="$folder/munged.log" --seed-file="$folder/munge.seed" 2>munged.start
host=$(hostname -s)
cat >slurm.conf <<CONF
ClusterName=remla
SlurmctldHost=$host(192.0.2.1)
AuthInfo=socket=$folder/munge.socket,cred_expire=5
SlurmUser=root
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=1,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
KillWait=10
OverTimeLimit=0
NodeName=$host NodeAddr=192.0.2.1 CPUs=$(nproc) State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES OverSubscribe=FORCE:4 MaxTime=INFINITE State=UP
CONF
echo 'CgroupMountpoint=/sys/fs/cgroup' >cgroup.conf
export SLURM_CONF=$folder/slurm.conf
slurmctld
slurmd
wait_for() { # SECONDS COMMAND...
    local i
    for ((i = 0; i < $1 * 10; i++)); do
        "${@:2}" && return
        sleep 0.1
    done
    return 1
}
up() { sinfo -h -o %t 2>/dev/null | grep -q '^idle\|^mix'; }
wait_for 30 up || fail "the node never came up"
say "$(slurmctld -V), node $(sinfo -h -o '%n: %t, %c CPUs'); MPI of srun: $(srun --mpi=list 2>&1 | tr -s '\n\t ' ' ')"

# ---- a run whose time limit comes ----
cat >config.yaml <<YAML
model: { path: $root/tests/golden/mla }
data: { train: $root/tests/golden/train.ds }
train: { seq_len: 32, batch_tokens: 256, micro_batch: 2, seed: 7, steps: 1000000, out: $folder/run }
optim: { lr: 0.001, schedule: constant, warmup: 0 }
checkpoint: { every: 0, keep: 9 }
YAML
submit() { # OPTION-OF-SBATCH... : two tasks on this machine's cores
    REMLA=$REMLA sbatch --parsable --ntasks-per-node=2 --cpus-per-task=1 --gpus-per-node=0 --output="$folder/train.log" "$@" "$root/scripts/slurm/train.sbatch" config.yaml
}
log_has() { grep -q "$1" train.log 2>/dev/null; }
steps_done() { sed -n 's/^{"step": \([0-9]*\), "loss.*/\1/p' run/metrics.jsonl 2>/dev/null | tail -n 1; }
running() { [ "$(steps_done)" -gt "${1:-3}" ] 2>/dev/null; }
state() { squeue -h -j "$job" -t all -o '%T, %r'; }
gone() { ! pgrep -f "$REMLA" >/dev/null; }

say "a job of two tasks, --time=2 --signal=USR1@110 (Slurm looks every half minute)"
job=$(submit --time=2 --signal=USR1@110)
wait_for 30 running || fail "job $job does not train: $(state)"
echo "    job $job: $(state), step $(steps_done)"
wait_for 90 log_has '^train.sbatch: ' || fail "no signal came"
grep '^remla: signal\|^remla train: stopped\|^train.sbatch\|^srun' train.log | sed 's/^/    /'
log_has 'stopped by a signal, checkpoint written: job .* is queued again' || fail "not exit code 85"
stopped=$(steps_done)
[ -d "run/checkpoints/step-$(printf %08d "$stopped")" ] || fail "no checkpoint of step $stopped"
sed -i "s/steps: 1000000/steps: $((stopped + 50))/" config.yaml

say "the job again: resumed at step $stopped, 50 more"
wait_for 60 log_has '^train.sbatch: ends' || fail "the job did not come back: $(state)"
grep "^resumed from\|^done\|^train.sbatch: ends" train.log | sed 's/^/    /'
log_has "^resumed from .*: step $stopped," || fail "not resumed"
log_has '^train.sbatch: ends with exit code 0 after 1 restarts' || fail "not the end"
mv run two
say "the same without a stop, under srun"
srun --mpi=pmix -n 2 "$REMLA" train config.yaml train.out="$folder/run" >straight.log 2>&1 || { cat straight.log >&2; fail "the straight run"; }
last=checkpoints/step-$(printf %08d $((stopped + 50)))
for file in two/"$last"/*.safetensors; do
    cmp "$file" "run/$last/${file##*/}" || fail "the weights or moments differ"
done
echo "    weights and moments have the same bytes"
rm -rf run two train.log

# ---- a rank that is killed ----
say "a rank is killed: kill -9"
sed -i "s/steps: [0-9]*/steps: 1000000/" config.yaml
job=$(submit --time=5)
wait_for 30 running || fail "job $job does not train: $(state)"
from=$(date +%s%N)
kill -9 "$(pgrep -f "^$REMLA" | tail -n 1)"
wait_for 60 gone || fail "ranks are left"
echo "    every rank is gone after $((($(date +%s%N) - from) / 1000000)) ms"
wait_for 60 log_has '^train.sbatch: ' || fail "train.sbatch does not end"
grep '^train.sbatch\|^srun' train.log | sed 's/^/    /'
log_has 'a fault of the machine: job .* is queued again' || fail "not queued again"

# ---- a job that somebody cancels ----
say "the job again; scancel"
rm train.log
wait_for 60 running || fail "job $job does not come back: $(state)"
wait_for 60 log_has '^step 1[0-9][0-9]/' || fail "job $job does not train: $(state)"
scancel "$job"
wait_for 30 log_has '^train.sbatch: ' || fail "train.sbatch does not end"
grep '^remla: signal\|^remla train: stopped\|^train.sbatch\|^srun' train.log | sed 's/^/    /'
sleep 7 # a job that is queued again waits for five seconds
[ -z "$(squeue -h)" ] || fail "queued again: $(squeue -h)"
gone || fail "ranks are left"

# ---- launchers that do not fit ----
for type in none pmi2; do
    code=0
    timeout 60 srun --mpi=$type --kill-on-bad-exit=1 -n 2 "$REMLA" train config.yaml train.out="$folder/alone" train.stop_after=1 >other.log 2>&1 || code=$?
    say "srun --mpi=$type: exit code $code"
    { grep -i '^remla\|PMI' other.log || true; } | head -n 3 | cut -c1-200 | sed 's/^/    /'
    [ $code != 0 ] || fail "accepted: two programs that both believe to be alone"
done
say "all as expected"
