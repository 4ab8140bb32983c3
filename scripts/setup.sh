#!/usr/bin/env bash
# Installs what `make demo`, `make test` or `make bench` needs and is missing, on Debian and Ubuntu.
# usage: setup.sh demo|test|bench
# Without root, or without a package mirror, it says what is missing and goes on: what needs it is skipped and counted.
set -uo pipefail

what=${1:-test}
build=(gcc pkg-config libssl-dev)
demo=(busybox-static uidmap mmdebstrap docker-registry)
test=("${build[@]}" "${demo[@]}" apache2-utils skopeo umoci podman bsdutils gpg gpgv golang-github-containers-common python3 python3-seccomp attr procps strace iproute2 buildah containerd containernetworking-plugins docker.io perl-base)
bench=("${demo[@]}" podman buildah skopeo umoci crun runc bubblewrap python3 e2fsprogs time curl)
case $what in
demo) packages=("${build[@]}" "${demo[@]}") ;;
test) packages=("${test[@]}") ;;
bench) packages=("${build[@]}" "${bench[@]}") ;;
*) echo "usage: setup.sh demo|test|bench" >&2; exit 2 ;;
esac

say() { echo "setup: $*" >&2; }

missing=()
if command -v dpkg-query >/dev/null; then
    for p in "${packages[@]}"; do
        [[ $(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null) == installed ]] || missing+=("$p")
    done
else
    say "this is neither Debian nor Ubuntu; the following must be there already: ${packages[*]}"
fi

if ((${#missing[@]})); then
    if [[ $EUID -eq 0 ]]; then
        say "installing ${missing[*]}"
        export DEBIAN_FRONTEND=noninteractive
        apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null 2>&1 ||
            { apt-get update -qq && apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null; } ||
            for p in "${missing[@]}"; do # one unknown name must not keep the others out
                apt-get install -y -qq --no-install-recommends "$p" >/dev/null 2>&1 || say "could not install $p"
            done
    else
        say "missing, and only root can install them: apt-get install ${missing[*]}"
    fi
fi

[[ ${TRIMARAN_DEMO_NO_BUILD:-} == 1 ]] || command -v cargo >/dev/null || { say "no Rust toolchain: see https://rustup.rs"; exit 1; }

# Debian's docker-registry package starts a service on port 5000; tests and demo start their own.
if [[ " ${missing[*]:-} " == *" docker-registry "* ]] && command -v systemctl >/dev/null && [[ -d /run/systemd/system ]]; then
    systemctl disable --now docker-registry >/dev/null 2>&1 || true
fi

# The tests start Docker and containerd themselves, in directories of their own: no service is left running that was not there before.
if command -v systemctl >/dev/null && [[ -d /run/systemd/system ]]; then
    [[ " ${missing[*]:-} " != *" docker.io "* ]] || systemctl disable --now docker.socket docker >/dev/null 2>&1 || true
    [[ " ${missing[*]:-} " != *" containerd "* ]] || systemctl disable --now containerd >/dev/null 2>&1 || true
fi

# Two ordinary users for the rootless tests: one with subordinate ids, one without. Only where tests run as root.
if [[ $what == test && $EUID -eq 0 && ${TRIMARAN_TEST_USERS:-1} == 1 ]]; then
    for user in trimaran-sub trimaran-nosub; do
        getent passwd "$user" >/dev/null ||
            useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$user" ||
            say "could not add the user $user"
    done
    for file in /etc/subuid /etc/subgid; do
        grep -q '^trimaran-sub:' "$file" 2>/dev/null || echo 'trimaran-sub:700000:65536' >>"$file"
        sed -i '/^trimaran-nosub:/d' "$file"
    done
fi
exit 0
