/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Reads by any system call. */
#ifndef JAGA_FILE_READ_H
#define JAGA_FILE_READ_H
#include "file_direct.h"
#include "file_below.h"

/* What a task reads: one call of its own are several of filemap_get_pages, which all end at the same page. The tracepoint
 * passes over pages that are cached when what follows is still on its way from the disk, so that the first of these calls
 * that is seen may be a later one; the last is always seen. */
struct span {
	struct address_space *mapping;
	u64 index; /* where the last call began that was seen */
	u64 last; /* the page in which all of them end */
	u64 pos; /* what the task asked for, where that is known */
	u64 want;
	u64 begin; /* the page in which the system call began, else `index` */
	bool told; /* by the system call */
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct span);
} spans SEC(".maps");

enum { MAX_RW_COUNT = 0x7ffff000 }; /* bytes of one call, whatever it asks for */
enum { UNSEEN = 31 }; /* pages that are passed over at once: one batch (PAGEVEC_SIZE), if they are single */

/* The first page of a read in pages that has not been counted yet: where the last read ended, if this one goes on from
 * there, else where it began, which only some system calls tell. */
static __always_inline u64 first_uncounted(const struct span *span, const struct span *now)
{
	u64 next = span->last + 1;
	bool goes_on = next >= now->begin || (!now->told && next + UNSEEN >= now->index);

	if (span->mapping == now->mapping && next <= now->index + 1 && goes_on)
		return next;
	return now->begin;
}

/* Bytes of a read that was not counted yet: what read and pread64 ask for, else whole pages (sendfile, splice, readv,
 * io_uring, nfsd). */
static __always_inline u64 fresh_bytes(const struct span *now, u64 size)
{
	struct span *span = bpf_task_storage_get(&spans, bpf_get_current_task_btf(), NULL,
						 BPF_LOCAL_STORAGE_GET_F_CREATE);
	u64 from = now->begin;
	bool later;

	if (span) {
		later = span->mapping == now->mapping && span->last == now->last && span->pos == now->pos &&
			span->want == now->want && now->index > span->index;
		from = first_uncounted(span, now);
		*span = *now;
		if (later)
			return 0;
	}
	if (now->want)
		return clamp(now->pos, now->pos + now->want, size);
	return clamp(from << PAGE_SHIFT, (now->last + 1) << PAGE_SHIFT, size);
}

/* Where the task's system call began to read this file, if it is doing that, and how much it wants, if that is plain. */
static __always_inline void ask(struct span *now)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(task);
	u64 nr = SYSCALL_NR(regs), fd = SYSCALL_ARG1(regs), want = SYSCALL_ARG3(regs), pos;
	bool plain = nr == NR_READ || nr == NR_PREAD64;
	struct file *file;

	if (task->flags & (PF_KTHREAD | PF_IO_WORKER) ||
	    (!plain && nr != NR_READV && nr != NR_PREADV && nr != NR_PREADV2 && nr != NR_SENDFILE))
		return;
	if (nr == NR_SENDFILE)
		fd = SYSCALL_ARG2(regs);
	/* Loaded without a helper's call: this runs for every few pages that anybody reads. */
	file = bpf_core_cast(file_of(task, fd), struct file);
	if (!file || file->f_mapping != now->mapping)
		return;
	pos = file->f_pos;
	if (nr == NR_PREAD64 || nr == NR_PREADV || (nr == NR_PREADV2 && SYSCALL_ARG4(regs) != -1UL))
		pos = SYSCALL_ARG4(regs);
	if (nr == NR_SENDFILE && SYSCALL_ARG3(regs))
		bpf_probe_read_user(&pos, sizeof(pos), (void *)SYSCALL_ARG3(regs));
	if (pos >> PAGE_SHIFT > now->index) /* another file lies under this number by now */
		return;
	if (want > MAX_RW_COUNT)
		want = MAX_RW_COUNT;
	if (plain && now->index << PAGE_SHIFT < pos + want) {
		now->pos = pos;
		now->want = want;
	} else if (!plain) {
		now->begin = pos >> PAGE_SHIFT;
		now->told = true;
	}
}

SEC("tp_btf/mm_filemap_get_pages")
int BPF_PROG(on_read, struct address_space *mapping, unsigned long index, unsigned long last)
{
	struct span now = { .mapping = mapping, .index = index, .last = last, .begin = index };
	struct inode *inode = mapping->host;
	u64 bytes, size;

	if (!is_regular(inode) && !is_below(inode))
		return 0;
	size = inode->i_size;
	ask(&now);
	bytes = fresh_bytes(&now, size);
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
