#!/usr/bin/env bash
# runc's own integration tests against our runtime and a peer, as root and as an ordinary user, and where the two differ.
#
#   scripts/conformance.sh TREE [PEER]      TREE: runc's sources; PEER: another runtime, default the installed runc
#   FILES="kill.bats exec.bats"             only these of its files
#   OURS=PROGRAM OUT=DIR                    what is tested; where the results go and stay
#
# The tree has to be ready for its suite: `make test-binaries` done, and what tests/integration/get-images.sh names is there. Nothing
# is downloaded. Needs root, bats, jq, gawk, and the user of scripts/setup.sh. Ends with 1 if we pass less than 95 % of what the peer does.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { printf 'conformance: %s\n' "$*" >&2; exit 2; }

[[ $# -ge 1 ]] || fail "the directory of runc's sources is missing"
[[ $EUID = 0 ]] || fail "it has to be root, to be both root and a user"
suite=$(realpath -m "$1")/tests/integration
peer=${2:-$(command -v runc)} || fail "there is no runc here; name a peer"
[[ -x $peer ]] || fail "$peer cannot be executed"
ours=${OURS:-bin/trimaran-runtime}
[[ -x $ours ]] || fail "$ours is missing: make tools"
[[ -f $suite/helpers.bash ]] || fail "$suite/helpers.bash is missing: is this runc's tree?"
[[ -x $suite/../cmd/_bin/recvtty ]] || fail "$suite/../cmd/_bin/recvtty is missing: make test-binaries in the tree"
for needed in bats jq gawk script setpriv newuidmap; do
    command -v "$needed" >/dev/null || fail "$needed is missing"
done
user=trimaran-sub
uids=$(awk -F: -v user=$user '$1 == user { print $2; exit }' /etc/subuid)
gids=$(awk -F: -v user=$user '$1 == user { print $2; exit }' /etc/subgid)
[[ -n $uids && -n $gids ]] || fail "the user $user with ranges of 65536 sub-ids is missing: scripts/setup.sh"

work=$(mktemp -d /tmp/conformance.XXXXXX)
out=$(realpath -m "${OUT:-$work/results}")
mkdir -p "$out" "$work"/{peer,ours}
chmod 755 "$work"
# The suite and its messages go by the name.
install -m 755 "$peer" "$work/peer/runc"
install -m 755 "$ours" "$work/ours/runc"

# Everything that the delegated cgroups need is the user's; a process keeps them from being removed as empty.
place=runc-cgroups-integration-test
holder=
delegate() {
    sleep infinity &
    holder=$!
    local hierarchy directory
    for hierarchy in $(cut -d: -f2 /proc/self/cgroup | sed -E 's/^name=//;s/,/\n/;/^$/d'); do
        directory=/sys/fs/cgroup/$hierarchy/$place
        mkdir -p "$directory"
        if [[ $hierarchy = cpuset ]]; then
            cat /sys/fs/cgroup/cpuset/cpuset.cpus >"$directory/cpuset.cpus"
            cat /sys/fs/cgroup/cpuset/cpuset.mems >"$directory/cpuset.mems"
            chown $user "$directory"/cpuset.{cpus,mems}
        fi
        echo "$holder" >"$directory/cgroup.procs"
        chown $user "$directory" "$directory/cgroup.procs" "$directory/tasks"
    done
}
withdraw() {
    [[ -n $holder ]] || return 0
    kill "$holder" && wait "$holder" 2>/dev/null || true
    holder=
    find /sys/fs/cgroup/*/$place -depth -type d -exec rmdir {} + 2>/dev/null || true
}
cleanup() {
    withdraw
    rm -rf "$work/"{peer,ours,run}
    rmdir "$work" 2>/dev/null || true
}
trap cleanup EXIT

# suite NAME RUNTIME FEATURES: FEATURES is "root", or what the user may have besides.
suite() {
    local name=$1 runtime=$2 features=$3 run=$work/run
    rm -rf "$run"
    mkdir -p "$run/home"
    local environment=(
        PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 TERM=xterm
        HOME="$run/home" XDG_RUNTIME_DIR="$run/home" TMPDIR="$run" RUNC="$runtime"
    )
    local become=()
    if [[ $features != root ]]; then
        become=(setpriv --reuid "$user" --regid "$(id -g $user)" --init-groups)
        environment+=(ROOTLESS_FEATURES="$features")
        if [[ $features = *idmap* ]]; then
            mkdir "$run/other"
            # The user 1024 of the suite's containers.
            chown $((uids + 24)) "$run/other"
            environment+=(
                ROOTLESS_UIDMAP_START="$uids" ROOTLESS_UIDMAP_LENGTH=65536 ROOTLESS_GIDMAP_START="$gids"
                ROOTLESS_GIDMAP_LENGTH=65536 ROOTLESS_AUX_DIR="$run/other" ROOTLESS_AUX_UID=1024
            )
        fi
        chown $user "$run" "$run/home"
    fi
    # Checkpoints depend on the kernel and CRIU, sshfs on a server.
    local files=${FILES:-$(cd "$suite" && printf '%s\n' *.bats | grep -v -E 'checkpoint|sshfs')}
    # The tests want a terminal, which has to be the user's.
    cat >"$run/start" <<END
cd $(printf %q "$suite")
[ $features = root ] || chown $user "\$(tty)"
exec ${become[*]@Q} env -i ${environment[*]@Q} timeout --foreground 3000 bats -t $(echo $files) >$(printf %q "$out/$name") 2>&1
END
    [[ $features != *cgroup* ]] || delegate
    script -qec "bash $(printf %q "$run/start")" /dev/null </dev/null >/dev/null 2>&1 || true
    withdraw
    [[ -s $out/$name ]] || fail "the suite did not start"
}

# What each file says of each test, as "number ok|fail|skip name".
verdicts() { sed -nE 's/^ok ([0-9]+) (.*) # skip.*/\1 skip \2/p;t;s/^(not )?ok ([0-9]+) (.*)/\2 \1ok \3/p' "$1" | sed 's/ not ok / fail /'; }

worst=0
compare() {
    local title=$1
    join -t '|' <(verdicts "$out/$title.peer" | sed 's/ /|/;s/ /|/' | sort -t '|' -k1,1) \
        <(verdicts "$out/$title.ours" | sed 's/ /|/;s/ /|/' | sort -t '|' -k1,1) |
        awk -F '|' -v title="$title" '
            $2 == "ok" { peer++; if ($4 == "ok") both++; else differ[++count] = $3 " (" $4 ")" }
            $4 == "ok" { ours++ }
            END {
                printf "%-18s peer passed %d, ours %d; of the peer'"'"'s %d (%.1f %%)\n", title, peer, ours, both, peer ? 100 * both / peer : 100
                for (n = 1; n <= count; n++) print "    ours not: " differ[n]
                exit peer && both < 0.95 * peer
            }' || worst=1
}

modes=(root user)
declare -A features=([root]=root [user]=idmap)
[[ -e /sys/fs/cgroup/cgroup.controllers ]] || features[user]=idmap+cgroup
for mode in "${modes[@]}"; do
    suite "$mode.peer" "$work/peer/runc" "${features[$mode]}"
    suite "$mode.ours" "$work/ours/runc" "${features[$mode]}"
    compare "$mode"
done
echo "The results are in $out."
exit $worst
