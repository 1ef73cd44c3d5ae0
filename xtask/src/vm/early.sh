#!/bin/busybox sh
# The initramfs' init: loads what is needed to see the disk, mounts it and goes there.
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t devtmpfs dev /dev
for module in /modules/*.ko; do
    $b insmod "$module" || echo "insmod $module failed"
done
tries=0
until [ -b /dev/vda ] || [ $tries -ge 100 ]; do
    $b sleep 0.1
    tries=$((tries + 1))
done
$b mount -t ext4 /dev/vda /root || { echo "cannot mount the disk"; $b poweroff -f; }
$b umount /proc
$b umount /dev
exec $b switch_root /root /rhizome-vm/init
