// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
// Tells who gets at the memory of another process.
#include "jaga.bpf.h"

enum { MODE_ATTACH = 2 }; /* PTRACE_MODE_ATTACH, include/linux/ptrace.h */

/* Process ids are used again: with the time of their start they are not. */
struct pair {
	u64 by_start;
	u64 of_start;
	u32 by;
	u32 of;
};

/* When it was told last, CLOCK_BOOTTIME ns: a debugger asks for every word. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct pair);
	__type(value, u64);
} told SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 << 10);
} events SEC(".maps");

/* The kernel asks this of whoever wants to trace a process, to read its memory (process_vm_readv), or to open /proc/PID/mem.
 * Whoever only looks at it (ps, top) asks in another mode. */
SEC("fexit/security_ptrace_access_check")
int BPF_PROG(on_access, struct task_struct *child, unsigned int mode, int ret)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct pair pair = {};
	u64 now = bpf_ktime_get_boot_ns(), *last;

	if (ret || !(mode & MODE_ATTACH))
		return 0;
	pair.by = task->tgid;
	pair.by_start = BPF_CORE_READ(task, group_leader, start_boottime);
	pair.of = BPF_CORE_READ(child, tgid);
	pair.of_start = BPF_CORE_READ(child, group_leader, start_boottime);
	last = bpf_map_lookup_elem(&told, &pair);
	if (last && now - *last < 5000000000ULL)
		return 0;
	bpf_map_update_elem(&told, &pair, &now, BPF_ANY);
	if (bpf_ringbuf_output(&events, &pair, sizeof(pair), BPF_RB_NO_WAKEUP))
		count_lost(0);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
