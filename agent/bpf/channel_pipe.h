/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Pipes, and what is spliced out of a socket: no tracepoint tells of either. */
#ifndef JAGA_CHANNEL_PIPE_H
#define JAGA_CHANNEL_PIPE_H
#include "channel.h"
#include "sock_page.h"

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

/* What a pipe, named or unnamed, is called; 0 for any other file. */
static __always_inline u64 pipe_of(struct inode *inode)
{
	return (inode->i_mode & S_IFMT) == S_IFIFO ? mix(inode->i_ino, inode->i_sb->s_dev) : 0;
}

/* The same for a pointer that the verifier does not know. */
static __always_inline u64 pipe_at(struct inode *inode)
{
	if ((BPF_CORE_READ(inode, i_mode) & S_IFMT) != S_IFIFO)
		return 0;
	return mix(BPF_CORE_READ(inode, i_ino), BPF_CORE_READ(inode, i_sb, s_dev));
}

static __always_inline void piped(u64 pipe, u32 kind, s64 bytes)
{
	struct file_id channel = { .fs = CHANNEL, .inode = pipe };

	if (pipe && bytes > 0)
		count(&channel, bpf_get_current_task_btf(), kind, bytes, -1);
}

/* Before Linux 6.15. */
SEC("fexit/pipe_write")
int BPF_PROG(on_pipe_put, struct kiocb *kiocb, struct iov_iter *from, s64 ret)
{
	piped(pipe_of(kiocb->ki_filp->f_inode), WRITE, ret);
	return 0;
}

SEC("fexit/pipe_read")
int BPF_PROG(on_pipe_take, struct kiocb *kiocb, struct iov_iter *to, s64 ret)
{
	piped(pipe_of(kiocb->ki_filp->f_inode), READ, ret);
	return 0;
}

/* From then on; named pipes pass these, too. */
SEC("fexit/anon_pipe_write")
int BPF_PROG(on_newer_pipe_put, struct kiocb *kiocb, struct iov_iter *from, s64 ret)
{
	piped(pipe_of(kiocb->ki_filp->f_inode), WRITE, ret);
	return 0;
}

SEC("fexit/anon_pipe_read")
int BPF_PROG(on_newer_pipe_take, struct kiocb *kiocb, struct iov_iter *to, s64 ret)
{
	piped(pipe_of(kiocb->ki_filp->f_inode), READ, ret);
	return 0;
}

/* splice, by io_uring too: out of a pipe, into one, or both. */
SEC("fexit/do_splice")
int BPF_PROG(on_pipe_splice, struct file *in, s64 *in_pos, struct file *out, s64 *out_pos, u64 size, unsigned int flags,
	     s64 ret)
{
	piped(pipe_of(in->f_inode), READ, ret);
	piped(pipe_of(out->f_inode), WRITE, ret);
	return 0;
}

/* sendfile into a pipe: it tells no file of the pipe's, but the system call does. */
SEC("fexit/splice_file_to_pipe")
int BPF_PROG(on_pipe_fill, struct file *in, void *pipe, s64 *pos, u64 size, unsigned int flags, s64 ret)
{
	struct task_struct *task = bpf_get_current_task_btf();
	struct pt_regs *regs = (struct pt_regs *)bpf_task_pt_regs(task);
	struct file *out;

	if (task->flags & (PF_KTHREAD | PF_IO_WORKER) || SYSCALL_NR(regs) != NR_SENDFILE)
		return 0;
	out = file_of(task, SYSCALL_ARG1(regs));
	if (out)
		piped(pipe_at(BPF_CORE_READ(out, f_inode)), WRITE, ret);
	return 0;
}

#endif
