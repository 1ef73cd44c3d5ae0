#!/bin/sh
# The guest's init: what systemd sets up on a machine with cgroup v2, as far as mounts and cgroups go; then the tests,
# one after the other. What the host reads goes to the second serial port; lines of ours begin with the mark.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=dumb LANG=C.UTF-8
# What is one for all of a machine (the clock) may be changed here.
export RHIZOME_TEST_OWN_MACHINE=1
# A program may take 300 seconds on a machine of its own, and as many times as long where it is emulated.
LIMIT_S=${LIMIT_S:-300}
export RHIZOME_TEST_SLOWER=$((LIMIT_S / 300))
mark='@@vm@@'

mount -t proc -o nosuid,nodev,noexec proc /proc
mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
mount -t devtmpfs -o nosuid,mode=755 udev /dev
exec </dev/null >/dev/ttyS1 2>&1
stty -F /dev/ttyS1 raw -echo
mount -t securityfs -o nosuid,nodev,noexec securityfs /sys/kernel/security
mkdir -p /dev/pts /dev/shm /dev/mqueue /dev/hugepages
mount -t devpts -o nosuid,noexec,gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o nosuid,nodev tmpfs /dev/shm
mount -t tmpfs -o nosuid,nodev,mode=755,size=20% tmpfs /run
mount -t cgroup2 -o nosuid,nodev,noexec,nsdelegate,memory_recursiveprot cgroup2 /sys/fs/cgroup
mount -t bpf -o nosuid,nodev,noexec,mode=700 bpf /sys/fs/bpf
mount -t tracefs -o nosuid,nodev,noexec tracefs /sys/kernel/tracing
mount -t debugfs -o nosuid,nodev,noexec debugfs /sys/kernel/debug
mount -t mqueue -o nosuid,nodev,noexec mqueue /dev/mqueue
mount -t hugetlbfs -o pagesize=2M hugetlbfs /dev/hugepages
mount --make-rshared /
for name in fd:/proc/self/fd stdin:fd/0 stdout:fd/1 stderr:fd/2; do
    ln -sf "${name#*:}" "/dev/${name%%:*}"
done
# As `kmod static-nodes` has them: the kernel loads the module when one is opened.
mkdir -p /dev/net
mknod -m 666 /dev/fuse c 10 229
mknod -m 666 /dev/net/tun c 10 200
mknod -m 660 /dev/loop-control c 10 237
rm -f /etc/mtab && ln -s ../proc/self/mounts /etc/mtab
mkdir -p /run/lock
hostname rhizome-vm
ip link set lo up

# systemd turns on few controllers by itself, and no process of the user's is in the root cgroup.
echo "+memory +pids" >/sys/fs/cgroup/cgroup.subtree_control
mkdir -p /sys/fs/cgroup/init.scope /sys/fs/cgroup/user.slice/user-0.slice/session-1.scope
echo "+memory +pids" >/sys/fs/cgroup/user.slice/cgroup.subtree_control
echo "+memory +pids" >/sys/fs/cgroup/user.slice/user-0.slice/cgroup.subtree_control
echo 1 >/sys/fs/cgroup/init.scope/cgroup.procs

echo "$mark fact kernel $(uname -r)"
echo "$mark fact cgroup $(stat -f -c %T /sys/fs/cgroup), controllers: $(cat /sys/fs/cgroup/cgroup.controllers)"
echo "$mark fact LSM $(cat /sys/kernel/security/lsm), AppArmor enabled: $(cat /sys/module/apparmor/parameters/enabled)"
echo "$mark fact / is $(findmnt -n -o FSTYPE,PROPAGATION /)"

# What a test may leave behind: mounts, cgroups, processes, files where only programs put them. Emulated processors
# make every process dear, so there are few here. The init and its helpers are in init.scope, kernel threads in /.
state() {
    sed 's/^[0-9]* [0-9]* /mount /' /proc/1/mountinfo
    find /sys/fs/cgroup -type d -printf 'cgroup %p\n'
    find /tmp /run /var/lib -mindepth 1 -maxdepth 1 -printf 'file %p\n'
    find /sys/fs/cgroup -mindepth 2 -name cgroup.procs -not -path '*/init.scope/*' -exec grep -h . {} + |
        while read -r pid; do
            echo "process $pid $(tr '\0' ' ' <"/proc/$pid/cmdline")"
        done
}

run() {
    echo $$ >/sys/fs/cgroup/init.scope/cgroup.procs
    (
        echo 0 >/sys/fs/cgroup/user.slice/user-0.slice/session-1.scope/cgroup.procs
        ulimit -S -n 1024
        exec setsid -w timeout -s KILL "$LIMIT_S" sh "$1"
    )
}

state >/rhizome-vm/before
for script in /rhizome-vm/tests/*.sh; do
    name=${script##*/}
    name=${name%.sh}
    echo "$mark begin $name"
    begin=$(cut -d ' ' -f 1 /proc/uptime)
    run "$script" </dev/null
    code=$?
    end=$(cut -d ' ' -f 1 /proc/uptime)
    for try in 1 2 3 4 5 6 7 8 9 10; do
        state >/rhizome-vm/after
        cmp -s /rhizome-vm/before /rhizome-vm/after && break
        sleep 0.2
    done
    diff /rhizome-vm/before /rhizome-vm/after | sed -n "s/^[+>] *\(mount\|cgroup\|file\|process\)/$mark left \1/p"
    cp /rhizome-vm/after /rhizome-vm/before
    echo "$mark end $name $code $begin $end"
done
dmesg | grep -E 'WARNING:|BUG:|Oops|segfault|apparmor="DENIED"' | sed "s/^/$mark kernel /"
echo "$mark done"
sync
poweroff -f
