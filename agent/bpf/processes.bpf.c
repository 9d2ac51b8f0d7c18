// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
// Tells each process that is made, becomes a program, or ends, and lists those that already run.
#include "jaga.bpf.h"

enum kind { KNOWN = 0, FORK = 1, EXEC = 2, EXIT = 3, REGROUPED = 4 };

enum {
	TEXT_BYTES = 8192,
	NAME_BYTES = 256,
	PATH_DEPTH = 48,
	CGROUP_DEPTH = 16, /* more, and the verifier of Linux 6.12 gives up; a deeper one is looked for by its number */
};

/* One record; `text` holds exe_len bytes of the program's path and cgroup_len bytes of the cgroup's, each as
 * NUL-terminated names, the last name first. */
struct record {
	u32 kind;
	u16 exe_len;
	u16 cgroup_len;
	struct who who;
	u64 parent_start; /* of REGROUPED: of whoever did it */
	u32 parent_tgid;
	u32 cut; /* 1: the program's path was too deep or too long to be told whole; 2: the cgroup's, which is not told then */
	char text[TEXT_BYTES];
};

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
} __attribute__((preserve_access_index));

struct linux_binprm {
	struct file *file;
} __attribute__((preserve_access_index));

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 8 << 20); /* 2 s at this machine's 7,000 forks and 1,600 execs a second take 2 MB */
} events SEC(".maps");

/* A record is built here: the stack has 512 bytes. 0 for tracepoints, 1 for the iterator, which they may interrupt. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, u32);
	__type(value, struct record);
} scratch SEC(".maps");

static __always_inline struct record *new_record(u32 slot, u32 kind, struct task_struct *task)
{
	struct record *record = bpf_map_lookup_elem(&scratch, &slot);

	if (!record)
		return NULL;
	record->kind = kind;
	record->exe_len = 0;
	record->cgroup_len = 0;
	record->cut = 0;
	record->parent_tgid = 0;
	record->parent_start = 0;
	tell_who(&record->who, task);
	return record;
}

/* A walk upwards, one step a call of bpf_loop: a plain loop makes the verifier follow every path through it. */
struct walk {
	struct record *record;
	struct dentry *dentry;
	struct mount *mnt;
	struct kernfs_node *node;
	u32 used; /* bytes of record->text */
	bool whole; /* the root was reached */
};

/* Appends one name; false if it does not fit. */
static __always_inline bool add_name(struct walk *walk, const void *name)
{
	struct record *record = walk->record;
	u32 used = walk->used;
	long bytes;

	if (used > TEXT_BYTES - NAME_BYTES)
		return false;
	bytes = bpf_probe_read_kernel_str(&record->text[used], NAME_BYTES, name);
	if (bytes <= 0)
		return false;
	walk->used = used + bytes;
	return true;
}

static long exe_step(u64 depth, struct walk *walk)
{
	struct dentry *dentry = walk->dentry;
	struct dentry *parent = BPF_CORE_READ(dentry, d_parent);
	struct mount *mnt = walk->mnt;
	struct mount *up;

	if (dentry != parent && dentry != BPF_CORE_READ(mnt, mnt.mnt_root)) {
		walk->dentry = parent;
		return !add_name(walk, BPF_CORE_READ(dentry, d_name.name));
	}
	if (depth == 0) /* a memfd has a name and no place */
		add_name(walk, BPF_CORE_READ(dentry, d_name.name));
	up = BPF_CORE_READ(mnt, mnt_parent);
	if (up == mnt || !up) {
		walk->whole = true;
		return 1;
	}
	walk->dentry = BPF_CORE_READ(mnt, mnt_mountpoint);
	walk->mnt = up;
	return 0;
}

/* The path as /proc/PID/exe shows it: up through the mounts to the root of the mount namespace. */
static __always_inline void add_exe(struct walk *walk, struct file *file)
{
	struct vfsmount *vfs = BPF_CORE_READ(file, f_path.mnt);

	walk->dentry = BPF_CORE_READ(file, f_path.dentry);
	walk->mnt = (void *)vfs - bpf_core_field_offset(struct mount, mnt);
	bpf_loop(PATH_DEPTH, exe_step, walk, 0);
	walk->record->cut = !walk->whole;
}

static long cgroup_step(u64 depth, struct walk *walk)
{
	struct kernfs_node *node = walk->node;
	struct kernfs_node___6_13 *old = (void *)node;

	walk->node = bpf_core_field_exists(node->__parent) ? BPF_CORE_READ(node, __parent) :
							      BPF_CORE_READ(old, parent);
	if (!walk->node) /* the root's name is empty */
		return 1;
	return !add_name(walk, BPF_CORE_READ(node, name));
}

static __always_inline void add_cgroup(struct walk *walk, struct task_struct *task)
{
	u32 before = walk->used;

	walk->node = BPF_CORE_READ(task, cgroups, dfl_cgrp, kn);
	bpf_loop(CGROUP_DEPTH, cgroup_step, walk, 0);
	if (walk->node)
		walk->record->cut |= 2;
	else
		walk->record->cgroup_len = walk->used - before;
}

static __always_inline void add_paths(struct record *record, struct file *file, struct task_struct *task)
{
	struct walk walk = { .record = record };

	if (file)
		add_exe(&walk, file);
	record->exe_len = walk.used;
	add_cgroup(&walk, task);
}

static __always_inline u64 record_bytes(struct record *record)
{
	u64 text = (u64)record->exe_len + record->cgroup_len;

	if (text > TEXT_BYTES)
		text = TEXT_BYTES;
	return __builtin_offsetof(struct record, text) + text;
}

static __always_inline void tell(struct record *record)
{
	/* No wake-up: the drain comes by the clock anyway. */
	if (bpf_ringbuf_output(&events, record, record_bytes(record), BPF_RB_NO_WAKEUP))
		count_lost(0);
}

/* A process is in another cgroup now than it, or its maker, was; `by` is who put it there. */
static __always_inline void tell_regrouped(struct task_struct *task, struct task_struct *by)
{
	struct record *record = new_record(0, REGROUPED, task);

	if (!record)
		return;
	record->parent_tgid = by->tgid;
	record->parent_start = by->group_leader->start_boottime;
	add_paths(record, NULL, task);
	tell(record);
}

/* A thread alone, too: what it does is told with its own cgroup. And of a hierarchy of version 1: what is told is the cgroup in
 * that of version 2, and says nothing new then. */
SEC("tp_btf/cgroup_attach_task")
int BPF_PROG(on_regroup, struct cgroup *to, const char *path, struct task_struct *task)
{
	tell_regrouped(task, bpf_get_current_task_btf());
	return 0;
}

SEC("tp_btf/sched_process_fork")
int BPF_PROG(on_fork, struct task_struct *parent, struct task_struct *child)
{
	struct record *record;

	if (child->pid != child->tgid) /* a thread */
		return 0;
	record = new_record(0, FORK, child);
	if (!record)
		return 0;
	record->parent_tgid = parent->tgid;
	record->parent_start = parent->group_leader->start_boottime;
	/* Born elsewhere (CLONE_INTO_CGROUP), it was put there by its maker: told as that. */
	record->who.cgroup = parent->cgroups->dfl_cgrp->kn->id;
	tell(record);
	if (child->cgroups->dfl_cgrp->kn->id != parent->cgroups->dfl_cgrp->kn->id)
		tell_regrouped(child, parent);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task, int old_pid, struct linux_binprm *bprm)
{
	struct record *record = new_record(0, EXEC, task);

	if (!record)
		return 0;
	add_paths(record, bprm->file, task);
	tell(record);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int BPF_PROG(on_exit, struct task_struct *task)
{
	struct record *record;

	if (task->signal->live.counter > 0) /* other threads live on */
		return 0;
	record = new_record(0, EXIT, task);
	if (record)
		tell(record);
	return 0;
}

SEC("iter/task")
int list_tasks(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;
	struct record *record;
	struct task_struct *parent;

	if (!task || task->pid != task->tgid || task->signal->live.counter <= 0)
		return 0;
	record = new_record(1, KNOWN, task);
	if (!record)
		return 0;
	parent = task->real_parent;
	record->parent_tgid = parent->tgid;
	record->parent_start = parent->group_leader->start_boottime;
	add_paths(record, BPF_CORE_READ(task, mm, exe_file), task);
	bpf_seq_write(ctx->meta->seq, record, record_bytes(record));
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
