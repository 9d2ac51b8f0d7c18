// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
// Rung 1 of the files: page cache, direct IO and write-back tracepoints, behind every system call (Linux 6.10+); and the
// functions of what passes none of them, where the kernel has trampolines.
#include "file_read.h"
#include "file_request.h"
#include "file_sent.h"
#include "file_map.h"
#include "file_write.h"
#include "file_gone.h"
#include "file_moved.h"
#include "file_memory.h"
#include "file_device.h"
#include "file_list.h"

SEC("fexit/shmem_file_write_iter")
int BPF_PROG(on_memory_write, struct kiocb *kiocb, struct iov_iter *iter, s64 ret)
{
	if (ret > 0)
		written(kiocb->ki_filp->f_inode, kiocb->ki_pos - ret, ret);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
