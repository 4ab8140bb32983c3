#!/usr/bin/env bash
# Runs container tests in a virtual machine without hardware support: on a kernel with cgroup v2 and all its controllers, under systemd.
# usage: vm.sh [STEP...] [-- filter of tests...]
#
# Every step is one boot of one machine and a script in scripts/vm/steps; without a name all are taken. What is in the machine is listed in
# scripts/vm/contents.sh. Debian's cloud kernel (older than the machines we develop on: what newer kernels have is missing there)
# starts on a small archive (scripts/vm/init.sh), which finds a disk with Debian's packages and unpacks the test programs from another
# one; scripts/vm/guest.sh runs the step. What the guest writes to its serial line is shown; the exit code says whether all tests passed.
# Kernel and disk are made once, in target/vm, which needs root and a package mirror; nothing is installed but the tools for that.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
work=$target/vm
# For one boot with its tests.
patience=${TRIMARAN_VM_SECONDS:-1800}
mkdir -p "$work"
# shellcheck source=scripts/vm/contents.sh
. scripts/vm/contents.sh

say() { echo "vm: $*" >&2; }

steps=()
while (($#)) && [[ $1 != -- ]]; do
    [[ -f scripts/vm/steps/$1.sh ]] || { say "no step $1; there are: $(cd scripts/vm/steps && echo * | sed 's/\.sh\>//g')"; exit 2; }
    steps+=("$1")
    shift
done
(($# == 0)) || shift
((${#steps[@]})) || mapfile -t steps < <(basename -s .sh scripts/vm/steps/*.sh)

[[ $(uname -m) == x86_64 ]] || { say "only for x86_64"; exit 1; }
if [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null; then
    missing=()
    for p in qemu-system-x86 cpio kmod busybox-static mmdebstrap e2fsprogs; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null) == installed ]] || missing+=("$p")
    done
    if ((${#missing[@]})); then
        say "installing ${missing[*]}"
        export DEBIAN_FRONTEND=noninteractive
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null 2>&1 ||
            { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; }
    fi
fi
for tool in qemu-system-x86_64 cpio depmod busybox mmdebstrap mkfs.ext4; do
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
    depmod -b "$work/kernel" "$(basename "$work"/kernel/lib/modules/*)"
fi
kernel=$(ls "$work"/kernel/boot/vmlinuz-*)
version=${kernel##*/vmlinuz-}

# The disk: the packages and the kernel's modules. Another list makes another one.
suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
disk=$work/disk-$(echo "$suite $version ${packages[*]}" | sha256sum | cut -c1-16)
if [[ ! -f $disk ]]; then
    [[ $EUID -eq 0 ]] || { say "the machine's disk is made by root"; exit 1; }
    say "making a disk of $suite with ${packages[*]}"
    rm -rf "$work"/disk*
    tree=$work/disk.tree
    mmdebstrap --quiet --variant=minbase --dpkgopt=force-unsafe-io --include="$(IFS=,; echo "${packages[*]}")" "$suite" "$tree"
    cp -a "$work/kernel/lib/modules" "$tree/lib/"
    truncate -s 4G "$disk.new"
    mkfs.ext4 -q -E lazy_itable_init=1 -O ^has_journal -d "$tree" "$disk.new"
    mv "$disk.new" "$disk"
    rm -rf "$tree"
fi

say "building the tests"
tests=$work/tests
rm -rf "$tests"
mkdir -p "$tests"
cp -r scripts/vm/steps scripts/vm/prepare.sh scripts/vm/guest.sh "$tests/"
printf '%s\n' "${modules[@]}" >"$tests/modules"
(($# == 0)) || printf '%s\n' "$@" >"$tests/filter"
touch "$tests/filter" "$tests/links"
for one in "${programs[@]}"; do
    # shellcheck disable=SC2086
    cargo $one --locked --message-format=json | python3 -c '
import json, sys
for line in sys.stdin:
    one = json.loads(line)
    if not one.get("executable"):
        continue
    target, package = one["target"], one["manifest_path"].split("/")[-2]
    example = target["kind"] == ["example"]
    link = target["kind"] == ["bin"] and not one["profile"]["test"]
    print(package, "examples" if example else "deps", target["name"], one["executable"], "link" if link else "")'
done | while read -r package place name file link; do
    mkdir -p "$tests/$package/$place"
    strip -g -o "$tests/$package/$place/$name" "$file"
    [[ -z $link ]] || echo "/tests/$package/deps/$name $file" >>"$tests/links"
done
tar -C "$tests" -cf "$work/tests.tar" .

# The archive that finds the disk.
archive=$work/archive
rm -rf "$archive.tree"
mkdir -p "$archive.tree"/{bin,dev,disk,modules,proc,sys}
cp "$(command -v busybox)" "$archive.tree/bin/busybox"
for tool in $("$archive.tree/bin/busybox" --list); do ln -s busybox "$archive.tree/bin/$tool" 2>/dev/null || true; done
install -m 755 scripts/vm/init.sh "$archive.tree/init"
for module in virtio_pci virtio_blk; do
    modprobe -d "$work/kernel" -S "$version" --show-depends "$module" | sed -n 's/^insmod \([^ ]*\).*/\1/p'
done | awk '!seen[$0]++' | while read -r file; do
    cp "$file" "$archive.tree/modules/"
    echo "${file##*/}"
done >"$archive.tree/modules/order"
(cd "$archive.tree" && find . -print0 | cpio --null -o -H newc --quiet) >"$archive"
# One that tests limit the use of.
truncate -s 64M "$work/scratch"

# Boots the machine for a step, and returns what its tests did.
boot() {
    local step=$1 log=$work/console.$1 code mode
    mode=$(sed -n 's/^# boot: //p' "scripts/vm/steps/$step.sh")
    say "starting $version for $step ($mode)"
    timeout --foreground -k 5 "$patience" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 2048 -nodefaults -no-reboot -nographic \
        -serial stdio -kernel "$kernel" -initrd "$archive" \
        -drive "file=$work/scratch,format=raw,if=virtio,snapshot=on" \
        -drive "file=$disk,format=raw,if=virtio,snapshot=on" \
        -drive "file=$work/tests.tar,format=raw,if=virtio,snapshot=on" \
        -append "console=ttyS0 quiet panic=-1 oops=panic cgroup_no_v1=all no_timer_check trimaran.boot=$mode trimaran.step=$step" \
        </dev/null | tee "$log" | tr -d '\r' || true
    code=$(tr -d '\r' <"$log" | sed -n 's/^.*vm: the tests ended with \([0-9]*\) .*$/\1/p' | tail -1)
    [[ -n $code ]] || { say "$step: the guest ended, or its $patience seconds did, before the tests"; return 1; }
    return "$code"
}

failed=()
for step in "${steps[@]}"; do
    boot "$step" || failed+=("$step")
done
((${#failed[@]} == 0)) || { say "failed: ${failed[*]}"; exit 1; }
say "all passed: ${steps[*]}"
