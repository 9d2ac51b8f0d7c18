/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Where the stores are, and which files are worth telling. */
#ifndef JAGA_STORE_H
#define JAGA_STORE_H
#include "file.h"

enum {
	ROOTS = 4096,
	VERDICTS = 16384,
	DEPTH = 4096, /* directories between a file and its store's root */
	ALIASES = 8, /* names of a hard-linked file that are looked at */
	DCACHE_DISCONNECTED = 1 << 5,
};
#define LABEL_LIFE_SECS (7 * 24 * 3600ULL)
#define VERDICT_NS 1000000000ULL

/* What user space sets. */
struct settings {
	u32 roots_version; /* a verdict by older roots does not count */
	u32 any_roots;
	u32 list_tgid; /* whose open files `list_files` lists */
	u32 exact_writes; /* 1: ext4's own hooks count its writes; 2: xfs's; 4: FUSE's */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct settings);
} settings SEC(".maps");

/* A directory (or file) at which a store begins, with the store. Inode 0 = this file system has such a place, with twice
 * the store, and 1 more where one of these is a file. */
struct root {
	u64 fs;
	u64 inode;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, ROOTS);
	__type(key, struct root);
	__type(value, u32);
} roots SEC(".maps");

enum { STRAYS = 16384 };

/* Files and folders that have left a store under another name, where trampolines tell; the oldest are forgotten. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, STRAYS);
	__type(key, struct root);
	__type(value, u32);
} strays SEC(".maps");

/* What was found out about a directory, for a second: the files in it are looked up by it alone. */
struct verdict {
	u64 until;
	u32 roots_version;
	s32 store;
};

struct folder {
	u64 fs; /* as in `file_id` */
	u64 inode;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, VERDICTS);
	__type(key, struct folder);
	__type(value, struct verdict);
} verdicts SEC(".maps");

/* A subvolume of btrfs and, with `of_parent`, the one that it is a snapshot of (0 = of none), by UUID: in a snapshot
 * every file keeps its inode number. */
static __always_inline u64 subvolume_uuid(struct inode *inode, bool of_parent)
{
	struct btrfs_inode *btrfs;
	struct btrfs_root *root;
	u64 uuid[2] = {};

	if (!bpf_core_type_exists(struct btrfs_inode))
		return 0;
	btrfs = (void *)inode - bpf_core_field_offset(struct btrfs_inode, vfs_inode);
	root = BPF_CORE_READ(btrfs, root);
	if (of_parent)
		bpf_core_read(uuid, sizeof(uuid), &root->root_item.parent_uuid);
	else
		bpf_core_read(uuid, sizeof(uuid), &root->root_item.uuid);
	return uuid[0] | uuid[1] ? mix(uuid[0], uuid[1]) : 0;
}

/* The climb from a file towards the root of its file system, in search of a store. */
struct climb {
	u64 fs;
	u64 now;
	struct dentry *dentry;
	struct hlist_node *alias;
	u32 roots_version;
	s32 store;
	s32 any_store; /* of this file system */
	bool btrfs;
};

static __always_inline s32 store_at(u64 fs, u64 inode)
{
	struct root root = { .fs = fs, .inode = inode };
	u32 *store = bpf_map_lookup_elem(&roots, &root);

	return store ? (s32)*store : -1;
}

/* The store that something has left under another name; -1 also where renames are not seen. */
static __always_inline s32 left_store(u64 fs, u64 inode)
{
	struct root root = { .fs = fs, .inode = inode };
	u32 *store = bpf_map_lookup_elem(&strays, &root);

	return store ? (s32)*store : -1;
}

static long climb_step(u64 depth, struct climb *climb)
{
	struct dentry *dentry = climb->dentry;
	struct inode *inode = BPF_CORE_READ(dentry, d_inode);
	u64 fs = climb->fs, parent = 0;

	/* A directory tree of btrfs spans subvolumes, whose inode numbers repeat. */
	if (climb->btrfs) {
		parent = subvolume_uuid(inode, true);
		fs = mix(fs, subvolume_uuid(inode, false));
	}
	climb->store = store_at(fs, BPF_CORE_READ(inode, i_ino));
	if (climb->store < 0)
		climb->store = left_store(fs, BPF_CORE_READ(inode, i_ino));
	if (climb->store < 0 && parent)
		climb->store = store_at(mix(climb->fs, parent), BPF_CORE_READ(inode, i_ino));
	if (climb->store >= 0)
		return 1;
	climb->dentry = BPF_CORE_READ(dentry, d_parent);
	if (climb->dentry != dentry)
		return 0;
	/* Opened by a handle (open_by_handle_at, nfsd), with nothing cached above it: its folder is not known, and what is not
	 * known may be a store. */
	if (BPF_CORE_READ(dentry, d_flags) & DCACHE_DISCONNECTED)
		climb->store = climb->any_store;
	return 1;
}

/* The store of a directory, by what was found a moment ago or by a climb. */
static __always_inline void find_folder(struct climb *climb)
{
	struct dentry *dentry = climb->dentry;
	struct inode *inode = BPF_CORE_READ(dentry, d_inode);
	struct folder folder = { .fs = climb->fs, .inode = BPF_CORE_READ(inode, i_ino) };
	struct verdict *known, fresh = {};

	if (climb->btrfs)
		folder.fs = mix(folder.fs, subvolume(inode));
	known = bpf_map_lookup_elem(&verdicts, &folder);
	if (known && known->until > climb->now && known->roots_version == climb->roots_version) {
		climb->store = known->store;
		return;
	}
	bpf_loop(DEPTH, climb_step, climb, 0);
	fresh.until = climb->now + VERDICT_NS;
	fresh.roots_version = climb->roots_version;
	fresh.store = climb->store;
	bpf_map_update_elem(&verdicts, &folder, &fresh, BPF_ANY);
}

static long alias_step(u64 i, struct climb *climb)
{
	struct hlist_node *alias = climb->alias;
	struct dentry *dentry;

	if (!alias)
		return 1;
	dentry = (void *)alias - bpf_core_field_offset(struct dentry, d_u.d_alias);
	climb->dentry = BPF_CORE_READ(dentry, d_parent);
	find_folder(climb);
	climb->alias = BPF_CORE_READ(alias, next);
	return climb->store >= 0;
}

/* What the roots of a file system, or of a subvolume, are listed under. */
static __always_inline u64 root_fs(struct inode *inode)
{
	u64 fs = super_id(inode->i_sb);

	return inode->i_sb->s_magic == BTRFS_MAGIC ? mix(fs, subvolume_uuid(inode, false)) : fs;
}

static __always_inline s32 find_store(struct inode *inode, struct settings *set, u64 now)
{
	struct super_block *sb = inode->i_sb;
	struct climb climb = { .store = -1, .now = now, .roots_version = set->roots_version };
	s32 any;

	climb.btrfs = sb->s_magic == BTRFS_MAGIC;
	climb.fs = super_id(sb);
	any = store_at(climb.fs, 0);
	if (any < 0) /* no store on this file system */
		return -1;
	climb.any_store = any >> 1;
	if (any & 1)
		climb.store = store_at(root_fs(inode), inode->i_ino);
	if (climb.store < 0)
		climb.store = left_store(root_fs(inode), inode->i_ino);
	climb.alias = inode->i_dentry.first;
	if (climb.store < 0)
		bpf_loop(ALIASES, alias_step, &climb, 0);
	return climb.store;
}

/* A file that changed within a label's life, or that has a second name: it may carry what was taken from a
 * store. utimes cannot set ctime back. */
static __always_inline bool is_young(struct inode *inode)
{
	struct inode___6_10 *old = (void *)inode;
	struct inode___6_5 *older = (void *)inode;
	s64 now = bpf_ktime_get_tai_ns() / 1000000000ULL; /* some 37 s ahead of the wall clock: no matter */
	s64 changed = now;

	if (bpf_core_field_exists(inode->i_ctime_sec))
		changed = inode->i_ctime_sec;
	else if (bpf_core_field_exists(old->__i_ctime))
		changed = BPF_CORE_READ(old, __i_ctime.tv_sec);
	else if (bpf_core_field_exists(older->i_ctime))
		changed = BPF_CORE_READ(older, i_ctime.tv_sec);
	return inode->i_nlink > 1 || changed + (s64)LABEL_LIFE_SECS > now;
}

#endif
