#!/bin/busybox sh
# The first program of the machine, in the archive: finds the disk, unpacks the tests, and hands over to what the step boots.
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
while read -r module; do insmod "/modules/$module" || echo "vm: no module $module"; done </modules/order
until [ -e /dev/vdc ]; do sleep 0.1; done
# What is written there is thrown away with the machine.
mount -t ext4 -o noatime /dev/vdb /disk
mkdir -p /disk/tests
mount -t tmpfs -o mode=755 tmpfs /disk/tests
tar -x -C /disk/tests -f /dev/vdc
chroot /disk /tests/prepare.sh
word() { sed -n "s/.*\<$1=\([^ ]*\).*/\1/p" /proc/cmdline; }
if [ "$(word trimaran.boot)" = systemd ]; then
    next=/lib/systemd/systemd
else
    next=/tests/guest.sh
fi
umount /proc /sys
mount -o move /dev /disk/dev
exec switch_root /disk "$next"
