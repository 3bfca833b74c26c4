/* Tells how much memory is left. */
#ifndef REMLA_BASE_MEMORY_AVAILABLE_H
#define REMLA_BASE_MEMORY_AVAILABLE_H
#include <stdint.h>

/* Returns the bytes that this process and its children can still get without swapping: what the kernel calls
 * available, and not more than the control groups (versions 1 and 2) allow, whose page cache counts as free.
 * INT64_MAX if unknown. */
int64_t memory_available_bytes(void);
/* Does the same from other places than /proc and /sys/fs/cgroup. */
int64_t memory_available_at(const char *proc, const char *groups);

#endif
