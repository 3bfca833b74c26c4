/* Private to tests/support/: memory that every table's ops can work on. With a GPU it is pinned host memory
 * that the device sees at the same address, so that a test reads and writes it as any other. */
#ifndef REMLA_TESTS_MEMORY_H
#define REMLA_TESTS_MEMORY_H
#include "kernels/kernels.h"
#include <stddef.h>
#include <stdlib.h>

void *memory_get(size_t bytes); /* aligned to 64, or NULL */
void memory_free(void *memory);
/* The same of plain memory, which only the CPU's tables can work on; free() it. */
static inline void *memory_plain(size_t bytes) { return aligned_alloc(64, (bytes + 63) / 64 * 64); }
/* Before a test looks at memory, or changes it: what was queued on the device is done. */
void memory_settle(void);
/* Tables beside the CPU's, or NULL past their end. */
const ops *memory_table(int i);

#endif
