// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
// Rung 2 of channels: the functions behind every send and every receive, as they return (BPF trampolines).
#include "channel_pipe.h"

enum { MSG_PEEK = 2 };

SEC("fexit/inet_sendmsg")
int BPF_PROG(on_put, struct socket *socket, void *message, u64 size, int ret)
{
	passed(socket->sk, WRITE, ret);
	return 0;
}

SEC("fexit/inet6_sendmsg")
int BPF_PROG(on_put6, struct socket *socket, void *message, u64 size, int ret)
{
	passed(socket->sk, WRITE, ret);
	return 0;
}

SEC("fexit/unix_stream_sendmsg")
int BPF_PROG(on_unix_put, struct socket *socket, void *message, u64 size, int ret)
{
	passed(socket->sk, WRITE, ret);
	return 0;
}

/* Datagrams, and the packets of SOCK_SEQPACKET, which end here, too. */
SEC("fexit/unix_dgram_sendmsg")
int BPF_PROG(on_unix_packet_put, struct socket *socket, void *message, u64 size, int ret)
{
	passed(socket->sk, WRITE, ret);
	return 0;
}

/* sendfile and splice before 6.5. */
SEC("fexit/inet_sendpage")
int BPF_PROG(on_page_put, struct socket *socket, void *page, int offset, u64 size, int flags, s64 ret)
{
	if (sends_pages(socket->sk))
		passed(socket->sk, WRITE, ret);
	return 0;
}

SEC("fexit/unix_stream_sendpage")
int BPF_PROG(on_unix_page_put, struct socket *socket, void *page, int offset, u64 size, int flags, s64 ret)
{
	passed(socket->sk, WRITE, ret);
	return 0;
}

SEC("fexit/inet_recvmsg")
int BPF_PROG(on_take, struct socket *socket, void *message, u64 size, int flags, int ret)
{
	if (!(flags & MSG_PEEK))
		passed(socket->sk, READ, ret);
	return 0;
}

SEC("fexit/inet6_recvmsg")
int BPF_PROG(on_take6, struct socket *socket, void *message, u64 size, int flags, int ret)
{
	if (!(flags & MSG_PEEK))
		passed(socket->sk, READ, ret);
	return 0;
}

SEC("fexit/unix_stream_recvmsg")
int BPF_PROG(on_unix_take, struct socket *socket, void *message, u64 size, int flags, int ret)
{
	if (!(flags & MSG_PEEK))
		passed(socket->sk, READ, ret);
	return 0;
}

SEC("fexit/unix_dgram_recvmsg")
int BPF_PROG(on_unix_packet_take, struct socket *socket, void *message, u64 size, int flags, int ret)
{
	if (!(flags & MSG_PEEK))
		passed(socket->sk, READ, ret);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
