#!/usr/bin/env bash
# The disk is full in the middle of a checkpoint: one sentence, the earlier checkpoints are untouched, nothing is left half-written, and
# with more room the same command goes on. The small disk is a tmpfs in a mount namespace of our own.
namespace=-m
[ "$(id -u)" = 0 ] || namespace=-rm
if [ -z "${REMLA_IN_NAMESPACE:-}" ]; then
    if ! unshare $namespace mount -t tmpfs -o size=64k none /mnt 2>/dev/null; then
        echo "skipped: no right to mount a small disk"
        exit 77
    fi
    REMLA_IN_NAMESPACE=1 exec unshare $namespace bash "$0"
fi
. "$(dirname "$0")/common.sh"
write_config config.yaml "$golden/mla"
command=("$REMLA" train config.yaml train.steps=8 checkpoint.every=2 checkpoint.keep=9)

check_exit 0 "${command[@]}" train.out=whole
checkpoint=$(($(du -sk --apparent-size whole/checkpoints/step-00000002 | cut -f1) + 8))
mkdir disk

# Room for two checkpoints and 1/4 or 3/4 of the third: full in its weights, full in its moments.
for quarters in 1 3; do
    mount -t tmpfs -o size=$((checkpoint * 2 + checkpoint * quarters / 4))k none disk
    check_exit 3 "${command[@]}" train.out=disk/run
    [ "$(wc -l <err)" = 1 ] && grep -q '^remla train: disk/run/checkpoints/.remla-tmp-step-00000006/.*No space left on device' err || { cat err >&2; fail "not one sentence that names the place"; }
    [ "$(ls -A disk/run/checkpoints | tr '\n' ' ')" = "step-00000002 step-00000004 " ] || fail "left over: $(ls disk/run/checkpoints)"
    check_same_files "beside a full disk" whole/checkpoints/step-00000004 disk/run/checkpoints/step-00000004
    mount -o remount,size=4m disk
    check_exit 0 "${command[@]}" train.out=disk/run
    [ ! -s err ] || { cat err >&2; fail "with room again: something is on standard error"; }
    check_same_files "with room again" whole/checkpoints/step-00000008 disk/run/checkpoints/step-00000008
    cmp <(curve whole) <(curve disk/run) >&2 || fail "with room again: the curves differ"
    umount disk
done
