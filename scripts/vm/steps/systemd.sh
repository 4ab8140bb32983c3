# The tool with the real systemd: the machine's, and a user's own.
# boot: systemd
# One by one: when systemd reloads, it sets back values of every unit, which another test has just written.
threads=(--test-threads 1)
[[ " ${filter[*]} " != *" --test-threads"* ]] || threads=()
run /tests/run/deps/vm "${threads[@]}" "${filter[@]}"
