# The container tests as root and as ordinary users, and what needs all controllers of cgroup v2.
# boot: plain
if ((${#filter[@]} == 0)); then
    # Of the unit tests those that ask the kernel.
    run /tests/libcontainer/deps/libcontainer rootfs::
    run /tests/libcontainer/deps/child
fi
run /tests/libcontainer/deps/it --test-threads 4 "${filter[@]}"
run /tests/libcontainer/deps/vm --test-threads 4 "${filter[@]}"
