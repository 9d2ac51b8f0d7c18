// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
// Rung 2 of the sends: the functions behind every system call that sends, as they return (BPF trampolines).
//
// Those of the address family, not of the protocol: TCP under kernel TLS or MPTCP has another sendmsg of its own.
#include "socket.h"
#include "sock_page.h"

SEC("fexit/inet_sendmsg")
int BPF_PROG(on_send, struct socket *socket, void *message, u64 size, int ret)
{
	sent(socket->sk, ret);
	return 0;
}

SEC("fexit/inet6_sendmsg")
int BPF_PROG(on_send6, struct socket *socket, void *message, u64 size, int ret)
{
	sent(socket->sk, ret);
	return 0;
}

/* sendfile and splice before 6.5. */
SEC("fexit/inet_sendpage")
int BPF_PROG(on_page, struct socket *socket, void *page, int offset, u64 size, int flags, s64 ret)
{
	if (sends_pages(socket->sk))
		sent(socket->sk, ret);
	return 0;
}

SEC("fexit/packet_sendmsg")
int BPF_PROG(on_packet, struct socket *socket, void *message, u64 size, int ret)
{
	sent(socket->sk, ret);
	return 0;
}

SEC("fexit/packet_sendmsg_spkt")
int BPF_PROG(on_old_packet, struct socket *socket, void *message, u64 size, int ret)
{
	sent(socket->sk, ret);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
