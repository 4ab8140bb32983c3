#!/usr/bin/env bash
# The main job, on this machine, with no registry account: a real root file system, a scripted build on it, a run of the
# result, a copy between two real registries, and the digest unchanged at the end. Prints each command as you would type
# it, and how long it took. As root it runs as root; as an ordinary user it runs rootless. Cleans up after itself.
set -euo pipefail
cd "$(dirname "$0")/.."

bold() { if [[ -t 1 ]]; then printf '\033[1m%s\033[0m\n' "$*"; else printf '%s\n' "$*"; fi; }
now() { date +%s%N; }
names=() times=()

# Shows a command, runs it, notes how long it took. Its standard output stays on ours.
step() {
    local name=$1 begin end
    shift
    bold "\$ $(shown "$@")" >&2
    begin=$(now)
    "$@"
    end=$(now)
    names+=("$name") times+=($(((end - begin) / 1000000)))
}

# As typed: words quoted only where a shell needs it.
shown() {
    local out= word
    for word in "$@"; do
        case $word in
        "" | *[!A-Za-z0-9_./:=@%+,-]*) word="'${word//\'/\'\\\'\'}'" ;;
        esac
        out+="$word "
    done
    printf '%s' "${out% }"
}

# The same for a command whose output the script keeps: var=$(command).
keep() {
    local variable=$1 name=$2 begin end value
    shift 2
    bold "\$ $variable=\$($(shown "$@"))" >&2
    begin=$(now)
    value=$("$@")
    end=$(now)
    names+=("$name") times+=($(((end - begin) / 1000000)))
    printf '%s\n' "$value"
    printf -v "$variable" '%s' "$value"
}

bold "== What this machine needs"
scripts/setup.sh demo
bold "== The tools"
if [[ ${TRIMARAN_DEMO_NO_BUILD:-} != 1 ]]; then make -s tools; fi
PATH=$PWD/bin:$PATH

work=$(mktemp -d "${TMPDIR:-/var/tmp}/trimaran-demo.XXXXXX")
chmod 755 "$work"
export TRIMARAN_ROOT=$work/store
pids=()
cleanup() {
    local status=$?
    for pid in ${pids[@]+"${pids[@]}"}; do kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true; done
    # As an ordinary user the store holds files of subordinate ids: only their user namespace can remove them.
    if [[ -e $work/store && $EUID -ne 0 ]]; then build unshare rm -rf "$work/store" 2>/dev/null || true; fi
    rm -rf "$work"
    exit "$status"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

who=$([[ $EUID -eq 0 ]] && echo "root" || echo "the ordinary user $(id -un), without root")
bold "== A root file system, as $who"
base=
if command -v mmdebstrap >/dev/null; then
    # An ordinary user needs subordinate ids for mmdebstrap's own namespace.
    suite=$(. /etc/os-release && echo "${VERSION_CODENAME:-stable}")
    if step "root file system (Debian packages)" mmdebstrap --variant=minbase --quiet "$suite" "$work/base.tar" 2>"$work/log"; then
        base="Debian $suite"
    else
        tail -n 3 "$work/log" >&2
        echo "no package mirror within reach (or no rights to use it): a busybox root file system instead" >&2
        names=() times=()
    fi
fi
if [[ -z $base ]]; then
    [[ -x /bin/busybox ]] || { echo "demo: needs mmdebstrap with a package mirror, or busybox-static" >&2; exit 1; }
    mkdir -p "$work/root"/{bin,etc,tmp,usr/bin,usr/local/bin,root}
    cp /bin/busybox "$work/root/bin/busybox"
    for applet in sh cat ls echo id true grep wc date mkdir; do ln -s busybox "$work/root/bin/$applet"; done
    echo 'root:x:0:0:root:/root:/bin/sh' >"$work/root/etc/passwd"
    echo 'root:x:0:' >"$work/root/etc/group"
    echo 'PRETTY_NAME="busybox"' >"$work/root/etc/os-release"
    tar -C "$work/root" --owner=0 --group=0 --numeric-owner -cf "$work/base.tar" .
    base=busybox
fi

bold "== A base image, from that root file system ($base)"
keep ctr "from scratch" build from scratch
step "add the root file system" build add "$ctr" "$work/base.tar" /
step "config" build config --cmd /bin/sh --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$ctr"
keep id "commit the base" build commit "$ctr" localhost/base:demo
step "rm" build rm "$ctr"

bold "== A scripted build on it, without a Dockerfile"
printf '#!/bin/sh\n. /etc/os-release\necho "Hello from $PRETTY_NAME, as $(id -u), pid $$, built on $(cat /etc/built)"\n' >"$work/hello"
chmod 755 "$work/hello"
keep ctr "from the base" build from localhost/base:demo
step "run a step" build run "$ctr" -- sh -c 'echo "$SOURCE_DATE_EPOCH" > /etc/built; mkdir -p /srv/demo; ls / | wc -l > /srv/demo/count'
step "copy a file in" build copy "$ctr" "$work/hello" /usr/local/bin/hello
step "config" build config --cmd /usr/local/bin/hello --label demo=trimaran "$ctr"
keep id "commit" build commit "$ctr" localhost/hello:demo
step "rm" build rm "$ctr"

bold "== A run of the result"
step "run (unpacks first)" run localhost/hello:demo
step "run, again" run localhost/hello:demo
step "run with a read-only root, no network, another user" run --read-only --network none -u 65534 localhost/hello:demo

if command -v docker-registry >/dev/null; then
    bold "== A copy between two registries"
    ports=()
    for n in a b; do
        port=$(python3 - <<'P' 2>/dev/null || shuf -i 20000-30000 -n 1
import socket
with socket.socket() as s:
    s.bind(("127.0.0.1", 0))
    print(s.getsockname()[1])
P
)
        mkdir -p "$work/registry-$n"
        printf 'version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: "127.0.0.1:%s"}\n' \
            "$work/registry-$n" "$port" >"$work/registry-$n.yml"
        docker-registry serve "$work/registry-$n.yml" >/dev/null 2>&1 &
        pids+=($!)
        ports+=("$port")
        for _ in $(seq 200); do
            if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then break; fi
            sleep 0.05
        done
    done
    one=docker://127.0.0.1:${ports[0]}/demo/hello:1
    two=docker://127.0.0.1:${ports[1]}/mirror/hello:1
    step "push to registry one" copy --dest-tls-verify=false store:localhost/hello:demo "$one"
    step "registry one to registry two" copy --src-tls-verify=false --dest-tls-verify=false "$one" "$two"
    step "the same again: nothing to do" copy --src-tls-verify=false --dest-tls-verify=false "$one" "$two"
    step "tags" copy list-tags --tls-verify=false "docker://127.0.0.1:${ports[1]}/mirror/hello"

    bold "== The digest, unchanged at the end"
    first=$(copy inspect --raw store:localhost/hello:demo | sha256sum | cut -d' ' -f1)
    last=$(copy inspect --raw --tls-verify=false "$two" | sha256sum | cut -d' ' -f1)
    echo "in the store      sha256:$first"
    echo "in registry two   sha256:$last"
    [[ $first == "$last" ]] || { echo "demo: the digest changed on the way" >&2; exit 1; }
    step "run it from registry two" run --tls-verify=false "127.0.0.1:${ports[1]}/mirror/hello:1"
else
    echo "docker-registry is not installed: the copy between registries is left out" >&2
fi

bold "== How long each step took"
for i in "${!names[@]}"; do printf '%8d ms  %s\n' "${times[i]}" "${names[i]}"; done
