/* Builds without CUDA. */
#include "tests/support/memory.h"
#include <stdlib.h>

void *memory_get(size_t bytes) { return aligned_alloc(64, (bytes + 63) / 64 * 64); }
void memory_free(void *memory) { free(memory); }
void memory_settle(void) {}

const ops *memory_table(int i)
{
    (void)i;
    return NULL;
}
