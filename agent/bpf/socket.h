/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What a process sends over each conversation: the same on every rung, which differ in the hook that calls `sent`. */
#ifndef JAGA_SOCKET_H
#define JAGA_SOCKET_H
#include "sock.h"

enum { PROTOCOL_UNKNOWN = 255 };
enum { ETH_P_IP = 0x0800, ETH_P_IPV6 = 0x86dd };
enum { SOCK_BINDPORT_LOCK = 8 };
enum opener { UNKNOWN = 0, LOCAL = 1, REMOTE = 2 };

enum { TABLE_ENTRIES = 65536 };

/* One conversation of one process. A port is 0 where conversations are summed over it. */
struct key {
	u64 start;
	u32 tgid;
	u32 netns;
	u8 local[16];
	u8 remote[16];
	u16 local_port;
	u16 remote_port;
	u16 family; /* of the addresses; 0 = no address known */
	u8 protocol;
	u8 opener;
};

struct value {
	u64 bytes;
	u32 connections;
	u32 reserved;
	struct who who; /* as of the last send */
};

COUNTS(struct key, struct value, TABLE_ENTRIES);

/* What user space sets. */
struct settings {
	u32 only_netns; /* count this network namespace's sockets alone; 0 = all */
	u32 reserved;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct settings);
} settings SEC(".maps");

/* What is known of a TCP socket. Dies with it. */
struct opened {
	u8 opener;
	u8 told; /* counted as a connection */
};

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct opened);
} opened SEC(".maps");

/* Where the datagram went that a task is just sending: sock_send_length does not tell it. */
struct aim {
	struct sock *sk;
	u8 local[16];
	u8 remote[16];
	u16 local_port;
	u16 remote_port;
	u16 family;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct aim);
} aims SEC(".maps");

SEC("tp_btf/inet_sock_set_state")
int BPF_PROG(on_state, struct sock *sk, int old_state, int new_state)
{
	struct opened *opened_by;
	u8 opener;

	if (new_state == TCP_SYN_SENT)
		opener = LOCAL;
	else if (new_state == TCP_ESTABLISHED && old_state == TCP_SYN_RECV)
		opener = REMOTE;
	else
		return 0;
	opened_by = bpf_sk_storage_get(&opened, sk, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (opened_by)
		/* A simultaneous open goes SYN_SENT, SYN_RECV, ESTABLISHED: this host opened it too. */
		if (opened_by->opener != LOCAL)
			opened_by->opener = opener;
	return 0;
}

static __always_inline bool is_tcp(u16 protocol)
{
	return protocol == IPPROTO_TCP || protocol == IPPROTO_MPTCP;
}

static __always_inline bool has_udp_ports(u16 protocol)
{
	return protocol == IPPROTO_UDP || protocol == IPPROTO_UDPLITE;
}

SEC("tp_btf/net_dev_queue")
int BPF_PROG(on_queue, struct sk_buff *skb)
{
	struct sock *sk = skb->sk;
	unsigned char *network, *transport;
	struct aim *aim;
	u16 protocol, family;

	if (!sk)
		return 0;
	family = sk->__sk_common.skc_family;
	protocol = sk->sk_protocol;
	if (family != AF_PACKET && ((family != AF_INET && family != AF_INET6) || is_tcp(protocol)))
		return 0;
	aim = bpf_task_storage_get(&aims, bpf_get_current_task_btf(), NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	/* A tunnel queues a packet twice, the inner one first; the first is what the sender meant. */
	if (!aim || aim->sk == sk)
		return 0;
	network = skb->head + skb->network_header;
	transport = skb->head + skb->transport_header;
	aim->family = 0;
	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		__builtin_memset(aim->local, 0, sizeof(aim->local));
		__builtin_memset(aim->remote, 0, sizeof(aim->remote));
		if (bpf_probe_read_kernel(aim->local, 4, network + 12) ||
		    bpf_probe_read_kernel(aim->remote, 4, network + 16))
			return 0;
		aim->family = AF_INET;
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		if (bpf_probe_read_kernel(aim->local, 16, network + 8) ||
		    bpf_probe_read_kernel(aim->remote, 16, network + 24))
			return 0;
		aim->family = AF_INET6;
	}
	aim->local_port = 0;
	aim->remote_port = 0;
	if (has_udp_ports(protocol)) {
		__be16 ports[2] = {};

		bpf_probe_read_kernel(ports, sizeof(ports), transport);
		aim->local_port = bpf_ntohs(ports[0]);
		aim->remote_port = bpf_ntohs(ports[1]);
	}
	aim->sk = sk;
	return 0;
}

/* The addresses that the socket itself knows: all there is for TCP, right for a connected datagram socket. */
static __always_inline void own_addresses(struct key *key, struct sock *sk)
{
	key->family = sk->__sk_common.skc_family;
	if (key->family == AF_INET) {
		*(u32 *)key->local = sk->__sk_common.skc_rcv_saddr;
		*(u32 *)key->remote = sk->__sk_common.skc_daddr;
	} else if (key->family == AF_INET6) {
		bpf_core_read(key->local, 16, &sk->__sk_common.skc_v6_rcv_saddr);
		bpf_core_read(key->remote, 16, &sk->__sk_common.skc_v6_daddr);
	} else {
		key->family = 0;
		return;
	}
	key->local_port = sk->__sk_common.skc_num;
	key->remote_port = bpf_ntohs(sk->__sk_common.skc_dport);
}

/* struct sockaddr_in and sockaddr_in6, as far as they agree. */
struct destination {
	u16 family;
	__be16 port;
	u8 rest[24]; /* v4: the address first; v6: flow information, then the address */
};

/* The address that the system call names: for a datagram that waits for a neighbour's answer, so that
 * net_dev_queue runs later and elsewhere. */
static __always_inline void named_destination(struct key *key, struct task_struct *task)
{
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(task);
	struct destination to = {};
	void *name;

	if (task->flags & (PF_KTHREAD | PF_IO_WORKER))
		return;
	if (SYSCALL_NR(regs) == NR_SENDTO)
		name = (void *)SYSCALL_ARG5(regs);
	else if (SYSCALL_NR(regs) != NR_SENDMSG ||
		 bpf_probe_read_user(&name, sizeof(name), (void *)SYSCALL_ARG2(regs)))
		return;
	if (bpf_probe_read_user(&to, sizeof(to), name) &&
	    bpf_probe_read_user(&to, 16, name)) /* a sockaddr_in at the end of a page */
		return;
	if (to.family == AF_INET) {
		__builtin_memset(key->remote, 0, sizeof(key->remote));
		__builtin_memcpy(key->remote, to.rest, 4);
	} else if (to.family == AF_INET6) {
		__builtin_memcpy(key->remote, to.rest + 4, 16);
	} else {
		return;
	}
	if (key->family != to.family)
		__builtin_memset(key->local, 0, sizeof(key->local));
	key->family = to.family;
	key->remote_port = bpf_ntohs(to.port);
}

static __always_inline bool is_zero(const u8 *address)
{
	const u64 *half = (const u64 *)address;

	return !half[0] && !half[1];
}

/* Where this datagram went: what was queued, else what the socket is connected to, else what the call names. */
static __always_inline void datagram_addresses(struct key *key, struct sock *sk, struct aim *aim)
{
	own_addresses(key, sk);
	if (aim && aim->family) {
		__builtin_memcpy(key->local, aim->local, 16);
		__builtin_memcpy(key->remote, aim->remote, 16);
		key->family = aim->family;
		if (aim->remote_port) {
			key->local_port = aim->local_port;
			key->remote_port = aim->remote_port;
		}
	} else if (key->family && is_zero(key->remote)) {
		named_destination(key, bpf_get_current_task_btf());
	}
}

/* Takes the task's aim with this socket, so that the next datagram does not find it. */
static __always_inline struct aim *take_aim(struct sock *sk, struct task_struct *task)
{
	struct aim *aim = bpf_task_storage_get(&aims, task, NULL, 0);

	if (!aim || aim->sk != sk)
		return NULL;
	aim->sk = NULL;
	return aim;
}

/* A datagram socket that was bound to a port on purpose and talks to anybody answers; all others ask. */
static __always_inline u8 datagram_opener(struct sock *sk)
{
	bool connected = sk->__sk_common.skc_state == TCP_ESTABLISHED;
	bool bound = BPF_CORE_READ_BITFIELD_PROBED(sk, sk_userlocks) & SOCK_BINDPORT_LOCK;

	return bound && !connected ? REMOTE : LOCAL;
}

static __always_inline u32 tcp_connection(struct key *key, struct sock *sk)
{
	struct opened *opened_by = bpf_sk_storage_get(&opened, sk, NULL, 0);

	own_addresses(key, sk);
	key->protocol = IPPROTO_TCP;
	if (!opened_by)
		return 0; /* older than the agent: user space judges by the ports */
	key->opener = opened_by->opener;
	if (opened_by->told)
		return 0;
	opened_by->told = 1;
	return 1;
}

static __always_inline void count(struct key *key, struct task_struct *task, u64 bytes, u32 connections)
{
	u32 zero = 0;
	void *table = bpf_map_lookup_elem(&counts, &zero);
	struct value *value, first = {};

	if (!table)
		return;
	value = entry_of(table, key, &first);
	if (!value) {
		count_lost(bytes);
		return;
	}
	__sync_fetch_and_add(&value->bytes, bytes);
	if (connections)
		__sync_fetch_and_add(&value->connections, connections);
	tell_who(&value->who, task);
}

static __always_inline void datagram(struct key *key, struct sock *sk, struct aim *aim)
{
	bool packet = sk->__sk_common.skc_family == AF_PACKET;

	datagram_addresses(key, sk, aim);
	key->protocol = packet ? PROTOCOL_UNKNOWN : sk->sk_protocol;
	key->opener = packet ? LOCAL : datagram_opener(sk);
	if (packet || !has_udp_ports(sk->sk_protocol)) {
		key->local_port = 0; /* a raw socket keeps its protocol number there */
		key->remote_port = 0;
	}
}

/* A send of this socket ended with `ret`, in the sender's context. */
static __always_inline void sent(struct sock *sk, int ret)
{
	u32 zero = 0, connections = 0;
	struct settings *set = bpf_map_lookup_elem(&settings, &zero);
	struct task_struct *task = bpf_get_current_task_btf();
	u16 family = sk->__sk_common.skc_family;
	bool tcp = family != AF_PACKET && is_tcp(sk->sk_protocol);
	struct aim *aim = NULL;
	struct key key = {};

	if (!set || (family != AF_INET && family != AF_INET6 && family != AF_PACKET))
		return;
	if (!tcp)
		aim = take_aim(sk, task);
	key.netns = sk->__sk_common.skc_net.net->ns.inum;
	if (ret <= 0 || (set->only_netns && set->only_netns != key.netns))
		return;
	key.start = task->group_leader->start_boottime;
	key.tgid = task->tgid;
	if (tcp)
		connections = tcp_connection(&key, sk);
	else
		datagram(&key, sk, aim);
	if (key.opener == LOCAL)
		key.local_port = 0;
	if (key.opener == REMOTE)
		key.remote_port = 0;
	count(&key, task, ret, connections);
}

#endif
