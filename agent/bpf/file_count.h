/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* The table of what each process did with each file. */
#ifndef JAGA_FILE_COUNT_H
#define JAGA_FILE_COUNT_H
#include "store.h"
#include "file_entry.h"

enum {
	TABLE_ENTRIES = 262144,
	LABELLED = 65536, /* as many as the engine keeps labels */
};

COUNTS(struct key, struct value, TABLE_ENTRIES);

/* Files that were told as written, so that their end is told too; the oldest are forgotten, and their labels then
 * live for their time. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, LABELLED);
	__type(key, struct file_id);
	__type(value, u8);
} labelled SEC(".maps");

/* What was read of each store and found the table full: names are lost, totals are not. */
enum { STORES = 64 };
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, STORES);
	__type(key, u32);
	__type(value, u64);
} overflow SEC(".maps");

static __always_inline void no_room(s32 store, u32 kind, u64 bytes)
{
	u32 index = store;
	u64 *sum;

	count_lost(bytes);
	if (kind == WRITE || kind == BELOW || store < 0)
		return;
	sum = bpf_map_lookup_elem(&overflow, &index);
	if (sum)
		*sum += bytes;
}

/* Reads: of the stores, and of what may be a staging file. Writes: outside the stores. */
static __always_inline bool is_told(struct verdict *verdict, u32 kind)
{
	if (kind == WRITE)
		return verdict->store < 0;
	return verdict->store >= 0 || verdict->young;
}

static __always_inline struct value *new_entry(void *table, struct key *key, struct inode *inode, u64 bytes, u64 now)
{
	u32 zero = 0;
	struct settings *set = bpf_map_lookup_elem(&settings, &zero);
	struct value *value, first = {};
	struct verdict verdict;
	u8 yes = 1;

	if (!set)
		return NULL;
	verdict = judge(inode, &key->file, set, now);
	if (!is_told(&verdict, key->kind))
		return NULL;
	if (key->kind == WRITE)
		bpf_map_update_elem(&labelled, &key->file, &yes, BPF_ANY);
	first.store = verdict.store;
	bpf_map_update_elem(table, key, &first, BPF_NOEXIST); /* or another thread was quicker */
	value = bpf_map_lookup_elem(table, key);
	if (!value)
		no_room(verdict.store, key->kind, bytes);
	return value;
}

static __always_inline void count_of(struct task_struct *task, struct inode *inode, u32 kind, u64 bytes, u64 size)
{
	u64 now = bpf_ktime_get_boot_ns();
	u32 zero = 0;
	void *table = bpf_map_lookup_elem(&counts, &zero);
	struct value *value;
	struct key key = {};

	if (!table || !bytes)
		return;
	identify(&key.file, inode);
	key.start = task->group_leader->start_boottime;
	key.tgid = task->tgid;
	key.kind = kind;
	value = bpf_map_lookup_elem(table, &key);
	if (!value)
		value = new_entry(table, &key, inode, bytes, now);
	if (!value)
		return;
	__sync_fetch_and_add(&value->bytes, bytes);
	value->size = size;
	value->last_at = now;
	tell_who(&value->who, task);
}

static __always_inline void count(struct inode *inode, u32 kind, u64 bytes, u64 size)
{
	count_of(bpf_get_current_task_btf(), inode, kind, bytes, size);
}

#endif
