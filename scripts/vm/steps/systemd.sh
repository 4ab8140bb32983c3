# The tool with the real systemd: the machine's, and a user's own.
# boot: systemd
run /tests/run/deps/vm "${filter[@]}"
