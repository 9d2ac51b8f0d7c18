// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
// Rung 1 of the sends: the tracepoint behind every system call that sends (Linux 6.3+).
#include "socket.h"

SEC("tp_btf/sock_send_length")
int BPF_PROG(on_send, struct sock *sk, int ret)
{
	sent(sk, ret);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
