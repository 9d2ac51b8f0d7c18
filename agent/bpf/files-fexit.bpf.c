// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
// Rung 2 of the files: the functions behind every system call that reads or writes, as they return (BPF trampolines).
#include "file_direct.h"
#include "file_mapped.h"
#include "file_dirty.h"
#include "file_fuse.h"
#include "file_sent.h"
#include "file_gone.h"
#include "file_moved.h"
#include "file_memory.h"
#include "file_device.h"
#include "file_list.h"

/* `before` bytes were read directly, and counted there. */
SEC("fexit/filemap_read")
int BPF_PROG(on_read, struct kiocb *kiocb, struct iov_iter *iter, s64 before, s64 ret)
{
	struct file *file = kiocb->ki_filp;
	struct inode *inode = file->f_mapping->host;

	if (!is_block(inode) || !(file->f_flags & O_DIRECT))
		took(inode, ret - before);
	return 0;
}

/* Of a block device all of a direct read is counted as it begins: who waits for its end may be nobody. */
SEC("fentry/blkdev_read_iter")
int BPF_PROG(on_device_read, struct kiocb *kiocb, struct iov_iter *iter)
{
	struct file *file = kiocb->ki_filp;
	struct inode *inode = file->f_mapping->host;
	u64 pos = kiocb->ki_pos;

	if (file->f_flags & O_DIRECT && is_below(inode))
		count_below(inode, clamp(pos, pos + iter->count, inode->i_size));
	return 0;
}

/* sendfile and splice from 6.5 on; before, they come by filemap_read. */
SEC("fexit/filemap_splice_read")
int BPF_PROG(on_splice, struct file *file, s64 *pos, void *pipe, u64 len, unsigned int flags, s64 ret)
{
	took(file->f_mapping->host, ret);
	return 0;
}

SEC("fentry/__iomap_dio_rw")
int BPF_PROG(on_direct, struct kiocb *kiocb, struct iov_iter *iter)
{
	direct(kiocb, iter);
	return 0;
}

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct iomap_iter {
	struct inode *inode;
	s64 pos;
	s64 processed;
	unsigned int flags;
};
#pragma clang attribute pop
enum { IOMAP_WRITE = 1, IOMAP_DIRECT = 16 };

/* The same, piece by piece as they are submitted, for 5.19 to 6.6: a trampoline there takes six arguments, and
 * __iomap_dio_rw has seven. */
SEC("fentry/iomap_iter")
int BPF_PROG(on_direct_part, struct iomap_iter *iter)
{
	struct inode *inode = iter->inode;
	s64 bytes;
	u64 size;

	if (!(iter->flags & IOMAP_DIRECT) || !bpf_core_field_exists(iter->processed) || !is_regular(inode))
		return 0;
	bytes = BPF_CORE_READ(iter, processed); /* of the piece before */
	if (bytes <= 0)
		return 0;
	size = inode->i_size;
	if (iter->flags & IOMAP_WRITE)
		count(inode, WRITE, bytes, size);
	else
		count(inode, READ, clamp(iter->pos, iter->pos + bytes, size), size);
	return 0;
}

static __always_inline void faulted(struct vm_fault *fault)
{
	struct file *file = fault->vma->vm_file;

	if (file)
		book(file->f_mapping->host);
}

/* At its entry: a huge page that is cached already is mapped here and passes no tracepoint. */
SEC("fentry/filemap_map_pages")
int BPF_PROG(on_map, struct vm_fault *fault)
{
	faulted(fault);
	return 0;
}

SEC("fentry/filemap_fault")
int BPF_PROG(on_fault, struct vm_fault *fault)
{
	faulted(fault);
	return 0;
}

/* Whether a task is in a write that is counted to the byte when it ends: the pages that it dirties are then not. */
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, u32);
} writing SEC(".maps");

static __always_inline void set_writing(u32 is)
{
	u32 *mark = bpf_task_storage_get(&writing, bpf_get_current_task_btf(), NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);

	if (mark)
		*mark = is;
}

static __always_inline void wrote(struct inode *inode, s64 bytes)
{
	set_writing(0);
	if (bytes > 0 && is_regular(inode) && !is_of_fuse(inode))
		count(inode, WRITE, bytes, inode->i_size);
}

SEC("fentry/generic_perform_write")
int BPF_PROG(on_write_begin)
{
	set_writing(1);
	return 0;
}

SEC("fexit/generic_perform_write")
int BPF_PROG(on_write, struct kiocb *kiocb, struct iov_iter *iter, s64 ret)
{
	wrote(kiocb->ki_filp->f_mapping->host, ret);
	return 0;
}

/* XFS. */
SEC("fentry/iomap_file_buffered_write")
int BPF_PROG(on_iomap_write_begin)
{
	set_writing(1);
	return 0;
}

SEC("fexit/iomap_file_buffered_write")
int BPF_PROG(on_iomap_write, struct kiocb *kiocb)
{
	u64 ret = 0;

	/* The number of arguments differs between kernels, and so where the result is. */
	bpf_get_func_ret(ctx, &ret);
	wrote(kiocb->ki_filp->f_mapping->host, ret);
	return 0;
}

/* What dirties pages in any other way: shared mappings, and file systems with a write of their own (btrfs): to the page,
 * and not when it was dirty already. */
SEC("tp_btf/writeback_dirty_folio")
int BPF_PROG(on_dirty, struct folio *folio, struct address_space *mapping)
{
	u32 *mark = bpf_task_storage_get(&writing, bpf_get_current_task_btf(), NULL, 0);

	if (!mark || !*mark)
		dirtied(folio, mapping);
	return 0;
}

SEC("fentry/truncate_pagecache")
int BPF_PROG(on_truncate, struct inode *inode, s64 size)
{
	if (!size)
		tell_gone(inode);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
