// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
// Rung 2 of channels: the functions behind every send and every receive, as they return (BPF trampolines).
#include "channel.h"
#include "sock_page.h"

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

SEC("fexit/tcp_splice_read")
int BPF_PROG(on_splice, struct socket *socket, s64 *pos, void *pipe, u64 size, unsigned int flags, s64 ret)
{
	passed(socket->sk, READ, ret);
	return 0;
}

SEC("fexit/unix_stream_splice_read")
int BPF_PROG(on_unix_splice, struct socket *socket, s64 *pos, void *pipe, u64 size, unsigned int flags, s64 ret)
{
	passed(socket->sk, READ, ret);
	return 0;
}

/* Pipes, named and unnamed; what is spliced into or out of one is not seen here. */
static __always_inline void piped(struct kiocb *kiocb, u32 kind, s64 bytes)
{
	struct inode *inode = kiocb->ki_filp->f_inode;
	struct file_id channel = { .fs = CHANNEL };

	if (bytes <= 0)
		return;
	channel.inode = mix(inode->i_ino, inode->i_sb->s_dev);
	count(&channel, bpf_get_current_task_btf(), kind, bytes, -1);
}

SEC("fexit/pipe_write")
int BPF_PROG(on_pipe_put, struct kiocb *kiocb, struct iov_iter *from, s64 ret)
{
	piped(kiocb, WRITE, ret);
	return 0;
}

SEC("fexit/pipe_read")
int BPF_PROG(on_pipe_take, struct kiocb *kiocb, struct iov_iter *to, s64 ret)
{
	piped(kiocb, READ, ret);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
