/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Reads and writes of tmpfs and memfd, which pass none of the page cache's tracepoints. */
#ifndef JAGA_FILE_MEMORY_H
#define JAGA_FILE_MEMORY_H
#include "file_below.h"

/* tmpfs and memfd. */
SEC("fexit/shmem_file_read_iter")
int BPF_PROG(on_memory_read, struct kiocb *kiocb, struct iov_iter *iter, s64 ret)
{
	took(kiocb->ki_filp->f_mapping->host, ret);
	return 0;
}

SEC("fexit/shmem_file_splice_read")
int BPF_PROG(on_memory_splice, struct file *file, s64 *pos, void *pipe, u64 len, unsigned int flags, s64 ret)
{
	took(file->f_mapping->host, ret);
	return 0;
}

#endif
