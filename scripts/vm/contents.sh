# shellcheck shell=bash disable=SC2034
# What is in the machine of `make test-vm`: read by scripts/vm.sh. Whoever needs more adds a line here, and a step in scripts/vm/steps.

# Debian packages of its disk, without what they recommend. Another list makes another disk, which takes some minutes once.
packages=(
    apparmor                # apparmor_parser
    busybox-static          # the root file systems of test containers
    criu                    # checkpoints
    dbus dbus-user-session  # the buses that systemd listens on
    iproute2 procps util-linux # unshare, setpriv, ps, ip
    iptables                # what CRIU locks a network with
    kmod                    # modprobe: the kernel's modules are all there
    libpam-systemd systemd systemd-sysv # sessions of users
    uidmap                  # newuidmap, newgidmap
)

# Modules that nothing asks the kernel for by itself.
modules=(overlay veth tun fuse loop bfq inet_diag tcp_diag udp_diag unix_diag netlink_diag af_packet_diag nf_conntrack_netlink)

# Test programs, by the arguments of cargo. Each lies in /tests/PACKAGE/deps/NAME of the machine, where PACKAGE is the last part of its
# directory; examples lie in /tests/PACKAGE/examples (`cargo test` would make tests of them), programs that are no tests also where
# CARGO_BIN_EXE_NAME says.
both="-p libcontainer -p trimaran-run --features libcontainer/_vm,trimaran-run/_vm"
programs=(
    "test --no-run $both --lib --test it --test child --test vm"
    "build $both --example unshare"
)
