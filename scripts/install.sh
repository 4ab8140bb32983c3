#!/usr/bin/env bash
# Installs bin/* with man pages and shell completions, or removes them again.
# usage: install.sh [--remove] DESTDIR PREFIX PROGRAM_PREFIX
set -euo pipefail
remove=
[[ ${1:-} == --remove ]] && { remove=1; shift; }
destdir=$1 prefix=$2 program_prefix=$3
cd "$(dirname "$0")/.."
root=$destdir$prefix
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for tool in build run copy; do
    name=$program_prefix$tool
    # The tools write help, man pages and completions under the name they are called by.
    ln -s "$PWD/bin/$tool" "$work/$name"
    mkdir -p "$work/man-$tool"
    "$work/$name" man "$work/man-$tool"
    pages=$(cd "$work/man-$tool" && ls)
    if [[ $remove ]]; then
        rm -f "$root/bin/$name" "$root/share/bash-completion/completions/$name" \
            "$root/share/zsh/site-functions/_$name" "$root/share/fish/vendor_completions.d/$name.fish"
        for page in $pages; do rm -f "$root/share/man/man1/$page"; done
        continue
    fi
    install -D -m 755 "bin/$tool" "$root/bin/$name"
    for page in $pages; do install -D -m 644 "$work/man-$tool/$page" "$root/share/man/man1/$page"; done
    "$work/$name" completion bash >"$work/c" && install -D -m 644 "$work/c" "$root/share/bash-completion/completions/$name"
    "$work/$name" completion zsh >"$work/c" && install -D -m 644 "$work/c" "$root/share/zsh/site-functions/_$name"
    "$work/$name" completion fish >"$work/c" && install -D -m 644 "$work/c" "$root/share/fish/vendor_completions.d/$name.fish"
    echo "installed $root/bin/$name"
done
# For engines, under the name it has in every prefix; `run oci` has its man pages.
runtime=$root/bin/trimaran-runtime
if [[ $remove ]]; then
    rm -f "$runtime"
else
    install -D -m 755 bin/trimaran-runtime "$runtime"
    echo "installed $runtime"
fi
