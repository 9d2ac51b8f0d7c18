// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
// Counts what each process reads and writes of each regular file, whichever system call it uses.
#include "jaga.bpf.h"

enum { S_IFMT = 00170000, S_IFREG = 0100000 };
enum { PAGE_SHIFT = 12 }; /* x86_64, and aarch64 as the distributions build it */
enum { BTRFS_MAGIC = 0x9123683e, EXT4_MAGIC = 0xef53, XFS_MAGIC = 0x58465342 };
enum { ITER_SOURCE = 1 }; /* the iterator is what is written from */

enum {
	TABLE_ENTRIES = 262144,
	ROOTS = 4096,
	VERDICTS = 16384,
	BOOKED = 16384,
	LABELLED = 65536, /* as many as the engine keeps labels */
	DEPTH = 24, /* directories between a file and its store's root */
	ALIASES = 8, /* names of a hard-linked file that are looked at */
};
#define LABEL_LIFE_SECS (7 * 24 * 3600ULL)
#define VERDICT_NS 1000000000ULL
#define BOOK_AGAIN_NS (3600 * 1000000000ULL)

enum kind { READ = 0, MAPPED = 1, WRITE = 2 };

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
struct address_space {
	struct inode *host;
	atomic_t i_mmap_writable;
};
struct kiocb {
	struct file *ki_filp;
	s64 ki_pos;
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
struct btrfs_root {
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
struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	u32 fd;
	struct file *file;
};
#pragma clang attribute pop

enum pageflags___local { PG_head___local };

/* A file, whatever its names: device numbers and paths change, these do not. */
struct file_id {
	u64 fs; /* mixed from the file system's UUID and subvolume, else from its device number */
	u64 inode;
	u32 generation;
	u32 reserved;
};

struct key {
	struct file_id file;
	u64 start;
	u32 tgid;
	u32 kind;
};

struct value {
	u64 bytes;
	u64 size;
	u64 last_at; /* CLOCK_BOOTTIME ns */
	s64 store; /* -1 = outside every store */
	struct who who; /* as of the last access */
};

COUNTS(struct key, struct value, TABLE_ENTRIES);

/* What user space sets. */
struct settings {
	u32 roots_version; /* a verdict by older roots does not count */
	u32 any_roots;
	u32 list_tgid; /* whose open files `list_files` lists */
	u32 exact_writes; /* 1: ext4's own hooks count its writes; 2: xfs's */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct settings);
} settings SEC(".maps");

/* A directory (or file) at which a store begins; inode 0 = this file system has such a place. */
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

/* What was found out about a file, for a second: hot files are not walked at each read. */
struct verdict {
	u64 until;
	u32 roots_version;
	s32 store;
	u64 young; /* it may be a staging file */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, VERDICTS);
	__type(key, struct file_id);
	__type(value, struct verdict);
} verdicts SEC(".maps");

/* Files that were told as written, so that their end is told too; the oldest are forgotten, and their labels then
 * live for their time. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, LABELLED);
	__type(key, struct file_id);
	__type(value, u8);
} labelled SEC(".maps");

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

static __always_inline void identify(struct file_id *id, struct inode *inode)
{
	id->fs = file_system(inode);
	id->inode = inode->i_ino;
	id->generation = inode->i_generation;
	id->reserved = 0;
}

/* The climb from a file towards the root of its file system, in search of a store. */
struct climb {
	u64 fs;
	struct dentry *dentry;
	struct hlist_node *alias;
	s32 store;
	bool btrfs;
};

static __always_inline s32 store_at(u64 fs, u64 inode)
{
	struct root root = { .fs = fs, .inode = inode };
	u32 *store = bpf_map_lookup_elem(&roots, &root);

	return store ? (s32)*store : -1;
}

static long climb_step(u64 depth, struct climb *climb)
{
	struct dentry *dentry = climb->dentry;
	struct inode *inode = BPF_CORE_READ(dentry, d_inode);
	u64 fs = climb->fs;

	/* A directory tree of btrfs spans subvolumes, whose inode numbers repeat. */
	if (climb->btrfs)
		fs = mix(fs, subvolume(inode));
	climb->store = store_at(fs, BPF_CORE_READ(inode, i_ino));
	if (climb->store >= 0)
		return 1;
	climb->dentry = BPF_CORE_READ(dentry, d_parent);
	return climb->dentry == dentry;
}

static long alias_step(u64 i, struct climb *climb)
{
	struct hlist_node *alias = climb->alias;

	if (!alias)
		return 1;
	climb->dentry = (void *)alias - bpf_core_field_offset(struct dentry, d_u.d_alias);
	bpf_loop(DEPTH, climb_step, climb, 0);
	climb->alias = BPF_CORE_READ(alias, next);
	return climb->store >= 0;
}

static __always_inline s32 find_store(struct inode *inode)
{
	struct super_block *sb = inode->i_sb;
	struct climb climb = { .store = -1 };

	climb.btrfs = sb->s_magic == BTRFS_MAGIC;
	climb.fs = super_id(sb);
	if (store_at(climb.fs, 0) < 0) /* no store on this file system */
		return -1;
	climb.alias = inode->i_dentry.first;
	bpf_loop(ALIASES, alias_step, &climb, 0);
	return climb.store;
}

/* A file that changed within a label's life, or that has a second name: it may carry what was taken from a
 * store. utimes cannot set ctime back. */
static __always_inline bool is_young(struct inode *inode)
{
	struct inode___6_10 *old = (void *)inode;
	s64 now = bpf_ktime_get_tai_ns() / 1000000000ULL; /* some 37 s ahead of the wall clock: no matter */
	s64 changed = now;

	if (bpf_core_field_exists(inode->i_ctime_sec))
		changed = inode->i_ctime_sec;
	else if (bpf_core_field_exists(old->__i_ctime))
		changed = BPF_CORE_READ(old, __i_ctime.tv_sec);
	return inode->i_nlink > 1 || changed + (s64)LABEL_LIFE_SECS > now;
}

static __always_inline struct verdict judge(struct inode *inode, struct file_id *id, struct settings *set, u64 now)
{
	struct verdict *known = bpf_map_lookup_elem(&verdicts, id);
	struct verdict fresh = {};

	if (known && known->until > now && known->roots_version == set->roots_version)
		return *known;
	fresh.until = now + VERDICT_NS;
	fresh.roots_version = set->roots_version;
	fresh.store = set->any_roots ? find_store(inode) : -1;
	fresh.young = is_young(inode);
	bpf_map_update_elem(&verdicts, id, &fresh, BPF_ANY);
	return fresh;
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
		count_lost(bytes);
	return value;
}

static __always_inline void count(struct inode *inode, u32 kind, u64 bytes, u64 size)
{
	struct task_struct *task = bpf_get_current_task_btf();
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

static __always_inline bool is_regular(struct inode *inode)
{
	return inode && (inode->i_mode & S_IFMT) == S_IFREG;
}

/* Bytes of [from, to) that exist. */
static __always_inline u64 clamp(u64 from, u64 to, u64 size)
{
	if (to > size)
		to = size;
	return to > from ? to - from : 0;
}

/* A read in pages, which one task does in several calls to filemap_get_pages with the same end. */
struct span {
	struct address_space *mapping;
	u64 index;
	u64 last;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct span);
} spans SEC(".maps");

/* sendfile, splice, readv, io_uring, nfsd: whole pages, each once a read; the page in which one read ends and the
 * next begins is counted once. */
static __always_inline u64 paged_bytes(struct address_space *mapping, u64 index, u64 last, u64 size)
{
	struct span *span = bpf_task_storage_get(&spans, bpf_get_current_task_btf(), NULL,
						 BPF_LOCAL_STORAGE_GET_F_CREATE);
	u64 from = index;

	if (span && span->mapping == mapping) {
		if (span->last == last && index > span->index) {
			span->index = index;
			return 0;
		}
		if (span->last == index)
			from = index + 1;
	}
	if (span) {
		span->mapping = mapping;
		span->index = index;
		span->last = last;
	}
	return clamp(from << PAGE_SHIFT, (last + 1) << PAGE_SHIFT, size);
}

static __always_inline struct file *file_of(struct task_struct *task, u32 fd)
{
	struct fdtable *table = task->files->fdt;
	struct file *file = NULL;

	if (fd >= table->max_fds)
		return NULL;
	bpf_probe_read_kernel(&file, sizeof(file), &table->fd[fd]);
	return file;
}

/* Where read or pread64 began and how much it wants, if that is what the task is doing with this file. */
static __always_inline bool asked(struct address_space *mapping, u64 *pos, u64 *want)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(task);
	u64 nr = SYSCALL_NR(regs);
	struct file *file;

	if (task->flags & (PF_KTHREAD | PF_IO_WORKER) || (nr != NR_READ && nr != NR_PREAD64))
		return false;
	file = file_of(task, SYSCALL_ARG1(regs));
	if (!file || BPF_CORE_READ(file, f_mapping) != mapping)
		return false;
	*pos = nr == NR_READ ? BPF_CORE_READ(file, f_pos) : SYSCALL_ARG4(regs);
	*want = SYSCALL_ARG3(regs);
	return true;
}

SEC("tp_btf/mm_filemap_get_pages")
int BPF_PROG(on_read, struct address_space *mapping, unsigned long index, unsigned long last)
{
	struct inode *inode = mapping->host;
	u64 pos, want, bytes, size;

	if (!is_regular(inode))
		return 0;
	size = inode->i_size;
	if (!asked(mapping, &pos, &want))
		bytes = paged_bytes(mapping, index, last, size);
	else if (index == pos >> PAGE_SHIFT)
		bytes = clamp(pos, pos + want, size);
	else
		bytes = 0; /* a later part of a read that was counted when it began */
	count(inode, READ, bytes, size);
	return 0;
}

SEC("tp_btf/iomap_dio_rw_begin")
int BPF_PROG(on_direct, struct kiocb *kiocb, struct iov_iter *iter)
{
	struct inode *inode = kiocb->ki_filp->f_mapping->host;
	u64 pos = kiocb->ki_pos, want = iter->count, size;

	if (!is_regular(inode))
		return 0;
	size = inode->i_size;
	if (iter->data_source == ITER_SOURCE)
		count(inode, WRITE, want, pos + want > size ? pos + want : size);
	else
		count(inode, READ, clamp(pos, pos + want, size), size);
	return 0;
}

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

/* At its first fault a process is booked the whole file, as an estimate: no hook sees mmap() with its file, and a
 * fault may show 64 KiB or, with large folios, 2 MiB that no tracepoint tells. Again each hour, while it faults. */
static __noinline int mapped(struct inode *inode)
{
	struct task_struct *task = bpf_get_current_task_btf();
	u64 now = bpf_ktime_get_boot_ns();
	struct mapping_of key = {};
	u64 *at;

	if (!is_regular(inode))
		return 0;
	identify(&key.file, inode);
	key.start = task->group_leader->start_boottime;
	key.tgid = task->tgid;
	at = bpf_map_lookup_elem(&booked, &key);
	if (at && now - *at < BOOK_AGAIN_NS)
		return 0;
	bpf_map_update_elem(&booked, &key, &now, BPF_ANY);
	count(inode, MAPPED, inode->i_size, inode->i_size);
	return 0;
}

SEC("tp_btf/mm_filemap_map_pages")
int BPF_PROG(on_map, struct address_space *mapping)
{
	mapped(mapping->host);
	return 0;
}

SEC("tp_btf/mm_filemap_fault")
int BPF_PROG(on_fault, struct address_space *mapping)
{
	mapped(mapping->host);
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
			mapped(vma->vm_file->f_inode);
	bpf_iter_task_vma_destroy(&vmas);
	return 0;
}

static __always_inline u64 folio_pages(struct folio *folio)
{
	struct folio___6_17 *old = (void *)folio;
	struct folio___6_14 *older = (void *)folio;
	u64 head = 1ULL << bpf_core_enum_value(enum pageflags___local, PG_head___local);
	u64 flags;

	if (bpf_core_field_exists(folio->flags))
		flags = BPF_CORE_READ(folio, flags.f);
	else
		flags = BPF_CORE_READ(old, flags);
	if (!(flags & head))
		return 1;
	if (bpf_core_field_exists(folio->_nr_pages))
		return BPF_CORE_READ(folio, _nr_pages);
	return BPF_CORE_READ(older, _folio_nr_pages);
}

/* A file system whose writes are counted to the byte by a hook of its own; shared writable mappings aside. */
static __always_inline bool counted_elsewhere(struct address_space *mapping, struct inode *inode)
{
	u32 zero = 0;
	struct settings *set = bpf_map_lookup_elem(&settings, &zero);
	u64 magic = inode->i_sb->s_magic;

	if (!set || mapping->i_mmap_writable.counter > 0)
		return false;
	return (magic == EXT4_MAGIC && set->exact_writes & 1) || (magic == XFS_MAGIC && set->exact_writes & 2);
}

SEC("tp_btf/writeback_dirty_folio")
int BPF_PROG(on_dirty, struct folio *folio, struct address_space *mapping)
{
	struct inode *inode;
	u64 pages;

	if (!mapping) /* truncated meanwhile */
		return 0;
	inode = mapping->host;
	if (!is_regular(inode) || counted_elsewhere(mapping, inode))
		return 0;
	pages = folio_pages(folio);
	count(inode, WRITE, pages << PAGE_SHIFT, (folio->index + pages) << PAGE_SHIFT);
	return 0;
}

static __always_inline void written(struct inode *inode, u64 pos, u64 bytes)
{
	u64 size = inode->i_size;

	if (is_regular(inode))
		count(inode, WRITE, bytes, pos + bytes > size ? pos + bytes : size);
}

/* ext4's three ways of ending a buffered write: to the byte, and also where the page was dirty already. */
SEC("tp_btf/ext4_da_write_end")
int BPF_PROG(on_ext4_delayed, struct inode *inode, s64 pos, unsigned int len, unsigned int copied)
{
	written(inode, pos, copied);
	return 0;
}

SEC("tp_btf/ext4_write_end")
int BPF_PROG(on_ext4_write, struct inode *inode, s64 pos, unsigned int len, unsigned int copied)
{
	written(inode, pos, copied);
	return 0;
}

SEC("tp_btf/ext4_journalled_write_end")
int BPF_PROG(on_ext4_journalled, struct inode *inode, s64 pos, unsigned int len, unsigned int copied)
{
	written(inode, pos, copied);
	return 0;
}

SEC("tp_btf/xfs_file_buffered_write")
int BPF_PROG(on_xfs_write, struct kiocb *kiocb, struct iov_iter *iter)
{
	written(kiocb->ki_filp->f_inode, kiocb->ki_pos, iter->count);
	return 0;
}

/* A file that was told as written is no more, or is empty. */
struct gone {
	struct file_id file;
	u64 at; /* CLOCK_BOOTTIME ns */
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4 << 20); /* 65,536 files between two rounds */
} gone SEC(".maps");

static __always_inline void tell_gone(struct inode *inode)
{
	struct gone record = {};

	if (!is_regular(inode))
		return;
	identify(&record.file, inode);
	if (!bpf_map_lookup_elem(&labelled, &record.file)) /* nobody was told of it */
		return;
	record.at = bpf_ktime_get_boot_ns();
	if (bpf_ringbuf_output(&gone, &record, sizeof(record), BPF_RB_NO_WAKEUP))
		count_lost(0);
	if (!inode->i_nlink)
		bpf_map_delete_elem(&labelled, &record.file);
}

SEC("tp_btf/ext4_evict_inode")
int BPF_PROG(on_ext4_evict, struct inode *inode)
{
	if (!inode->i_nlink)
		tell_gone(inode);
	return 0;
}

SEC("tp_btf/ext4_truncate_enter")
int BPF_PROG(on_ext4_truncate, struct inode *inode)
{
	if (!inode->i_size)
		tell_gone(inode);
	return 0;
}

SEC("tp_btf/btrfs_inode_evict")
int BPF_PROG(on_btrfs_evict, struct inode *inode)
{
	if (!inode->i_nlink)
		tell_gone(inode);
	return 0;
}

/* Who is who among the files that user space has opened: the same identity, computed by the same code. */
struct listed {
	u32 fd;
	u32 reserved;
	struct file_id file;
	u64 super_id; /* the file system, subvolumes aside */
};

SEC("iter/task_file")
int list_files(struct bpf_iter__task_file *ctx)
{
	u32 zero = 0;
	struct settings *set = bpf_map_lookup_elem(&settings, &zero);
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct listed listed = {};

	if (!task || !file || !set || (u32)task->tgid != set->list_tgid)
		return 0;
	listed.fd = ctx->fd;
	listed.super_id = super_id(file->f_inode->i_sb);
	identify(&listed.file, file->f_inode);
	bpf_seq_write(ctx->meta->seq, &listed, sizeof(listed));
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
