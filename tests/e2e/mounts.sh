# shellcheck shell=bash
# Sourced, before common.sh, by scripts that mount small disks.

# in_mounts SCRIPT ARGUMENTS...: runs the script again in a namespace for mounts of its own, which end with it; skips where that is not allowed.
in_mounts() {
    local namespace=-m
    [ -z "${REMLA_IN_NAMESPACE:-}" ] || return 0
    [ "$(id -u)" = 0 ] || namespace=-rm
    if ! unshare $namespace mount -t tmpfs -o size=64k none /mnt 2>/dev/null; then
        echo "skipped: no right to mount a small disk"
        exit 77
    fi
    REMLA_IN_NAMESPACE=1 exec unshare $namespace bash "$@"
}
