/* SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only) */
/* An entry of a table of what processes did with files, or with what is told like a file. */
#ifndef JAGA_FILE_ENTRY_H
#define JAGA_FILE_ENTRY_H
#include "file.h"

enum kind { READ = 0, MAPPED = 1, WRITE = 2, BELOW = 3 };

struct key {
	struct file_id file;
	u64 start;
	u32 tgid;
	u32 kind;
};

struct value {
	u64 bytes;
	u64 size;
	u64 last_at; /* CLOCK_BOOTTIME ns */
	s64 store; /* -1 = outside every store; BELOW: a bit for each store */
	struct who who; /* as of the last access */
};

#endif
