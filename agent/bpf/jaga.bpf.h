/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What all programs share: kernel types as far as they are used, the actor, and the table that user space drains.
 *
 * CO-RE finds each field's offset when the object is loaded, so a type needs only the fields that are read
 * (and 3 MB of vmlinux.h are not needed). A name with three underscores is another kernel's version of the type. */
#ifndef JAGA_BPF_H
#define JAGA_BPF_H

typedef unsigned char __u8;
typedef unsigned short __u16;
typedef unsigned int __u32;
typedef unsigned long long __u64;
typedef signed char __s8;
typedef short __s16;
typedef int __s32;
typedef long long __s64;
typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s32 s32;
typedef __s64 s64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u32 __wsum;
typedef _Bool bool;
#define true 1
#define false 0
#define NULL ((void *)0)

/* include/uapi/linux/bpf.h, as far as used. */
enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_LPM_TRIE = 11,
	BPF_MAP_TYPE_ARRAY_OF_MAPS = 12,
	BPF_MAP_TYPE_SK_STORAGE = 24,
	BPF_MAP_TYPE_RINGBUF = 27,
	BPF_MAP_TYPE_TASK_STORAGE = 29,
};
enum { BPF_ANY = 0, BPF_NOEXIST = 1 };
enum { BPF_F_NO_PREALLOC = 1 };
enum { BPF_RB_NO_WAKEUP = 1 };
enum { BPF_LOCAL_STORAGE_GET_F_CREATE = 1 };

#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_endian.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	u32 val;
} kuid_t;

struct cred {
	kuid_t euid;
};

struct kernfs_node {
	struct kernfs_node *__parent;
	const char *name;
	u64 id;
};

struct kernfs_node___6_13 {
	struct kernfs_node *parent;
};

struct cgroup {
	struct kernfs_node *kn;
};

struct css_set {
	struct cgroup *dfl_cgrp;
};

typedef struct {
	int counter;
} atomic_t;

struct signal_struct {
	atomic_t live;
};

struct qstr {
	const unsigned char *name;
};

struct hlist_node {
	struct hlist_node *next;
};

struct hlist_head {
	struct hlist_node *first;
};

struct inode;

struct dentry {
	unsigned int d_flags;
	struct dentry *d_parent;
	struct qstr d_name;
	struct inode *d_inode;
	union {
		struct hlist_node d_alias;
	} d_u;
};

struct vfsmount {
	struct dentry *mnt_root;
};

struct mount {
	struct mount *mnt_parent;
	struct dentry *mnt_mountpoint;
	struct vfsmount mnt;
};

struct path {
	struct vfsmount *mnt;
	struct dentry *dentry;
};

struct address_space;

struct file {
	unsigned int f_flags;
	struct address_space *f_mapping;
	struct inode *f_inode;
	struct path f_path;
	s64 f_pos;
};

struct fdtable {
	unsigned int max_fds;
	struct file **fd;
};

struct files_struct {
	struct fdtable *fdt;
};

struct mm_struct {
	struct file *exe_file;
};

struct task_struct {
	unsigned int flags;
	int pid;
	int tgid;
	struct task_struct *real_parent;
	struct task_struct *group_leader;
	u64 start_boottime;
	struct mm_struct *mm;
	const struct cred *cred;
	struct signal_struct *signal;
	struct files_struct *files;
	struct css_set *cgroups;
	kuid_t loginuid;
	unsigned int sessionid;
};

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
};

#if defined(__TARGET_ARCH_x86)
struct pt_regs {
	unsigned long r10;
	unsigned long r8;
	unsigned long dx;
	unsigned long si;
	unsigned long di;
	unsigned long orig_ax;
};
#elif defined(__TARGET_ARCH_arm64)
struct pt_regs {
	u64 regs[31];
	int syscallno;
};
#endif

#pragma clang attribute pop

/* Who: 32 bytes, the same in every record. */
struct who {
	u64 start; /* start of the group leader, CLOCK_BOOTTIME ns */
	u64 cgroup; /* id in the v2 hierarchy */
	u32 tgid; /* initial pid namespace */
	u32 uid; /* effective, initial user namespace */
	u32 loginuid; /* -1 = none */
	u32 sessionid; /* -1 = none */
};

static __always_inline void tell_who(struct who *who, struct task_struct *task)
{
	who->start = task->group_leader->start_boottime;
	who->cgroup = task->cgroups->dfl_cgrp->kn->id;
	who->tgid = task->tgid;
	who->uid = task->cred->euid.val;
	who->loginuid = -1;
	who->sessionid = -1;
	if (bpf_core_field_exists(task->loginuid)) { /* CONFIG_AUDIT */
		who->loginuid = task->loginuid.val;
		who->sessionid = task->sessionid;
	}
}

/* What did not fit into a table or ring, so that nothing is lost silently. */
struct lost {
	u64 events;
	u64 bytes;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct lost);
} lost SEC(".maps");

static __always_inline void count_lost(u64 bytes)
{
	u32 zero = 0;
	struct lost *sum = bpf_map_lookup_elem(&lost, &zero);

	if (sum) {
		sum->events++;
		sum->bytes += bytes;
	}
}

/* Two tables, one of them in use: user space puts the other one into `counts`, which makes the kernel wait for the
 * programs that still use the first (maybe_wait_bpf_programs in kernel/bpf/syscall.c), and then empties the
 * first at leisure: no byte is added to an entry that was already read. */
#define COUNTS(key_type, value_type, limit)                       \
	struct counts {                                           \
		__uint(type, BPF_MAP_TYPE_HASH);                  \
		__uint(map_flags, BPF_F_NO_PREALLOC);             \
		__uint(max_entries, limit);                       \
		__type(key, key_type);                            \
		__type(value, value_type);                        \
	} counts_a SEC(".maps"), counts_b SEC(".maps");           \
	struct {                                                  \
		__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);         \
		__uint(max_entries, 1);                           \
		__type(key, u32);                                 \
		__array(values, struct counts);                   \
	} counts SEC(".maps") = { .values = { (void *)&counts_a } }

/* The entry of a key, which begins as `first`; NULL = the table is full. */
static __always_inline void *entry_of(void *table, const void *key, const void *first)
{
	void *value = bpf_map_lookup_elem(table, key);

	if (value)
		return value;
	bpf_map_update_elem(table, key, first, BPF_NOEXIST); /* or another processor was quicker */
	return bpf_map_lookup_elem(table, key);
}

#define PF_IO_WORKER 0x00000010
#define PF_KTHREAD 0x00200000

/* The system call that a task is in, as it was made: number and arguments. */
#if defined(__TARGET_ARCH_x86)
#define SYSCALL_NR(regs) ((regs)->orig_ax)
#define SYSCALL_ARG1(regs) ((regs)->di)
#define SYSCALL_ARG2(regs) ((regs)->si)
#define SYSCALL_ARG3(regs) ((regs)->dx)
#define SYSCALL_ARG4(regs) ((regs)->r10)
#define SYSCALL_ARG5(regs) ((regs)->r8)
enum { O_DIRECT = 040000, NR_READV = 19, NR_PREADV = 295, NR_PREADV2 = 327 };
enum { NR_READ = 0, NR_IOCTL = 16, NR_PREAD64 = 17, NR_SENDFILE = 40, NR_SENDTO = 44, NR_SPLICE = 275, NR_SENDMSG = 46 };
#elif defined(__TARGET_ARCH_arm64)
#define SYSCALL_NR(regs) ((regs)->syscallno)
#define SYSCALL_ARG1(regs) ((regs)->regs[0])
#define SYSCALL_ARG2(regs) ((regs)->regs[1])
#define SYSCALL_ARG3(regs) ((regs)->regs[2])
#define SYSCALL_ARG4(regs) ((regs)->regs[3])
#define SYSCALL_ARG5(regs) ((regs)->regs[4])
enum { O_DIRECT = 0200000, NR_READV = 65, NR_PREADV = 69, NR_PREADV2 = 286 };
enum { NR_IOCTL = 29, NR_READ = 63, NR_PREAD64 = 67, NR_SENDFILE = 71, NR_SPLICE = 76, NR_SENDTO = 206, NR_SENDMSG = 211 };
#else
#error "jaga knows the system call registers of x86_64 and aarch64 only"
#endif

/* What a task has open under this number. */
static __always_inline struct file *file_of(struct task_struct *task, u32 fd)
{
	struct fdtable *table = task->files->fdt;
	struct file *file = NULL;

	if (fd >= table->max_fds)
		return NULL;
	bpf_probe_read_kernel(&file, sizeof(file), &table->fd[fd]);
	return file;
}

#endif
