/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What the kernel calls the files that user space has opened. */
#ifndef JAGA_FILE_LIST_H
#define JAGA_FILE_LIST_H
#include "store.h"

/* Who is who among the files that user space has opened: the same identity, computed by the same code. */
struct listed {
	u32 fd;
	u32 reserved;
	struct file_id file;
	u64 super_id; /* the file system, subvolumes aside */
	u64 root_fs; /* what a store's root is listed under */
};

SEC("iter/task_file")
int list_files(struct bpf_iter__task_file *ctx)
{
	u32 zero = 0;
	struct settings *set = bpf_map_lookup_elem(&settings, &zero);
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct listed listed = {};

	if (!task || !file || !set || (u32)task->tgid != set->list_tgid)
		return 0;
	listed.fd = ctx->fd;
	listed.super_id = super_id(file->f_inode->i_sb);
	identify(&listed.file, file->f_inode);
	listed.root_fs = root_fs(file->f_inode);
	bpf_seq_write(ctx->meta->seq, &listed, sizeof(listed));
	return 0;
}

#endif
