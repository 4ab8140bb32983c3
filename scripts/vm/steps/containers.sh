# The container tests as root and as ordinary users, and what needs all controllers of cgroup v2 or AppArmor.
# boot: plain
# Two tests for each processor: many wait.
threads=(--test-threads 4)
[[ " ${filter[*]} " != *" --test-threads"* ]] || threads=()
if ((${#filter[@]} == 0)); then
    # Of the unit tests those that ask the kernel.
    run /tests/libcontainer/deps/libcontainer rootfs::
fi
run /tests/libcontainer/deps/it "${threads[@]}" "${filter[@]}"
run /tests/libcontainer/deps/child "${threads[@]}" "${filter[@]}"
run /tests/libcontainer/deps/vm "${threads[@]}" "${filter[@]}"
