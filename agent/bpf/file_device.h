/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Writes to block devices past every file system: an archive straight onto a stick. */
#ifndef JAGA_FILE_DEVICE_H
#define JAGA_FILE_DEVICE_H
#include "file_below.h"

enum { IOCB_DIRECT = 1 << 17 }; /* of this call, whatever becomes of the file's flags meanwhile */

static __always_inline void wrote_device(struct kiocb *kiocb, s64 bytes)
{
	struct inode *inode = kiocb->ki_filp->f_mapping->host;
	struct file_id file = { .fs = device_id(inode->i_rdev), .inode = inode->i_rdev };

	if (bytes > 0)
		tell_past_paths(&file, WRITE, -1, bytes, inode->i_size);
}

/* Direct writes as they begin: who waits for their end may be nobody. */
SEC("fentry/blkdev_write_iter")
int BPF_PROG(on_device_write_begin, struct kiocb *kiocb, struct iov_iter *iter)
{
	if (kiocb->ki_flags & IOCB_DIRECT)
		wrote_device(kiocb, iter->count);
	return 0;
}

SEC("fexit/blkdev_write_iter")
int BPF_PROG(on_device_write, struct kiocb *kiocb, struct iov_iter *iter, s64 ret)
{
	if (!(kiocb->ki_flags & IOCB_DIRECT))
		wrote_device(kiocb, ret);
	return 0;
}

#endif
