/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* `btrfs send`: the kernel itself reads a subvolume and writes it out. */
#ifndef JAGA_FILE_SENT_H
#define JAGA_FILE_SENT_H
#include "file_below.h"
#include "file_direct.h"
#include "file_dirty.h"

enum { SUBVOLUMES = 1024 };
enum { BTRFS_IOC_SEND = 0x9426 }; /* its type and number; the size differs for 32-bit programs */

/* Subvolumes that stores lie in, as `root_fs` has them; a bit for each store. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, SUBVOLUMES);
	__type(key, u64);
	__type(value, u64);
} subvolumes SEC(".maps");

static __always_inline u64 stores_in(struct inode *inode, bool of_parent)
{
	u64 uuid = subvolume_uuid(inode, of_parent), fs = mix(super_id(inode->i_sb), uuid), *stores;

	if (!uuid)
		return 0;
	stores = bpf_map_lookup_elem(&subvolumes, &fs);
	return stores ? *stores : 0;
}

static __always_inline bool sends_subvolume(struct task_struct *task)
{
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(task);

	return !(task->flags & (PF_KTHREAD | PF_IO_WORKER)) && SYSCALL_NR(regs) == NR_IOCTL &&
	       (SYSCALL_ARG2(regs) & 0xffff) == BTRFS_IOC_SEND;
}

/* A page that comes into the page cache. What a read-only snapshot has there already was read by somebody: its pages
 * are its own, not those of the subvolume that it is of. */
SEC("tp_btf/mm_filemap_add_to_page_cache")
int BPF_PROG(on_cached, struct folio *folio)
{
	struct file_id file = {};
	struct inode *inode;
	u64 from, stores;

	if (!sends_subvolume(bpf_get_current_task_btf()))
		return 0;
	inode = folio->mapping->host;
	if (!is_regular(inode) || inode->i_sb->s_magic != BTRFS_MAGIC)
		return 0;
	stores = stores_in(inode, false) | stores_in(inode, true);
	if (!stores)
		return 0;
	identify(&file, inode);
	from = folio->index << PAGE_SHIFT;
	tell_past_paths(&file, BELOW, stores, clamp(from, from + (folio_pages(folio) << PAGE_SHIFT), inode->i_size), inode->i_size);
	return 0;
}

#endif
