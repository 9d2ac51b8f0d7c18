/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What a process puts into a local socket and another takes out, and what comes in from a remote store: the same on
 * every rung. A channel is told like a file that is written and read. */
#ifndef JAGA_CHANNEL_H
#define JAGA_CHANNEL_H
#include "sock.h"
#include "file_entry.h"

enum { TABLE_ENTRIES = 65536, REMOTES = 4096 };
/* In the place of a file system; the same as FileId::CHANNEL in rules/src/event.rs. */
#define CHANNEL 0x6a6167612f6c6f63ULL
#define REMOTE_STORE 0x6a6167612f72656dULL

COUNTS(struct key, struct value, TABLE_ENTRIES);

/* Where stores are that lie on other hosts: an address range, IPv4 as ::ffff:a.b.c.d. */
struct range {
	u32 bits;
	u8 address[16];
};

struct remote {
	u32 store; /* its index */
	u32 port; /* from which its data comes; 0 = any */
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, REMOTES);
	__type(key, struct range);
	__type(value, struct remote);
} remotes SEC(".maps");

struct settings {
	u32 any_remotes;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct settings);
} settings SEC(".maps");

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct unix_sock {
	struct sock *peer;
};
#pragma clang attribute pop

struct ends {
	u8 local[16];
	u8 remote[16];
	u16 local_port;
	u16 remote_port;
	u32 netns;
};

static __always_inline void v4_in_v6(u8 *into, __be32 address)
{
	__builtin_memset(into, 0, 16);
	*(u16 *)(into + 10) = 0xffff;
	*(u32 *)(into + 12) = address;
}

static __always_inline void ends_of(struct ends *ends, struct sock *sk)
{
	if (sk->__sk_common.skc_family == AF_INET) {
		v4_in_v6(ends->local, sk->__sk_common.skc_rcv_saddr);
		v4_in_v6(ends->remote, sk->__sk_common.skc_daddr);
	} else {
		bpf_core_read(ends->local, 16, &sk->__sk_common.skc_v6_rcv_saddr);
		bpf_core_read(ends->remote, 16, &sk->__sk_common.skc_v6_daddr);
	}
	ends->local_port = sk->__sk_common.skc_num;
	ends->remote_port = bpf_ntohs(sk->__sk_common.skc_dport);
	ends->netns = sk->__sk_common.skc_net.net->ns.inum;
}

static __always_inline bool is_loopback(const u8 *address)
{
	return !*(u64 *)address && *(u16 *)(address + 8) == 0 && *(u16 *)(address + 10) == 0xffff && address[12] == 127;
}

/* Connections of this host to itself have the same address at both ends, or are of 127/8. */
static __always_inline bool stays_here(struct ends *ends)
{
	u64 *local = (u64 *)ends->local, *remote = (u64 *)ends->remote;

	if (local[0] == remote[0] && local[1] == remote[1])
		return true;
	return is_loopback(ends->local) || is_loopback(ends->remote);
}

/* One direction of a connection, from whichever end it is looked at: named after the end that takes. */
static __always_inline u64 direction(struct ends *ends, bool takes)
{
	u64 *taker = (u64 *)(takes ? ends->local : ends->remote);
	u64 *giver = (u64 *)(takes ? ends->remote : ends->local);
	u64 ports = takes ? (u64)ends->local_port << 16 | ends->remote_port :
			    (u64)ends->remote_port << 16 | ends->local_port;

	return mix(mix(taker[0] ^ giver[0] << 1, taker[1]), mix(giver[1], ports << 32 | ends->netns));
}

static __always_inline void count(struct file_id *channel, struct task_struct *task, u32 kind, u64 bytes, s64 store)
{
	u32 zero = 0;
	void *table = bpf_map_lookup_elem(&counts, &zero);
	struct value *value, first = { .store = store };
	struct key key = { .file = *channel, .kind = kind };

	if (!table)
		return;
	key.start = task->group_leader->start_boottime;
	key.tgid = task->tgid;
	value = entry_of(table, &key, &first);
	if (!value) {
		count_lost(bytes);
		return;
	}
	__sync_fetch_and_add(&value->bytes, bytes);
	value->last_at = bpf_ktime_get_boot_ns();
	value->size = ~0ULL; /* it has no size: nothing of it is taken twice */
	tell_who(&value->who, task);
}

static __always_inline void on_unix(struct sock *sk, u32 kind, u64 bytes)
{
	struct unix_sock *unix_sk = bpf_skc_to_unix_sock(sk);
	struct file_id channel = { .fs = CHANNEL };
	struct sock *taker = sk;

	if (!unix_sk)
		return;
	if (kind == WRITE)
		taker = unix_sk->peer;
	if (!taker) /* sendto() without connect(): who takes it is not known here */
		return;
	channel.inode = bpf_get_socket_cookie(taker);
	count(&channel, bpf_get_current_task_btf(), kind, bytes, -1);
}

static __always_inline s64 store_of(struct ends *ends)
{
	struct range range = { .bits = 128 };
	struct remote *remote;

	__builtin_memcpy(range.address, ends->remote, 16);
	remote = bpf_map_lookup_elem(&remotes, &range);
	if (!remote || (remote->port && remote->port != ends->remote_port))
		return -1;
	return remote->store;
}

static __always_inline void on_tcp(struct sock *sk, u32 kind, u64 bytes)
{
	struct file_id channel = { .fs = CHANNEL };
	u32 zero = 0;
	struct settings *set = bpf_map_lookup_elem(&settings, &zero);
	struct ends ends = {};
	s64 store = -1;

	ends_of(&ends, sk);
	if (!stays_here(&ends)) {
		if (kind == WRITE || !set || !set->any_remotes)
			return;
		store = store_of(&ends);
		if (store < 0)
			return;
		channel.fs = REMOTE_STORE;
	}
	channel.inode = direction(&ends, kind == READ);
	count(&channel, bpf_get_current_task_btf(), kind, bytes, store);
}

static __always_inline void passed(struct sock *sk, u32 kind, long bytes)
{
	u16 family = sk->__sk_common.skc_family;

	if (bytes <= 0)
		return;
	if (family == AF_UNIX)
		on_unix(sk, kind, bytes);
	else if ((family == AF_INET || family == AF_INET6) &&
		 (sk->sk_protocol == IPPROTO_TCP || sk->sk_protocol == IPPROTO_MPTCP))
		on_tcp(sk, kind, bytes);
}

#endif
