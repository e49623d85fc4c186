#!/bin/sh
# Prints a line for every isolation fact, as the process inside the container sees it.
# Shell built-ins only: a root file system with nothing but a shell will do.

fact() { printf '%-16s%s\n' "$1" "$2"; }

# The value of a line "NAME: value" in /proc/self/status.
status() {
    while read -r name value; do
        [ "$name" = "$1:" ] && echo "$value"
    done </proc/self/status
}

# The one line of a file, or nothing where there is none.
line() { [ -r "$1" ] && read -r text <"$1" && echo "$text"; }

root() {
    while read -r _ _ _ _ point options _; do
        [ "$point" = / ] && mode=${options%%,*}
    done </proc/self/mountinfo
    case $mode in ro) echo "read-only, holds:" /* ;; *) echo "writable, holds:" /* ;; esac
}

cgroup() {
    while IFS=: read -r id _ path; do
        [ "$id" = 0 ] && echo "$path"
    done </proc/self/cgroup
}

cpu_limit() {
    set -- $(line /sys/fs/cgroup/cpu.max)
    case $1 in
        '') echo "unknown: no cpu controller here" ;;
        max) echo none ;;
        *) echo "$(($1 * 100 / $2))% of one CPU" ;;
    esac
}

memory_limit() {
    limit=$(line /sys/fs/cgroup/memory.max)
    case $limit in
        '') echo "unknown: no memory controller here" ;;
        max) echo none ;;
        *) echo "$((limit / 1048576)) MiB" ;;
    esac
}

seccomp() {
    case $(status Seccomp) in
        0) echo none ;;
        1) echo strict ;;
        2) echo filter ;;
    esac
}

capabilities() {
    set -- chown dac_override dac_read_search fowner fsetid kill setgid setuid setpcap \
        linux_immutable net_bind_service net_broadcast net_admin net_raw ipc_lock ipc_owner \
        sys_module sys_rawio sys_chroot sys_ptrace sys_pacct sys_admin sys_boot sys_nice \
        sys_resource sys_time sys_tty_config mknod lease audit_write audit_control setfcap \
        mac_override mac_admin syslog wake_alarm block_suspend audit_read perfmon bpf \
        checkpoint_restore
    bits=$((0x$(status CapEff)))
    held=
    for name; do
        [ $((bits & 1)) = 1 ] && held="$held $name"
        bits=$((bits >> 1))
    done
    echo "${held# }"
}

interfaces() {
    set -- /sys/class/net/*
    echo "${@##*/}"
}

fact "process id" $$
fact "host name" "$(line /proc/sys/kernel/hostname)"
fact "root" "$(root)"
fact "cgroup" "$(cgroup)"
fact "CPU limit" "$(cpu_limit)"
fact "memory limit" "$(memory_limit)"
fact "seccomp" "$(seccomp)"
fact "capabilities" "$(capabilities)"
fact "no new privs" "$(status NoNewPrivs)"
fact "network" "$(interfaces)"
