// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
// Counts what is queued to leave by an interface, per remote: what sockets say they sent is held against it.
#include "jaga.bpf.h"

enum { AF_INET = 2, AF_INET6 = 10, AF_PACKET = 17 };
enum { TCP_ESTABLISHED = 1, TCP_TIME_WAIT = 6, TCP_NEW_SYN_RECV = 12 };
enum { IPPROTO_TCP = 6, IPPROTO_UDP = 17, IPPROTO_FRAGMENT = 44, IPPROTO_UDPLITE = 136, IPPROTO_MPTCP = 262 };
enum { ETH_P_IP = 0x0800, ETH_P_8021Q = 0x8100, ETH_P_IPV6 = 0x86dd, ETH_P_PPP_SES = 0x8864, ETH_P_8021AD = 0x88a8 };
enum { IFF_LOOPBACK = 8 };
enum { IP_OFFSET = 0x1fff };
enum { UDP_HEADER = 8, IPV4_HEADER = 20, IPV6_HEADER = 40, FRAGMENT_HEADER = 8 };
enum { INNER_HEADERS = 100 }; /* of a packet in a tunnel, at the most */

/* Whose packets they are; known to agent/src/sensor/wire/decode.rs. */
enum origin {
	SOCKET = 0, /* a process's socket of this network namespace */
	KERNEL = 1, /* the kernel's own socket, or none */
	FORWARDED = 2, /* it came in by another interface */
	TUNNEL = 3, /* on its way into a tunnel whose own packets do not tell the socket */
	ELSEWHERE = 4, /* a socket of another network namespace, counted where it leaves that */
	FRAMES = 5, /* only how much an interface queued, so that its counter can be held against it */
};

enum { TABLE_ENTRIES = 65536 };

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct in6_addr {
	__u8 bytes[16];
};
struct ns_common {
	unsigned int inum;
};
struct net {
	struct ns_common ns;
};
typedef struct {
	struct net *net;
} possible_net_t;
struct sock_common {
	__be32 skc_daddr;
	short unsigned int skc_family;
	volatile unsigned char skc_state;
	struct in6_addr skc_v6_daddr;
};
struct sock {
	struct sock_common __sk_common;
	u16 sk_protocol;
	u8 sk_kern_sock : 1;
};
struct rtnl_link_ops {
	const char *kind;
};
struct net_device {
	unsigned int flags;
	int ifindex;
	possible_net_t nd_net;
	const struct rtnl_link_ops *rtnl_link_ops;
};
struct skb_shared_info {
	unsigned short gso_size;
};
struct sk_buff {
	struct net_device *dev;
	struct sock *sk;
	unsigned int len;
	unsigned int data_len;
	int skb_iif;
	__be16 protocol;
	__u16 transport_header;
	__u16 network_header;
	unsigned int end;
	unsigned char *head;
	unsigned char *data;
};
#pragma clang attribute pop

struct key {
	u8 remote[16]; /* as on the wire */
	u8 meant[16]; /* what the socket is connected to, where that is another address */
	u32 ifindex; /* 0 = of another network namespace */
	u16 family; /* of the remote; 0 = no IP */
	u16 meant_family; /* 0 = none */
	u16 protocol; /* the socket's, else the packet's */
	u8 origin;
	u8 reserved[5];
};

struct value {
	u64 bytes; /* transport payload, each TCP sequence byte once where the socket tells */
	u64 again; /* payload that had been sent before, or that is wrapped for a tunnel */
	u64 frame_bytes; /* as the interface counts them, headers of every segment included */
	u64 frames; /* segments */
};

COUNTS(struct key, struct value, TABLE_ENTRIES);

/* What user space sets. */
struct settings {
	u32 netns; /* the agent's own: what leaves by its interfaces leaves the host */
	u32 elsewhere; /* 1 = sockets of other network namespaces are this host's too */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct settings);
} settings SEC(".maps");

/* What an interface is to a packet. */
enum place {
	LINE, /* it leaves here */
	UPPER, /* it is queued again, at an interface below, or stays here */
	WRAPPED, /* it is queued again inside another packet, which keeps its socket */
	SEALED, /* the same, without the socket */
};

/* Up to eight bytes of a name as one number; folded by the compiler. */
static __always_inline u64 word(const char *text)
{
	u64 all = 0;

#pragma unroll
	for (int at = 0; at < 8; at++) {
		if (!text[at])
			break;
		all |= (u64)text[at] << (8 * at);
	}
	return all;
}

/* By the name of its kind; a veth and the like are lines. Packets for a tun or tap device stay here, with a process or
 * a virtual machine. */
static __always_inline enum place place_of_kind(const struct rtnl_link_ops *ops)
{
	u64 kind = 0;

	if (bpf_probe_read_kernel_str(&kind, sizeof(kind), ops->kind) < 0)
		return LINE;
	/* The last byte of eight is the end of the text. */
	if (kind == word("wiregua") || kind == word("ovpn"))
		return SEALED;
	if (kind == word("gre") || kind == word("gretap") || kind == word("erspan") || kind == word("ip6gre") ||
	    kind == word("ip6gret") || kind == word("ip6ersp") || kind == word("ipip") || kind == word("ip6tnl") ||
	    kind == word("sit") || kind == word("vti") || kind == word("vti6") || kind == word("xfrm") ||
	    kind == word("vxlan") || kind == word("geneve") || kind == word("bareudp"))
		return WRAPPED;
	if (kind == word("bridge") || kind == word("bond") || kind == word("team") || kind == word("vlan") ||
	    kind == word("macvlan") || kind == word("macvtap") || kind == word("ipvlan") || kind == word("ipvtap") ||
	    kind == word("vrf") || kind == word("hsr") || kind == word("openvsw") || kind == word("dummy") ||
	    kind == word("ifb") || kind == word("nlmon") || kind == word("tun"))
		return UPPER;
	return LINE;
}

/* The kind of line that was looked at last: next to every packet is for one of the same. */
static u64 last_line;

/* A network card is of no kind. */
static __always_inline enum place place_of(struct net_device *dev)
{
	const struct rtnl_link_ops *ops = dev->rtnl_link_ops;
	enum place place;

	if (!ops || (u64)ops == *(volatile u64 *)&last_line)
		return LINE;
	place = place_of_kind(ops);
	if (place == LINE)
		*(volatile u64 *)&last_line = (u64)ops;
	return place;
}

/* What a packet's headers tell. */
struct packet {
	u32 headers; /* bytes before the payload */
	u32 payload;
	u32 sequence; /* TCP only */
	u8 protocol;
	bool is_tcp;
};

enum { HEADERS = 64 }; /* bytes that are read of a packet: IPv6 and TCP without options, and a bit */

static __always_inline u32 be32(const u8 *bytes)
{
	return (u32)bytes[0] << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3];
}

/* What the transport header tells: how long it is, and where TCP's payload is in its stream. */
static __always_inline u32 read_transport(struct packet *packet, const u8 *header)
{
	if (packet->protocol == IPPROTO_TCP) {
		packet->is_tcp = true;
		packet->sequence = be32(header + 4);
		return header[12] >> 4 << 2;
	}
	return packet->protocol == IPPROTO_UDP || packet->protocol == IPPROTO_UDPLITE ? UDP_HEADER : 0;
}

/* The length of the IP and transport headers; 0 = no IP. */
static __always_inline u32 read_ip(struct key *key, struct packet *packet, const u8 *header, const u8 *ip)
{
	u32 length = (header[0] & 15) * 4;
	u8 transport[13];

	if (header[0] >> 4 == 6) {
		key->family = AF_INET6;
		__builtin_memcpy(key->remote, header + 24, 16);
		packet->protocol = header[6];
		if (packet->protocol == IPPROTO_FRAGMENT)
			return IPV6_HEADER + FRAGMENT_HEADER;
		return IPV6_HEADER + read_transport(packet, header + IPV6_HEADER);
	}
	if (header[0] >> 4 != 4)
		return 0;
	key->family = AF_INET;
	__builtin_memcpy(key->remote, header + 16, 4);
	packet->protocol = header[9];
	if (((header[6] << 8 | header[7]) & IP_OFFSET)) { /* later fragments have no transport header */
		packet->protocol = 0;
		return length;
	}
	if (length == IPV4_HEADER)
		return length + read_transport(packet, header + IPV4_HEADER);
	if (bpf_probe_read_kernel(transport, sizeof(transport), ip + length))
		return length;
	return length + read_transport(packet, transport);
}

/* Reads the headers; without IP, the key has no remote. Not `transport_header`: a bridge does not set it. */
static __always_inline void read_headers(struct key *key, struct packet *packet, struct sk_buff *skb)
{
	const unsigned char *head = skb->head;
	u16 protocol = bpf_ntohs(skb->protocol);
	u32 before = skb->data - head; /* of this packet, in the buffer */
	u32 network = skb->network_header;
	u32 length;
	u8 header[HEADERS];

	packet->payload = skb->len;
	if (protocol != ETH_P_IP && protocol != ETH_P_IPV6 && protocol != ETH_P_8021Q && protocol != ETH_P_8021AD)
		return;
	/* Whoever sends raw frames may keep the headers outside of the linear part: then there is nothing to read. What is
	 * read beyond a short packet's end is not looked at. */
	if (network < before || network - before + IPV4_HEADER > skb->len - skb->data_len ||
	    bpf_probe_read_kernel(header, sizeof(header), head + network))
		return;
	length = read_ip(key, packet, header, head + network);
	if (!length)
		return;
	packet->headers = network - before + length;
	packet->payload = skb->len > packet->headers ? skb->len - packet->headers : 0;
}

/* Where a connected socket sends to, if the packet goes elsewhere: rewritten on the way, or wrapped for a tunnel. */
static __always_inline void tell_meant(struct key *key, struct sock *sk)
{
	u16 family = sk->__sk_common.skc_family;
	u8 meant[16] = {};
	const u64 *a = (const u64 *)meant, *b = (const u64 *)key->remote;

	if (family == AF_INET) {
		*(u32 *)meant = sk->__sk_common.skc_daddr;
	} else {
		bpf_core_read(meant, 16, &sk->__sk_common.skc_v6_daddr);
		if (!a[0] && *(u32 *)(meant + 8) == bpf_htonl(0xffff)) { /* IPv4-mapped */
			*(u32 *)meant = *(u32 *)(meant + 12);
			__builtin_memset(meant + 4, 0, 12);
			family = AF_INET;
		}
	}
	if ((!a[0] && !a[1]) || (family == key->family && a[0] == b[0] && a[1] == b[1]))
		return;
	__builtin_memcpy(key->meant, meant, 16);
	key->meant_family = family;
}

static __always_inline bool is_inet(struct sock *sk)
{
	u16 family = sk->__sk_common.skc_family;

	return family == AF_INET || family == AF_INET6;
}

/* A whole socket; the stand-ins of connections that begin or have ended send no payload. */
static __always_inline bool is_whole(struct sock *sk)
{
	u8 state = sk->__sk_common.skc_state;

	return state != TCP_TIME_WAIT && state != TCP_NEW_SYN_RECV;
}

/* Whether a packet of this socket still tells where it was meant to go once it is inside another. */
static __always_inline bool is_connected(struct sock *sk)
{
	return sk && is_whole(sk) && is_inet(sk) &&
	       (sk->sk_protocol == IPPROTO_TCP || sk->__sk_common.skc_state == TCP_ESTABLISHED);
}

static __always_inline bool is_of_a_process(struct sock *sk)
{
	if (!sk || !is_whole(sk))
		return false;
	if (!is_inet(sk))
		return sk->__sk_common.skc_family == AF_PACKET;
	return !BPF_CORE_READ_BITFIELD(sk, sk_kern_sock);
}

/* The first TCP sequence number of a socket that was not queued yet. Dies with the socket. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, u32);
} nexts SEC(".maps");

/* How many bytes are news with this packet: those of a packet that was not seen, because the program ran already on
 * this processor, are among them. Not by `snd_nxt`: that stays where it is when the queue drops the packet. */
static __always_inline u32 news(struct sock *sk, const struct packet *packet)
{
	u32 *next = bpf_sk_storage_get(&nexts, sk, (void *)&packet->sequence, BPF_LOCAL_STORAGE_GET_F_CREATE);
	u32 end = packet->sequence + packet->payload;
	s32 fresh;

	if (!next)
		return packet->payload;
	fresh = end - *next;
	if (fresh <= 0)
		return 0;
	*next = end;
	return fresh;
}

/* Bytes and segments as they will be on the line, headers of each segment included. */
static __always_inline void add_frames(struct value *add, struct sk_buff *skb, const struct packet *packet)
{
	struct skb_shared_info *shared = (void *)skb->head + skb->end;
	u32 headers = packet->headers;
	struct {
		u16 size, segments;
	} gso = {};

	bpf_core_read(&gso, sizeof(gso), &shared->gso_size); /* and gso_segs, which is next to it */
	add->frames = 1;
	add->frame_bytes = skb->len;
	if (!gso.size)
		return;
	if (!gso.segments) /* a virtual machine does not say */
		gso.segments = (packet->payload + gso.size - 1) / gso.size;
	if (!packet->is_tcp)
		headers += INNER_HEADERS;
	add->frames = gso.segments ? gso.segments : 1;
	add->frame_bytes += (add->frames - 1) * headers;
}

static __always_inline void count(struct key *key, const struct value *add)
{
	u32 zero = 0;
	void *table = bpf_map_lookup_elem(&counts, &zero);
	struct value *value, first = {};

	if (!table)
		return;
	value = entry_of(table, key, &first);
	if (!value) {
		count_lost(add->bytes);
		return;
	}
	__sync_fetch_and_add(&value->bytes, add->bytes);
	__sync_fetch_and_add(&value->frame_bytes, add->frame_bytes);
	__sync_fetch_and_add(&value->frames, add->frames);
	if (add->again)
		__sync_fetch_and_add(&value->again, add->again);
}

/* What a socket says of its packet: where it meant it to go, and whether it is news. */
static __always_inline void ask_socket(struct key *key, struct value *add, struct packet *packet, struct sock *sk)
{
	bool tcp = sk->sk_protocol == IPPROTO_TCP || sk->sk_protocol == IPPROTO_MPTCP;

	key->protocol = sk->sk_protocol;
	if (tcp || sk->__sk_common.skc_state == TCP_ESTABLISHED)
		tell_meant(key, sk);
	if (tcp) {
		add->bytes = packet->is_tcp ? news(sk, packet) : 0;
		add->again = add->bytes < packet->payload ? packet->payload - add->bytes : 0;
	}
}

SEC("tp_btf/net_dev_queue")
int BPF_PROG(on_wire, struct sk_buff *skb)
{
	u32 zero = 0;
	struct settings *set = bpf_map_lookup_elem(&settings, &zero);
	struct net_device *dev = skb->dev;
	struct sock *sk = skb->sk;
	struct packet packet = {};
	struct value add = {};
	struct key key = {};
	enum place place;
	bool own;

	if (!set || dev->flags & IFF_LOOPBACK || skb->protocol == bpf_htons(ETH_P_PPP_SES))
		return 0;
	own = dev->nd_net.net->ns.inum == set->netns;
	if (!own && (!set->elsewhere || skb->skb_iif || !is_of_a_process(sk)))
		return 0;
	place = place_of(dev);
	if (!own && place != LINE)
		return 0;
	read_headers(&key, &packet, skb);
	add_frames(&add, skb, &packet);
	add.bytes = packet.payload;
	key.protocol = packet.protocol;
	key.ifindex = own ? dev->ifindex : 0;
	/* Acknowledgements, too, are nobody's bytes. */
	if (place == UPPER || (place == WRAPPED && is_connected(sk)) || !packet.payload) {
		struct key frames = { .ifindex = key.ifindex, .origin = FRAMES };

		add.bytes = 0;
		if (own)
			count(&frames, &add);
		return 0;
	}
	if (!own)
		key.origin = ELSEWHERE;
	else if (place != LINE)
		key.origin = TUNNEL;
	else if (skb->skb_iif)
		key.origin = FORWARDED;
	else
		key.origin = is_of_a_process(sk) ? SOCKET : KERNEL;
	if (key.origin != FORWARDED && sk && is_whole(sk) && is_inet(sk))
		ask_socket(&key, &add, &packet, sk);
	count(&key, &add);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
