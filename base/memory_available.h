/* How much memory there is left. */
#ifndef REMLA_BASE_MEMORY_AVAILABLE_H
#define REMLA_BASE_MEMORY_AVAILABLE_H
#include <stdint.h>

/* Bytes that this process and its children can still get without swapping: what the kernel calls available,
 * and not more than its control groups (versions 1 and 2) leave, whose page cache counts as free. INT64_MAX
 * where nothing is known. */
int64_t memory_available_bytes(void);
/* The same from other places than /proc and /sys/fs/cgroup. */
int64_t memory_available_at(const char *proc, const char *groups);

#endif
