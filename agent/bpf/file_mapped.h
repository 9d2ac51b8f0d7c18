/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Books a mapped file to the process that maps it. */
#ifndef JAGA_FILE_MAPPED_H
#define JAGA_FILE_MAPPED_H
#include "file_below.h"

enum { BOOKED = 16384 };
#define BOOK_AGAIN_NS (3600 * 1000000000ULL)

/* Files that a process has mapped and that were booked to it: when. */
struct mapping_of {
	struct file_id file;
	u64 start;
	u64 tgid;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, BOOKED);
	__type(key, struct mapping_of);
	__type(value, u64);
} booked SEC(".maps");

/* Whether this process is to be booked this file now. */
static __always_inline bool is_due(struct task_struct *task, struct inode *inode)
{
	u64 now = bpf_ktime_get_boot_ns();
	struct mapping_of key = {};
	u64 *at;

	identify(&key.file, inode);
	key.start = task->group_leader->start_boottime;
	key.tgid = task->tgid;
	at = bpf_map_lookup_elem(&booked, &key);
	if (at && now - *at < BOOK_AGAIN_NS)
		return false;
	bpf_map_update_elem(&booked, &key, &now, BPF_ANY);
	return true;
}

/* At its first fault a process is booked the whole file, as an estimate: no hook sees mmap() with its file, and a
 * fault may show 64 KiB or, with large folios, 2 MiB that no tracepoint tells. Again each hour, while it faults. */
static __always_inline void book(struct inode *inode)
{
	if ((!is_regular(inode) && !is_below(inode)) || !is_due(bpf_get_current_task_btf(), inode))
		return;
	if (is_regular(inode))
		count(inode, MAPPED, inode->i_size, inode->i_size);
	else
		count_below(inode, inode->i_size);
}

/* What is mapped already when a store is named: what was touched before faults no more. Files outside the stores are
 * left out: every process has some of these mapped, the libraries. */
SEC("iter/task_vma")
int book_mapped(struct bpf_iter__task_vma *ctx)
{
	u32 zero = 0;
	struct settings *set = bpf_map_lookup_elem(&settings, &zero);
	struct task_struct *task = ctx->task;
	struct vm_area_struct *vma = ctx->vma;
	struct inode *inode;

	if (!task || !vma || !set || !set->any_roots || !vma->vm_file)
		return 0;
	inode = vma->vm_file->f_inode;
	if (!is_regular(inode))
		return 0;
	if (find_store(inode, set, bpf_ktime_get_boot_ns()) >= 0 && is_due(task, inode))
		count_of(task, inode, MAPPED, inode->i_size, inode->i_size);
	return 0;
}

#endif
