/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What leaves a store without being read: by a rename, a hard link, or a clone of its blocks. */
#ifndef JAGA_FILE_MOVED_H
#define JAGA_FILE_MOVED_H
#include "file_gone.h"

enum { RENAME_EXCHANGE = 2, REMAP_FILE_DEDUP = 1 };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct renamedata {
	struct inode *old_dir;
	struct dentry *old_dentry;
	struct inode *new_dir;
	struct dentry *new_dentry;
	unsigned int flags;
};
struct renamedata___6_17 {
	struct dentry *old_parent;
	struct dentry *new_parent;
};
#pragma clang attribute pop

/* A file outside the stores came to hold bytes of a store, or of another file outside of them. */
struct moved {
	struct file_id file;
	struct file_id from;
	u64 at; /* CLOCK_BOOTTIME ns */
	u64 bytes;
	s64 store; /* -1 = of no store: of the file `from` */
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20); /* 65,536 files between two rounds */
} moved SEC(".maps");

static __always_inline void tell_moved(struct inode *inode, struct inode *from, s32 store, u64 bytes)
{
	struct moved record = { .bytes = bytes, .store = store };
	u8 yes = 1;

	if (!is_regular(inode))
		return;
	identify(&record.file, inode);
	identify(&record.from, from);
	record.at = bpf_ktime_get_boot_ns();
	bpf_map_update_elem(&labelled, &record.file, &yes, BPF_ANY);
	if (bpf_ringbuf_output(&moved, &record, sizeof(record), BPF_RB_NO_WAKEUP))
		count_lost(bytes);
}

/* The store that a folder lies in. */
static __always_inline s32 store_of_folder(struct inode *inode)
{
	u32 zero = 0;
	struct settings *set = bpf_map_lookup_elem(&settings, &zero);
	struct hlist_node *alias = inode->i_dentry.first;
	struct climb climb = { .store = -1, .now = bpf_ktime_get_boot_ns() };

	climb.btrfs = inode->i_sb->s_magic == BTRFS_MAGIC;
	climb.fs = super_id(inode->i_sb);
	if (!set || !alias || store_at(climb.fs, 0) < 0)
		return -1;
	climb.roots_version = set->roots_version;
	climb.dentry = (void *)alias - bpf_core_field_offset(struct dentry, d_u.d_alias);
	find_folder(&climb);
	return climb.store;
}

/* The store that a file lies in. */
static __always_inline s32 store_of_file(struct inode *inode)
{
	u32 zero = 0;
	struct settings *set = bpf_map_lookup_elem(&settings, &zero);

	return set ? find_store(inode, set, bpf_ktime_get_boot_ns()) : -1;
}

/* What has left a store under another name belongs to it still, and so does all that lies under it; until it comes
 * (back) into one. */
static __always_inline void under_another_name(struct inode *inode, s32 from, s32 to)
{
	struct root root = { .fs = root_fs(inode), .inode = inode->i_ino };
	struct folder folder = { .fs = file_system(inode), .inode = inode->i_ino };
	u32 store = from;

	if (to >= 0) {
		bpf_map_delete_elem(&strays, &root);
	} else if (from >= 0) {
		bpf_map_update_elem(&strays, &root, &store, BPF_ANY);
		tell_moved(inode, inode, from, inode->i_size);
	}
	bpf_map_delete_elem(&verdicts, &folder);
}

SEC("fexit/vfs_rename")
int BPF_PROG(on_rename, struct renamedata *rename, int ret)
{
	struct renamedata___6_17 *newer = (void *)rename;
	struct inode *from, *to, *inode;
	s32 store, other;

	if (ret)
		return 0;
	if (bpf_core_field_exists(rename->old_dir)) {
		from = rename->old_dir;
		to = rename->new_dir;
	} else {
		from = newer->old_parent->d_inode;
		to = newer->new_parent->d_inode;
	}
	if (from == to)
		return 0;
	store = store_of_folder(from);
	other = store_of_folder(to);
	if (store == other)
		return 0;
	inode = rename->old_dentry->d_inode;
	if (inode)
		under_another_name(inode, store, other);
	inode = rename->new_dentry->d_inode;
	if (inode && rename->flags & RENAME_EXCHANGE)
		under_another_name(inode, other, store);
	return 0;
}

SEC("fexit/vfs_link")
int BPF_PROG(on_link, struct dentry *old, void *idmap, struct inode *dir, struct dentry *new, void *delegated, int ret)
{
	struct inode *inode = old->d_inode;

	if (!ret && store_of_folder(dir) < 0)
		under_another_name(inode, store_of_file(inode), -1);
	return 0;
}

/* FICLONE, and copy_file_range where the file system shares blocks: all pass here before they do it. */
SEC("fexit/generic_remap_file_range_prep")
int BPF_PROG(on_clone, struct file *in, s64 in_pos, struct file *out, s64 out_pos, s64 *length, unsigned int flags, int ret)
{
	struct inode *source = in->f_inode, *target = out->f_inode;
	s32 store = store_of_file(source);
	u64 bytes = 0;

	if (ret || flags & REMAP_FILE_DEDUP || store_of_file(target) >= 0 || (store < 0 && !is_young(source)))
		return 0;
	bpf_probe_read_kernel(&bytes, sizeof(bytes), length);
	tell_moved(target, source, store, bytes);
	return 0;
}

SEC("fentry/evict")
int BPF_PROG(on_evict, struct inode *inode)
{
	struct root root = {};

	if (inode->i_nlink)
		return 0;
	/* Its number is another one's next. */
	root.fs = root_fs(inode);
	root.inode = inode->i_ino;
	bpf_map_delete_elem(&strays, &root);
	tell_gone(inode);
	return 0;
}

#endif
