#!/bin/bash
# Runs a step's tests inside of the machine: its first process, or a unit where systemd is that.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8
# On the disk, which can do more than a memory file system of this kernel: trusted attributes, id-mapped mounts.
export TMPDIR=/var/tmp TRIMARAN_SKIP_LOG=/tmp/skips TRIMARAN_VM=1 RUST_BACKTRACE=0

# Without systemd: what it would have prepared.
prepare() {
    mount -t proc proc /proc
    mount -t sysfs sysfs /sys
    mkdir -p /dev/pts /dev/shm
    mount -t devpts -o ptmxmode=666 devpts /dev/pts
    mount -t tmpfs -o mode=755 tmpfs /run
    mount -t tmpfs -o mode=1777 tmpfs /tmp
    mount -t tmpfs tmpfs /dev/shm
    mount -t securityfs securityfs /sys/kernel/security
    mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup
    ip link set lo up
    # Nothing runs in the root cgroup but the kernel.
    mkdir /sys/fs/cgroup/init
    echo $$ >/sys/fs/cgroup/init/cgroup.procs
}

# run PROGRAM ARGUMENT...: one program of tests; what it returns counts.
code=0
run() {
    local started=$SECONDS
    echo "vm: ${1##*/} ${*:2}"
    "$@" 2>&1 || code=$?
    echo "vm: ${1##*/} took $((SECONDS - started)) s"
}

[[ $$ -ne 1 ]] || prepare
ulimit -n 4096
while read -r module; do modprobe "$module" || echo "vm: no module $module"; done </tests/modules
step=$(sed -n 's/.*\<trimaran\.step=\([^ ]*\).*/\1/p' /proc/cmdline)
mapfile -t filter </tests/filter
: >/tmp/skips && chmod 666 /tmp/skips
# CARGO_BIN_EXE_* are paths of the machine that built the tests.
while read -r file path; do mkdir -p "${path%/*}" && ln -sf "$file" "$path"; done </tests/links
echo "vm: $(uname -r), up $(cut -d' ' -f1 /proc/uptime) s, controllers $(cat /sys/fs/cgroup/cgroup.controllers)"
cd /tests || exit
# shellcheck source=/dev/null
. "/tests/steps/$step.sh"
[[ ! -s /tmp/skips ]] || { echo "vm: skipped"; sort /tmp/skips; }
echo "vm: the tests ended with $code after $SECONDS s"
sync
poweroff -f
