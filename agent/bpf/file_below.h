/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Block devices that stores lie on: who reads one, reads below every path. */
#ifndef JAGA_FILE_BELOW_H
#define JAGA_FILE_BELOW_H
#include "file_count.h"

enum { DEVICES = 1024 };

/* By device number as the kernel has it; a bit for each store. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, DEVICES);
	__type(key, u32);
	__type(value, u64);
} devices SEC(".maps");

static __always_inline u64 *stores_on(u32 device)
{
	return bpf_map_lookup_elem(&devices, &device);
}

/* The inode of a device's own page cache has the device's number. File systems read their metadata past the programs
 * here: these see what a program asks for. */
static __always_inline bool is_below(struct inode *inode)
{
	return is_block(inode) && stores_on(inode->i_rdev);
}

/* Bytes that were read or written past every path: of a device, or of a file that is sent with its subvolume. */
static __always_inline void tell_past_paths(struct file_id *file, u32 kind, s64 store, u64 bytes, u64 size)
{
	struct task_struct *task = bpf_get_current_task_btf();
	u32 zero = 0;
	void *table = bpf_map_lookup_elem(&counts, &zero);
	struct value *value, first = { .store = store };
	struct key key = { .file = *file, .kind = kind };

	if (!table || !bytes)
		return;
	key.start = task->group_leader->start_boottime;
	key.tgid = task->tgid;
	value = entry_of(table, &key, &first);
	if (!value) {
		count_lost(bytes);
		return;
	}
	__sync_fetch_and_add(&value->bytes, bytes);
	value->size = size;
	value->last_at = bpf_ktime_get_boot_ns();
	tell_who(&value->who, task);
}

static __always_inline void count_device(u32 device, u64 bytes, u64 size)
{
	struct file_id file = { .inode = device };
	u64 *stores = stores_on(device);

	if (stores)
		tell_past_paths(&file, BELOW, *stores, bytes, size);
}

static __always_inline void count_below(struct inode *inode, u64 bytes)
{
	count_device(inode->i_rdev, bytes, inode->i_size);
}

/* As a function that reads returns. */
static __always_inline void took(struct inode *inode, s64 bytes)
{
	if (bytes <= 0)
		return;
	if (is_regular(inode))
		count(inode, READ, bytes, inode->i_size);
	else if (is_below(inode))
		count_below(inode, bytes);
}

#endif
