# The container tests as root and as ordinary users, and what needs all controllers of cgroup v2 or AppArmor.
# boot: plain
if ((${#filter[@]} == 0)); then
    # Of the unit tests those that ask the kernel.
    run /tests/libcontainer/deps/libcontainer rootfs::
fi
# Roots in memory need Linux 6.15.
run /tests/libcontainer/deps/it --test-threads 4 --skip command:: "${filter[@]}"
run /tests/libcontainer/deps/vm --test-threads 4 "${filter[@]}"
