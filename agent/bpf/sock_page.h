/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* What the functions of an address family are given, and who ends a sendpage (before Linux 6.5). */
#ifndef JAGA_SOCK_PAGE_H
#define JAGA_SOCK_PAGE_H
#include "sock.h"

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct socket {
	struct sock *sk;
};
struct proto {
	int (*sendpage)(void);
};
struct sock_common___proto {
	struct proto *skc_prot;
};
struct sock___proto {
	struct sock_common___proto __sk_common;
};
#pragma clang attribute pop

/* A protocol without a sendpage of its own ends in sendmsg, and is counted there. */
static __always_inline bool sends_pages(struct sock *sk)
{
	struct proto *proto = BPF_CORE_READ((struct sock___proto *)sk, __sk_common.skc_prot);

	return bpf_core_field_exists(proto->sendpage) && BPF_CORE_READ(proto, sendpage);
}

#endif
