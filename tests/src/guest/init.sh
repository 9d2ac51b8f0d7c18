#!/bin/busybox sh
# The first process of a guest: mounts, modules, disk and network; then the script; then its answer and the end.
/bin/busybox --install -s /bin 2>/dev/null
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for module in virtio_pci virtio_blk loop veth; do modprobe $module; done
mount -t ext4 /dev/vda /disk

# By its path: busybox's shell has an `ip` of its own, which knows less and comes first.
ip=/bin/ip
$ip netns add out
$ip link add eth0 type veth peer name eth0 netns out
for side in "" "-n out"; do $ip $side link set lo up; $ip $side link set eth0 up; done
$ip address add 203.0.113.1/24 dev eth0
$ip -6 address add 2001:db8::1/64 dev eth0 nodad
$ip -n out address add 203.0.113.9/24 dev eth0
$ip -n out -6 address add 2001:db8::9/64 dev eth0 nodad

sh /script >/out/stdout 2>/out/stderr </dev/null
echo $? >/out/status
stty -F /dev/ttyS1 raw
tar cf /dev/ttyS1 -C /out .
poweroff -f
