/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Writes to FUSE: cloud folders, phones, foreign disks. They may go to its daemon at once, and leave no page behind. */
#ifndef JAGA_FILE_FUSE_H
#define JAGA_FILE_FUSE_H
#include "store.h"

/* Not attached where FUSE is a module that came later than this. */
SEC("fexit/fuse_file_write_iter")
int BPF_PROG(on_fuse_write, struct kiocb *kiocb, struct iov_iter *iter, s64 ret)
{
	struct inode *inode = kiocb->ki_filp->f_inode;
	u64 end = kiocb->ki_pos, size = inode->i_size;

	if (ret > 0 && is_regular(inode))
		count(inode, WRITE, ret, end > size ? end : size);
	return 0;
}

/* Whether it is counted there. */
static __always_inline bool is_of_fuse(struct inode *inode)
{
	u32 zero = 0;
	struct settings *set = bpf_map_lookup_elem(&settings, &zero);

	return set && set->exact_writes & 4 && inode->i_sb->s_magic == FUSE_MAGIC;
}

#endif
