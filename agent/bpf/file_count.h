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
	if (kind == WRITE || store < 0)
		return;
	sum = bpf_map_lookup_elem(&overflow, &index);
	if (sum)
		*sum += bytes;
}

/* Reads: of the stores, and of what may be a staging file. Writes: outside the stores. */
static __always_inline bool is_told(s32 store, u32 kind, struct inode *inode)
{
	if (kind == WRITE)
		return store < 0;
	return store >= 0 || is_young(inode);
}

/* Puts in the first of a process's reads or writes of a file; returns the entry if there is one already. */
static __always_inline struct value *begin(void *table, struct key *key, struct value *first, struct inode *inode)
{
	u32 zero = 0;
	struct settings *set = bpf_map_lookup_elem(&settings, &zero);
	struct value *value;
	u8 yes = 1;

	if (!set)
		return NULL;
	first->store = set->any_roots ? find_store(inode, set, first->last_at) : -1;
	if (!is_told(first->store, key->kind, inode))
		return NULL;
	if (key->kind == WRITE)
		bpf_map_update_elem(&labelled, &key->file, &yes, BPF_ANY);
	if (!bpf_map_update_elem(table, key, first, BPF_NOEXIST))
		return NULL;
	value = bpf_map_lookup_elem(table, key); /* another thread was quicker, or the table is full */
	if (!value)
		no_room(first->store, key->kind, first->bytes);
	return value;
}

static __always_inline void count_of(struct task_struct *task, struct inode *inode, u32 kind, u64 bytes, u64 size)
{
	struct value *value, now = { .bytes = bytes, .size = size, .last_at = bpf_ktime_get_boot_ns() };
	u32 zero = 0;
	void *table = bpf_map_lookup_elem(&counts, &zero);
	struct key key = {};

	if (!table || !bytes)
		return;
	identify(&key.file, inode);
	key.start = task->group_leader->start_boottime;
	key.tgid = task->tgid;
	key.kind = kind;
	tell_who(&now.who, task);
	value = bpf_map_lookup_elem(table, &key);
	if (!value)
		value = begin(table, &key, &now, inode);
	if (!value)
		return;
	__sync_fetch_and_add(&value->bytes, bytes);
	value->size = size;
	value->last_at = now.last_at;
	value->who = now.who;
}

static __always_inline void count(struct inode *inode, u32 kind, u64 bytes, u64 size)
{
	count_of(bpf_get_current_task_btf(), inode, kind, bytes, size);
}

#endif
