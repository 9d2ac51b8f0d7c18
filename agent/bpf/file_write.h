/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Writes by any system call. */
#ifndef JAGA_FILE_WRITE_H
#define JAGA_FILE_WRITE_H
#include "file_dirty.h"
#include "file_fuse.h"

/* A file system whose writes are counted to the byte by a hook of its own; shared writable mappings aside. */
static __always_inline bool counted_elsewhere(struct address_space *mapping, struct inode *inode)
{
	u32 zero = 0;
	struct settings *set = bpf_map_lookup_elem(&settings, &zero);
	u64 magic = inode->i_sb->s_magic;

	if (!set || mapping->i_mmap_writable.counter > 0)
		return false;
	return is_of_fuse(inode) || (magic == EXT4_MAGIC && set->exact_writes & 1) || (magic == XFS_MAGIC && set->exact_writes & 2);
}

SEC("tp_btf/writeback_dirty_folio")
int BPF_PROG(on_dirty, struct folio *folio, struct address_space *mapping)
{
	/* No mapping: truncated meanwhile. */
	if (mapping && !counted_elsewhere(mapping, mapping->host))
		dirtied(folio, mapping);
	return 0;
}

static __always_inline void written(struct inode *inode, u64 pos, u64 bytes)
{
	u64 size = inode->i_size;

	if (is_regular(inode))
		count(inode, WRITE, bytes, pos + bytes > size ? pos + bytes : size);
}

/* ext4's three ways of ending a buffered write: to the byte, and also where the page was dirty already. */
SEC("tp_btf/ext4_da_write_end")
int BPF_PROG(on_ext4_delayed, struct inode *inode, s64 pos, unsigned int len, unsigned int copied)
{
	written(inode, pos, copied);
	return 0;
}

SEC("tp_btf/ext4_write_end")
int BPF_PROG(on_ext4_write, struct inode *inode, s64 pos, unsigned int len, unsigned int copied)
{
	written(inode, pos, copied);
	return 0;
}

SEC("tp_btf/ext4_journalled_write_end")
int BPF_PROG(on_ext4_journalled, struct inode *inode, s64 pos, unsigned int len, unsigned int copied)
{
	written(inode, pos, copied);
	return 0;
}

SEC("tp_btf/xfs_file_buffered_write")
int BPF_PROG(on_xfs_write, struct kiocb *kiocb, struct iov_iter *iter)
{
	written(kiocb->ki_filp->f_inode, kiocb->ki_pos, iter->count);
	return 0;
}

#endif
