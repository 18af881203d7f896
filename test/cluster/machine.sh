#!/bin/sh
# Makes a node's own file system inside fresh mount and UTS namespaces, says on descriptor 3 that it is ready, and holds them.
#
# usage: machine.sh DIRECTORY NAME; DIRECTORY is the node's part of the lab's directory
# What a node writes to (/etc, /opt, /var, /run) is its own: everything lands in DIRECTORY or in memory, nothing on this computer.
set -eu
umask 022
export LC_ALL=C PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
directory=$1
name=$2

mount --make-rprivate /
printf '%s\n' "$name" >/proc/sys/kernel/hostname

# The links under /sys are those of the network namespace in which it is mounted. Cgroups are the computer's.
mkdir -p "$directory/cgroup"
mount --rbind /sys/fs/cgroup "$directory/cgroup"
mount -t sysfs -o nosuid,nodev,noexec sysfs /sys
mount --rbind "$directory/cgroup" /sys/fs/cgroup
umount -l "$directory/cgroup"

for part in etc opt var; do
  mkdir -p "$directory/layers/$part/upper" "$directory/layers/$part/work"
  mount -t overlay overlay "/$part" \
    -o "lowerdir=/$part,upperdir=$directory/layers/$part/upper,workdir=$directory/layers/$part/work"
done

# A new node has no network plugin, no kubelet's state and no containers, whatever this computer has.
rm -rf /etc/cni /etc/containerd /etc/kubernetes /opt/cni /var/lib/cni /var/lib/containerd /var/lib/kubelet /var/log/pods /var/log/containers
mkdir -p /etc/cni/net.d /etc/containerd /etc/kubernetes/manifests /opt/cni/bin /var/log/containers
rm -f /etc/resolv.conf /etc/hosts /etc/hostname
printf '%s\n' "$name" >/etc/hostname
printf '127.0.0.1 localhost %s\n::1 localhost\n' "$name" >/etc/hosts
# Nothing answers there: a look-up fails at once, where a missing resolver would cost seconds each time.
printf 'nameserver 127.0.0.1\n' >/etc/resolv.conf

# The kernel takes no overlay as the upper layer of another, and containers have their own: these lie on the disk below.
for path in /var/lib/containerd /var/lib/kubelet /var/log/pods; do
  mkdir -p "$directory/data$path" "$path"
  mount --bind "$directory/data$path" "$path"
done

# DIRECTORY itself is below /run: it is kept aside while the node gets its own.
mount --bind "$directory" /mnt
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p "$directory" /run/netns /run/lock
mount --move /mnt "$directory"

# Mounts that a pod makes with Bidirectional propagation are to be seen on the node, and the other way round.
mount --make-rshared /

printf 'ready\n' >&3
exec 3>&-
exec sleep infinity
