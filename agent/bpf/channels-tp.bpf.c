// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
// Rung 1 of channels: tracepoints that every send and every receive passes; and the functions of what passes neither, where
// the kernel has trampolines.
#include "channel_pipe.h"

enum { MSG_PEEK = 2 };

SEC("tp_btf/sock_send_length")
int BPF_PROG(on_put, struct sock *sk, int bytes)
{
	passed(sk, WRITE, bytes);
	return 0;
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(on_take, struct sock *sk, int bytes, int flags)
{
	if (!(flags & MSG_PEEK))
		passed(sk, READ, bytes);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
