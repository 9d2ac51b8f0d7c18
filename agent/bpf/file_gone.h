/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The end of files that were told as written. */
#ifndef JAGA_FILE_GONE_H
#define JAGA_FILE_GONE_H
#include "file_count.h"

/* A file that was told as written is no more, or is empty. */
struct gone {
	struct file_id file;
	u64 at; /* CLOCK_BOOTTIME ns */
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20); /* 65,536 files between two rounds */
} gone SEC(".maps");

static __always_inline void tell_gone(struct inode *inode)
{
	struct gone record = {};

	if (!is_regular(inode))
		return;
	identify(&record.file, inode);
	if (!bpf_map_lookup_elem(&labelled, &record.file)) /* nobody was told of it */
		return;
	record.at = bpf_ktime_get_boot_ns();
	if (bpf_ringbuf_output(&gone, &record, sizeof(record), BPF_RB_NO_WAKEUP))
		count_lost(0);
	if (!inode->i_nlink)
		bpf_map_delete_elem(&labelled, &record.file);
}

SEC("tp_btf/ext4_evict_inode")
int BPF_PROG(on_ext4_evict, struct inode *inode)
{
	if (!inode->i_nlink)
		tell_gone(inode);
	return 0;
}

SEC("tp_btf/ext4_truncate_enter")
int BPF_PROG(on_ext4_truncate, struct inode *inode)
{
	if (!inode->i_size)
		tell_gone(inode);
	return 0;
}

SEC("tp_btf/btrfs_inode_evict")
int BPF_PROG(on_btrfs_evict, struct inode *inode)
{
	if (!inode->i_nlink)
		tell_gone(inode);
	return 0;
}

#endif
