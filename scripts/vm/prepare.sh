#!/bin/bash
# Changes on the machine's disk before anything runs from it; they are gone with the machine.
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
echo trimaran-vm >/etc/hostname
printf '127.0.0.1 localhost trimaran-vm\n::1 localhost\n' >/etc/hosts
printf 'trimaran-sub:x:990:990::/nonexistent:/bin/sh\ntrimaran-nosub:x:991:991::/nonexistent:/bin/sh\n' >>/etc/passwd
printf 'trimaran-sub:x:990:\ntrimaran-nosub:x:991:\n' >>/etc/group
printf '%s:*:20000::::::\n' trimaran-sub trimaran-nosub >>/etc/shadow
printf 'trimaran-sub:700000:65536\n' | tee /etc/subuid >/etc/subgid

# Where systemd boots: the step is a unit, started when all others have been, with its output on the serial line.
units=/etc/systemd/system
cat >$units/trimaran.service <<'UNIT'
[Unit]
Description=tests
After=dbus.service systemd-logind.service
[Service]
Type=oneshot
ExecStart=/tests/guest.sh
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
UNIT
mkdir -p $units/multi-user.target.wants
ln -sf $units/trimaran.service $units/multi-user.target.wants/
ln -sf /lib/systemd/system/multi-user.target $units/default.target
for unit in getty.target apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer fstrim.timer; do
    ln -sf /dev/null $units/$unit
done
