/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Reads through mappings. */
#ifndef JAGA_FILE_MAP_H
#define JAGA_FILE_MAP_H
#include "file_count.h"

enum { BOOKED = 16384 };
#define BOOK_AGAIN_NS (3600 * 1000000000ULL)

/* Files that a process has mapped and that were booked to it: when. */
struct mapping_of {
	struct file_id file;
	u64 start;
	u64 tgid;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, BOOKED);
	__type(key, struct mapping_of);
	__type(value, u64);
} booked SEC(".maps");

/* Whether this process is to be booked this file now. */
static __always_inline bool is_due(struct task_struct *task, struct inode *inode)
{
	u64 now = bpf_ktime_get_boot_ns();
	struct mapping_of key = {};
	u64 *at;

	identify(&key.file, inode);
	key.start = task->group_leader->start_boottime;
	key.tgid = task->tgid;
	at = bpf_map_lookup_elem(&booked, &key);
	if (at && now - *at < BOOK_AGAIN_NS)
		return false;
	bpf_map_update_elem(&booked, &key, &now, BPF_ANY);
	return true;
}

/* Global, so that the verifier checks it once: as part of the loop below it takes two seconds.
 *
 * At its first fault a process is booked the whole file, as an estimate: no hook sees mmap() with its file, and a
 * fault may show 64 KiB or, with large folios, 2 MiB that no tracepoint tells. Again each hour, while it faults. */
int mapped(u64 inode_address)
{
	struct inode *inode = bpf_core_cast((void *)inode_address, struct inode);

	if (is_regular(inode) && is_due(bpf_get_current_task_btf(), inode))
		count(inode, MAPPED, inode->i_size, inode->i_size);
	return 0;
}

/* What is mapped already when a store is named: what was touched before faults no more. Files outside the stores are
 * left out: every process has some of these mapped, the libraries. */
SEC("iter/task_vma")
int book_mapped(struct bpf_iter__task_vma *ctx)
{
	u32 zero = 0;
	struct settings *set = bpf_map_lookup_elem(&settings, &zero);
	struct task_struct *task = ctx->task;
	struct vm_area_struct *vma = ctx->vma;
	struct file_id id;
	struct inode *inode;

	if (!task || !vma || !set || !set->any_roots || !vma->vm_file)
		return 0;
	inode = vma->vm_file->f_inode;
	if (!is_regular(inode))
		return 0;
	identify(&id, inode);
	if (judge(inode, &id, set, bpf_ktime_get_boot_ns()).store >= 0 && is_due(task, inode))
		count_of(task, inode, MAPPED, inode->i_size, inode->i_size);
	return 0;
}

SEC("tp_btf/mm_filemap_map_pages")
int BPF_PROG(on_map, struct address_space *mapping)
{
	mapped((u64)BPF_CORE_READ(mapping, host));
	return 0;
}

SEC("tp_btf/mm_filemap_fault")
int BPF_PROG(on_fault, struct address_space *mapping)
{
	mapped((u64)BPF_CORE_READ(mapping, host));
	return 0;
}

enum { MM_FILEPAGES = 0, HUGE_PAGES = 512, VMAS = 4096 };
#define SCAN_AGAIN_NS 100000000ULL

struct bpf_iter_task_vma {
	u64 opaque[1];
} __attribute__((aligned(8)));
extern int bpf_iter_task_vma_new(struct bpf_iter_task_vma *it, struct task_struct *task, u64 address) __ksym;
extern struct vm_area_struct *bpf_iter_task_vma_next(struct bpf_iter_task_vma *it) __ksym;
extern void bpf_iter_task_vma_destroy(struct bpf_iter_task_vma *it) __ksym;

/* A process's mapped file pages, as last seen. */
struct resident {
	s64 pages;
	u64 scanned_at;
	s64 vmas_left; /* of a scan; here, because the verifier would follow a counter that it can see */
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct resident);
} residents SEC(".maps");

/* A huge page of a file that is cached already is mapped without any tracepoint but this one, which tells no file:
 * so the process is booked all that it has mapped. */
SEC("tp_btf/rss_stat")
int BPF_PROG(on_resident, struct mm_struct *mm, int member)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct mm_struct___rss *stat = (void *)mm;
	struct bpf_iter_task_vma vmas;
	struct vm_area_struct *vma;
	struct resident *resident;
	s64 pages, grown;
	u64 now;

	if (member != MM_FILEPAGES || task->mm != mm)
		return 0;
	pages = BPF_CORE_READ(stat, rss_stat[MM_FILEPAGES].count);
	resident = bpf_task_storage_get(&residents, task->group_leader, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!resident)
		return 0;
	grown = pages - resident->pages;
	resident->pages = pages;
	now = bpf_ktime_get_boot_ns();
	if (grown < HUGE_PAGES || now - resident->scanned_at < SCAN_AGAIN_NS)
		return 0;
	resident->scanned_at = now;
	resident->vmas_left = VMAS;
	bpf_iter_task_vma_new(&vmas, task, 0);
	while (resident->vmas_left-- > 0 && (vma = bpf_iter_task_vma_next(&vmas)))
		if (vma->vm_file)
			mapped((u64)BPF_CORE_READ(vma, vm_file, f_inode));
	bpf_iter_task_vma_destroy(&vmas);
	return 0;
}

#endif
