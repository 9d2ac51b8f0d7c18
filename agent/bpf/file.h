/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Kernel types of files, and what identifies one. */
#ifndef JAGA_FILE_H
#define JAGA_FILE_H
#include "jaga.bpf.h"

enum { S_IFMT = 00170000, S_IFREG = 0100000, S_IFBLK = 0060000, S_IFIFO = 0010000 };
enum { PAGE_SHIFT = 12 }; /* x86_64, and aarch64 as the distributions build it */
enum { BTRFS_MAGIC = 0x9123683e, EXT4_MAGIC = 0xef53, XFS_MAGIC = 0x58465342, FUSE_MAGIC = 0x65735546 };
enum { ITER_SOURCE = 1 }; /* the iterator is what is written from */

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
typedef struct {
	__u8 b[16];
} uuid_t;
struct super_block {
	u32 s_dev;
	unsigned long s_magic;
	uuid_t s_uuid;
};
struct timespec64 {
	s64 tv_sec;
};
struct inode {
	unsigned short i_mode;
	u32 i_rdev;
	struct super_block *i_sb;
	struct address_space *i_mapping;
	unsigned long i_ino;
	unsigned int i_nlink;
	s64 i_size;
	s64 i_ctime_sec;
	u32 i_generation;
	struct hlist_head i_dentry;
};
struct inode___6_10 {
	struct timespec64 __i_ctime;
};
struct inode___6_5 {
	struct timespec64 i_ctime;
};
struct address_space {
	struct inode *host;
	atomic_t i_mmap_writable;
};
struct kiocb {
	struct file *ki_filp;
	s64 ki_pos;
	int ki_flags;
};
struct iov_iter {
	bool data_source;
	unsigned long count;
};
typedef struct {
	unsigned long f;
} memdesc_flags_t;
struct folio {
	memdesc_flags_t flags;
	struct address_space *mapping;
	unsigned long index;
	unsigned int _nr_pages;
};
struct folio___6_17 {
	unsigned long flags;
};
struct folio___6_14 {
	unsigned int _folio_nr_pages;
};
struct btrfs_key {
	u64 objectid;
};
struct btrfs_root_item {
	u8 uuid[16];
	u8 parent_uuid[16];
};
struct btrfs_root {
	struct btrfs_root_item root_item;
	struct btrfs_key root_key;
};
struct btrfs_inode {
	struct btrfs_root *root;
	struct inode vfs_inode;
};
struct percpu_counter {
	s64 count;
};
struct mm_struct___rss {
	struct percpu_counter rss_stat[4];
};
struct vm_area_struct {
	struct file *vm_file;
};
struct vm_fault {
	struct vm_area_struct *vma;
};
struct bpf_iter__task_vma {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	struct vm_area_struct *vma;
};
struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	u32 fd;
	struct file *file;
};
#pragma clang attribute pop

/* A file, whatever its names: device numbers and paths change, these do not. */
struct file_id {
	u64 fs; /* mixed from the file system's UUID and subvolume, else from its device number */
	u64 inode;
	u32 generation;
	u32 reserved;
};

static __always_inline u64 mix(u64 low, u64 high)
{
	u64 hash = (low ^ (high << 32 | high >> 32)) * 0x9e3779b97f4a7c15ULL;

	return hash ^ hash >> 32;
}

/* For a pointer that the verifier does not know; slower than direct loads. */
static __always_inline u64 subvolume(struct inode *inode)
{
	struct btrfs_inode *btrfs;

	if (!bpf_core_type_exists(struct btrfs_inode))
		return 0;
	btrfs = (void *)inode - bpf_core_field_offset(struct btrfs_inode, vfs_inode);
	return BPF_CORE_READ(btrfs, root, root_key.objectid);
}

/* The file system, subvolumes aside. */
static __always_inline u64 super_id(struct super_block *sb)
{
	u64 low = *(u64 *)&sb->s_uuid.b[0];
	u64 high = *(u64 *)&sb->s_uuid.b[8];

	return low | high ? mix(low, high) : mix(sb->s_dev, 1);
}

static __always_inline u64 file_system(struct inode *inode)
{
	struct super_block *sb = inode->i_sb;
	u64 fs = super_id(sb);

	return sb->s_magic == BTRFS_MAGIC ? mix(fs, subvolume(inode)) : fs;
}

static __always_inline bool is_block(struct inode *inode)
{
	return inode && (inode->i_mode & S_IFMT) == S_IFBLK;
}

/* A block device is called so in the place of a file system: what is written to it passes every file system. */
static __always_inline u64 device_id(u32 device)
{
	return mix(device, 2);
}

static __always_inline void identify(struct file_id *id, struct inode *inode)
{
	id->fs = is_block(inode) ? device_id(inode->i_rdev) : file_system(inode);
	id->inode = inode->i_ino;
	id->generation = inode->i_generation;
	id->reserved = 0;
}

static __always_inline bool is_regular(struct inode *inode)
{
	return inode && (inode->i_mode & S_IFMT) == S_IFREG;
}

#endif
