/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Reads and writes that pass the page cache by, as they begin: who waits for their end is somebody else. */
#ifndef JAGA_FILE_DIRECT_H
#define JAGA_FILE_DIRECT_H
#include "file_count.h"

/* Bytes of [from, to) that exist. */
static __always_inline u64 clamp(u64 from, u64 to, u64 size)
{
	if (to > size)
		to = size;
	return to > from ? to - from : 0;
}

static __always_inline void direct(struct kiocb *kiocb, struct iov_iter *iter)
{
	struct inode *inode = kiocb->ki_filp->f_mapping->host;
	u64 pos = kiocb->ki_pos, want = iter->count, size;

	if (!is_regular(inode))
		return;
	size = inode->i_size;
	if (iter->data_source == ITER_SOURCE)
		count(inode, WRITE, want, pos + want > size ? pos + want : size);
	else
		count(inode, READ, clamp(pos, pos + want, size), size);
}

#endif
