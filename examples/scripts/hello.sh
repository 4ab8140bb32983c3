#!/bin/sh
# Builds an image without a Dockerfile: an ordinary shell script, as root or as an ordinary user.
#
#   hello.sh BASE NAME      for example: hello.sh debian:13 localhost/hello:1
#
# Run it twice: the second image has the same digest as the first.
set -eu
base=${1:?usage: hello.sh BASE NAME} name=${2:?usage: hello.sh BASE NAME}
build=${BUILD:-build}

work=$(mktemp -d)
ctr=$("$build" from "$base")
trap '"$build" rm "$ctr" >/dev/null; rm -rf "$work"' EXIT

# A step runs isolated, with the host's network. Its exit code is the command's, so `set -e` stops the script.
"$build" run "$ctr" -- sh -c 'mkdir -p /srv/hello && date -u -d "@$SOURCE_DATE_EPOCH" >/srv/hello/built'

# Its standard output is the command's, so the shell can use it.
system=$("$build" run --network none "$ctr" -- sh -c '. /etc/os-release && echo "$PRETTY_NAME"')

cat >"$work/hello" <<PROGRAM
#!/bin/sh
echo "Hello from $system, built \$(cat /srv/hello/built)"
PROGRAM
"$build" copy --chmod 755 "$ctr" "$work/hello" /usr/local/bin/hello

"$build" config --cmd /usr/local/bin/hello --label "built-on=$system" "$ctr"
"$build" commit "$ctr" "$name"
