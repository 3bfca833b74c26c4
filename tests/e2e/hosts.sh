# shellcheck shell=bash
# Sourced, before common.sh, by scripts that run in namespaces of their own (in_namespaces). In the current folder, makes two hosts of this machine for mpirun: network
# namespaces with host names of their own, a and b, and between them a switch, whose plug can be pulled without either noticing at its own end:
#
#     a 10.99.0.1 --- switch (this namespace) --- 10.99.0.2 b
#
# Instead of ssh, mpirun calls agent.sh, which enters the namespace.

# in_namespaces SCRIPT ARGUMENTS...: runs the script again in namespaces for mounts, network and processes, which end with it; skips where that is not allowed.
in_namespaces() {
    local flags=(--mount --net --pid --fork --kill-child --mount-proc)
    if [ -n "${REMLA_IN_NAMESPACES:-}" ]; then
        ip link set lo up # Open MPI wants an interface
        mount -t tmpfs none /mnt
        export TMPDIR=/mnt # of which nothing is left
        return
    fi
    [ "$(id -u)" = 0 ] || flags+=(--map-root-user)
    if ! command -v unshare ip >/dev/null || ! unshare "${flags[@]}" ip link add type veth 2>/dev/null; then
        echo "skipped: no right to make namespaces, or no ip (iproute2)"
        exit 77
    fi
    REMLA_IN_NAMESPACES=1 exec unshare "${flags[@]}" bash "$@"
}

hosts_make() {
    local host n=0
    ip link add switch type bridge
    ip link set switch up
    for host in a b; do
        n=$((n + 1))
        unshare --net --uts bash -c "hostname $host; echo \$\$ >pid-$host; exec sleep infinity" &
        wait_for [ -s pid-$host ]
        ip link add plug-$host type veth peer name eth0 netns "$(cat pid-$host)"
        ip link set plug-$host master switch up
        on_host $host ip link set lo up
        on_host $host ip address add 10.99.0.$n/24 dev eth0
        on_host $host ip link set eth0 up
    done
    for host in a b; do wait_for bash -c "nsenter -t $(cat pid-$host) --net ip -br link show eth0 | grep -q UP"; done
    printf '10.99.0.1 slots=2\n10.99.0.2 slots=2\n' >hosts
    cat >agent.sh <<AGENT
#!/usr/bin/env bash
# agent.sh HOST COMMAND...: as ssh would.
host=\$1
shift
[ "\$host" = 10.99.0.1 ] && host=a || host=b
exec nsenter -t "\$(cat $PWD/pid-\$host)" --net --uts sh -c "\$*"
AGENT
    chmod +x agent.sh
}

on_host() { nsenter -t "$(cat "pid-$1")" --net --uts "${@:2}"; }

# host_ranks N COMMAND...: on both hosts, from host a, by TCP alone.
host_ranks() {
    local n=$1
    shift
    ASAN_OPTIONS=detect_leaks=0 on_host a mpirun --hostfile "$PWD/hosts" --map-by node --bind-to none --mca plm_rsh_agent "$PWD/agent.sh" \
        --mca btl tcp,self --mca btl_tcp_if_include 10.99.0.0/24 --mca oob_tcp_if_include 10.99.0.0/24 -n "$n" "$@"
}

# Messages between the hosts vanish; both ends keep their link.
hosts_cut() { ip link set plug-b nomaster; }
hosts_mend() { ip link set plug-b master switch; }
