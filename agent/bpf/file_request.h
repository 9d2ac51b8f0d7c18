/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Reads of a block device past the page cache (O_DIRECT): no tracepoint but that of the request itself. */
#ifndef JAGA_FILE_REQUEST_H
#define JAGA_FILE_REQUEST_H
#include "file_read.h"

enum { REQ_OP_MASK = 0xff, REQ_OP_READ = 0, SECTOR_SHIFT = 9 };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct block_device {
	u64 bd_nr_sectors;
	u32 bd_dev;
};
struct bvec_iter {
	unsigned int bi_size;
};
struct bio {
	struct block_device *bi_bdev;
	u32 bi_opf;
	struct bvec_iter bi_iter;
	void *bi_end_io;
};
#pragma clang attribute pop

/* What ends the direct requests of programs (block/fops.c): these are its own, file systems have others. */
extern const void blkdev_bio_end_io __ksym __weak;
extern const void blkdev_bio_end_io_async __ksym __weak;

/* A short read waits for its request, as file systems also do: told apart by the file that the task reads. */
static __always_inline bool reads_device(struct task_struct *task)
{
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(task);
	u64 nr = SYSCALL_NR(regs);
	struct inode *inode;
	struct file *file;
	u32 fd;

	if (task->flags & (PF_KTHREAD | PF_IO_WORKER))
		return false;
	if (nr == NR_READ || nr == NR_PREAD64 || nr == NR_READV || nr == NR_PREADV || nr == NR_PREADV2 || nr == NR_SPLICE)
		fd = SYSCALL_ARG1(regs);
	else if (nr == NR_SENDFILE)
		fd = SYSCALL_ARG2(regs);
	else
		return false;
	file = file_of(task, fd);
	if (!file || !(BPF_CORE_READ(file, f_flags) & O_DIRECT))
		return false;
	inode = BPF_CORE_READ(file, f_mapping, host);
	return (BPF_CORE_READ(inode, i_mode) & S_IFMT) == S_IFBLK;
}

static __always_inline bool is_direct(struct bio *bio)
{
	void *ends = bio->bi_end_io;

	return (ends && (ends == &blkdev_bio_end_io || ends == &blkdev_bio_end_io_async)) ||
	       reads_device(bpf_get_current_task_btf());
}

SEC("tp_btf/block_bio_queue")
int BPF_PROG(on_request, struct bio *bio)
{
	u32 device = bio->bi_bdev->bd_dev;

	if ((bio->bi_opf & REQ_OP_MASK) == REQ_OP_READ && stores_on(device) && is_direct(bio))
		count_device(device, bio->bi_iter.bi_size, bio->bi_bdev->bd_nr_sectors << SECTOR_SHIFT);
	return 0;
}

#endif
