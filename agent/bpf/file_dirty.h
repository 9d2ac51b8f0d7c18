/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* Writes, counted by the pages that become dirty. */
#ifndef JAGA_FILE_DIRTY_H
#define JAGA_FILE_DIRTY_H
#include "file_count.h"

enum pageflags___local { PG_head___local };

static __always_inline u64 folio_pages(struct folio *folio)
{
	struct folio___6_17 *old = (void *)folio;
	struct folio___6_14 *older = (void *)folio;
	u64 head = 1ULL << bpf_core_enum_value(enum pageflags___local, PG_head___local);
	u64 flags;

	if (bpf_core_field_exists(folio->flags))
		flags = BPF_CORE_READ(folio, flags.f);
	else
		flags = BPF_CORE_READ(old, flags);
	if (!(flags & head))
		return 1;
	if (bpf_core_field_exists(folio->_nr_pages))
		return BPF_CORE_READ(folio, _nr_pages);
	return BPF_CORE_READ(older, _folio_nr_pages);
}

static __always_inline void dirtied(struct folio *folio, struct address_space *mapping)
{
	u64 pages;

	if (!mapping || !is_regular(mapping->host)) /* truncated meanwhile */
		return;
	pages = folio_pages(folio);
	count(mapping->host, WRITE, pages << PAGE_SHIFT, (folio->index + pages) << PAGE_SHIFT);
}

#endif
