// SPDX-License-Identifier: (BSD-2-Clause OR GPL-2.0-only)
// Rung 1 of the files: page cache, direct IO and write-back tracepoints, behind every system call (Linux 6.10+).
#include "file_read.h"
#include "file_request.h"
#include "file_sent.h"
#include "file_map.h"
#include "file_write.h"
#include "file_gone.h"
#include "file_list.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
