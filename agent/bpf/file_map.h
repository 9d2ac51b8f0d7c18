/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Reads through mappings. */
#ifndef JAGA_FILE_MAP_H
#define JAGA_FILE_MAP_H
#include "file_mapped.h"

/* Global, so that the verifier checks it once: as part of the loop below it takes two seconds. */
int mapped(u64 inode_address)
{
	book(bpf_core_cast((void *)inode_address, struct inode));
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
