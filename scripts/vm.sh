#!/usr/bin/env bash
# Runs the container tests on a kernel with cgroup v2 and all its controllers, in a virtual machine without hardware support.
# usage: vm.sh [filter of tests...]
# Debian's cloud kernel (older than the machines we develop on: what newer kernels have is missing there) starts on an archive with a
# busybox, the test programs, and the libraries and programs of this machine that they need. The tests that need such a kernel are
# marked as ignored elsewhere. What the guest writes to its serial line is shown; the exit code is that of the tests.
# Nothing is installed but the emulator and two small tools; the kernel stays in target/vm.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
work=$target/vm
patience=${TRIMARAN_VM_SECONDS:-600}
mkdir -p "$work"

say() { echo "vm: $*" >&2; }

[[ $(uname -m) == x86_64 ]] || { say "only for x86_64"; exit 1; }
if [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null; then
    missing=()
    for p in qemu-system-x86 cpio kmod busybox-static uidmap util-linux iproute2; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null) == installed ]] || missing+=("$p")
    done
    if ((${#missing[@]})); then
        say "installing ${missing[*]}"
        export DEBIAN_FRONTEND=noninteractive
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null 2>&1 ||
            { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; }
    fi
fi
for tool in qemu-system-x86_64 cpio depmod busybox; do
    command -v $tool >/dev/null || { say "$tool is missing"; exit 1; }
done

# The kernel: unpacked, never installed.
if ! ls "$work"/kernel/boot/vmlinuz-* >/dev/null 2>&1; then
    say "fetching the kernel"
    rm -rf "$work/kernel" "$work/download"
    mkdir -p "$work/download"
    package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: *\(linux-image-[0-9].*\)/\1/p' | head -1)
    [[ -n $package ]] || { say "apt knows no linux-image-cloud-amd64"; exit 1; }
    (cd "$work/download" && apt-get download -qq "$package" 2>/dev/null)
    dpkg-deb -x "$work"/download/*.deb "$work/kernel"
    rm -rf "$work/download"
fi
kernel=$(ls "$work"/kernel/boot/vmlinuz-*)
version=${kernel##*/vmlinuz-}
depmod -b "$work/kernel" "$version"

say "building the tests"
programs=$(cargo test --locked -p libcontainer --lib --test it --examples --no-run --message-format=json |
    python3 -c '
import json, sys
for line in sys.stdin:
    one = json.loads(line)
    if one.get("executable") and one["target"]["name"] in ("it", "libcontainer", "unshare"):
        place = "examples" if one["target"]["kind"] == ["example"] else "deps"
        print(place + "/" + one["target"]["name"], one["executable"])')

# The archive.
root=$work/root
rm -rf "$root"
mkdir -p "$root"/{bin,dev,etc,lib/modules,proc,sys,tmp,run,root,tests,newroot,usr/bin,var}
ln -s ../bin "$root/usr/sbin"
ln -s bin "$root/sbin"

# A program or library with what it is linked to, each under its own path.
copy() {
    local file
    for file in "$1" $(ldd "$1" 2>/dev/null | grep -o '/[^ ]*' || true); do
        [[ -e $root$file ]] && continue
        mkdir -p "$root$(dirname "$file")"
        cp -L "$file" "$root$file"
    done
}
cp "$(command -v busybox)" "$root/bin/busybox"
for tool in $("$root/bin/busybox" --list); do
    [[ -e $root/bin/$tool ]] || ln -s /bin/busybox "$root/bin/$tool"
done
# Where busybox's own lacks what the tests ask for.
for tool in unshare setpriv newuidmap newgidmap mount umount ip ps; do
    path=$(command -v $tool || true)
    [[ -n $path ]] || continue
    rm -f "$root/bin/$tool"
    copy "$(realpath "$path")"
    [[ $(realpath "$path") == /bin/$tool ]] || { mkdir -p "$root/bin"; ln -sf "$(realpath "$path")" "$root/bin/$tool"; }
done
chmod u+s "$root/usr/bin/newuidmap" "$root/usr/bin/newgidmap" 2>/dev/null || true
mkdir -p "$root/tests/deps" "$root/tests/examples"
while read -r place program; do
    copy "$program"
    strip -g -o "$root/tests/$place" "$program"
    rm -f "$root$program"
done <<<"$programs"
for module in overlay veth tun fuse virtio_pci virtio_blk loop bfq; do
    modprobe -d "$work/kernel" -S "$version" --show-depends "$module" 2>/dev/null |
        sed -n 's/^insmod \([^ ]*\).*/\1/p'
done | awk '!seen[$0]++' | while read -r file; do
    cp "$file" "$root/lib/modules/"
    echo "${file##*/}"
done >"$root/lib/modules/order"
cat >"$root/etc/passwd" <<'END'
root:x:0:0:root:/root:/bin/sh
trimaran-sub:x:990:990::/nonexistent:/bin/sh
trimaran-nosub:x:991:991::/nonexistent:/bin/sh
END
printf 'root:x:0:\ntrimaran-sub:x:990:\ntrimaran-nosub:x:991:\n' >"$root/etc/group"
printf 'trimaran-sub:700000:65536\n' | tee "$root/etc/subuid" >"$root/etc/subgid"
printf '%q ' "$@" >"$root/tests/filter"

# The first program of the guest. Containers cannot be started from the archive's own root, which cannot be pivoted from.
cat >"$root/init" <<'END'
#!/bin/busybox sh
export PATH=/bin:/usr/bin
if [ ! -e /second ]; then
    mount -t tmpfs -o mode=755 tmpfs /newroot
    for one in bin etc lib lib64 root sbin tests usr init home work tmp; do [ -e "/$one" ] && cp -a "/$one" /newroot/; done
    mkdir -p /newroot/proc /newroot/sys /newroot/dev /newroot/tmp /newroot/run /newroot/var
    touch /newroot/second
    exec switch_root /newroot /init
fi
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts -o ptmxmode=666 devpts /dev/pts
mount -t tmpfs tmpfs /run
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs tmpfs /dev/shm
mount -t cgroup2 -o nsdelegate cgroup2 /sys/fs/cgroup
while read -r module; do insmod "/lib/modules/$module" || echo "no module $module"; done </lib/modules/order
ip link set lo up
ulimit -n 4096
echo "vm: $(uname -r), controllers $(cat /sys/fs/cgroup/cgroup.controllers)"
# As with systemd, nothing runs in the root cgroup but the kernel.
mkdir /sys/fs/cgroup/init
echo $$ >/sys/fs/cgroup/init/cgroup.procs
export TRIMARAN_SKIP_LOG=/tmp/skips TRIMARAN_VM=1 RUST_BACKTRACE=0 HOME=/root
cd /tests
eval "set -- $(cat /tests/filter)"
code=0
# Of the unit tests those that ask the kernel.
[ $# -gt 0 ] || /tests/deps/libcontainer rootfs:: 2>&1 || code=$?
/tests/deps/it --include-ignored --test-threads 4 "$@" 2>&1 || code=$?
[ -e /tmp/skips ] && { echo "vm: skipped"; sort /tmp/skips; }
echo "vm: the tests ended with $code"
poweroff -f
END
chmod +x "$root/init"
(cd "$root" && find . -print0 | cpio --null -o -H newc --quiet) >"$work/archive"
truncate -s 64M "$work/disk"

say "starting $version"
log=$work/console
: >"$log"
timeout --foreground -k 5 "$patience" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 2048 -nodefaults -no-reboot -nographic \
    -serial stdio -kernel "$kernel" -initrd "$work/archive" \
    -drive "file=$work/disk,format=raw,if=none,id=disk" -device virtio-blk-pci,drive=disk \
    -append "console=ttyS0 quiet panic=-1 oops=panic apparmor=0 cgroup_no_v1=all" </dev/null | tee "$log" | tr -d '\r' || true
code=$(tr -d '\r' <"$log" | sed -n 's/^vm: the tests ended with \([0-9]*\)$/\1/p' | tail -1)
if [[ -z $code ]]; then
    say "the guest ended, or its $patience seconds did, before the tests"
    exit 1
fi
exit "$code"
