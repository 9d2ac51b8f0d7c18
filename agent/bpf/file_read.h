/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Reads by any system call. */
#ifndef JAGA_FILE_READ_H
#define JAGA_FILE_READ_H
#include "file_direct.h"
#include "file_below.h"

/* A read in pages, which one task does in several calls to filemap_get_pages with the same end. */
struct span {
	struct address_space *mapping;
	u64 index;
	u64 last;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct span);
} spans SEC(".maps");

/* sendfile, splice, readv, io_uring, nfsd: whole pages, each once a read; the page in which one read ends and the
 * next begins is counted once. */
static __always_inline u64 paged_bytes(struct address_space *mapping, u64 index, u64 last, u64 size)
{
	struct span *span = bpf_task_storage_get(&spans, bpf_get_current_task_btf(), NULL,
						 BPF_LOCAL_STORAGE_GET_F_CREATE);
	u64 from = index;

	if (span && span->mapping == mapping) {
		if (span->last == last && index > span->index) {
			span->index = index;
			return 0;
		}
		if (span->last == index)
			from = index + 1;
	}
	if (span) {
		span->mapping = mapping;
		span->index = index;
		span->last = last;
	}
	return clamp(from << PAGE_SHIFT, (last + 1) << PAGE_SHIFT, size);
}

/* Where read or pread64 began and how much it wants, if that is what the task is doing with this file. */
static __always_inline bool asked(struct address_space *mapping, u64 *pos, u64 *want)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(task);
	u64 nr = SYSCALL_NR(regs);
	struct file *file;

	if (task->flags & (PF_KTHREAD | PF_IO_WORKER) || (nr != NR_READ && nr != NR_PREAD64))
		return false;
	/* Loaded without a helper's call: this runs for every few pages that anybody reads. */
	file = bpf_core_cast(file_of(task, SYSCALL_ARG1(regs)), struct file);
	if (!file || file->f_mapping != mapping)
		return false;
	*pos = nr == NR_READ ? (u64)file->f_pos : SYSCALL_ARG4(regs);
	*want = SYSCALL_ARG3(regs);
	return true;
}

SEC("tp_btf/mm_filemap_get_pages")
int BPF_PROG(on_read, struct address_space *mapping, unsigned long index, unsigned long last)
{
	struct inode *inode = mapping->host;
	u64 pos, want, bytes, size;

	if (!is_regular(inode) && !is_below(inode))
		return 0;
	size = inode->i_size;
	if (!asked(mapping, &pos, &want))
		bytes = paged_bytes(mapping, index, last, size);
	else if (index == pos >> PAGE_SHIFT)
		bytes = clamp(pos, pos + want, size);
	else
		bytes = 0; /* a later part of a read that was counted when it began */
	if (is_regular(inode))
		count(inode, READ, bytes, size);
	else
		count_below(inode, bytes);
	return 0;
}

SEC("tp_btf/iomap_dio_rw_begin")
int BPF_PROG(on_direct, struct kiocb *kiocb, struct iov_iter *iter)
{
	direct(kiocb, iter);
	return 0;
}

#endif
