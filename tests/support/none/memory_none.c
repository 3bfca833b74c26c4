/* Builds without CUDA. */
#include "tests/support/memory.h"
#include <stdlib.h>

void *memory_get(size_t bytes) { return memory_plain(bytes); }
void memory_free(void *memory) { free(memory); }
void memory_settle(void) {}

const ops *memory_table(int i)
{
    (void)i;
    return NULL;
}
