/* Growing arrays: the capacity grows by half at least, so that adding n elements one by one moves each of
 * them a bounded number of times on average. */
#include "base/array.h"
#include "base/status.h"
#include <stdlib.h>

void *array_reserve(void *data, int64_t *capacity, int64_t count, size_t size)
{
    enum { LEAST = 16 };
    if (count <= *capacity) return data;
    int64_t more = *capacity + *capacity / 2;
    if (more < count) more = count;
    if (more < LEAST) more = LEAST;
    size_t bytes;
    if (__builtin_mul_overflow((size_t)more, size, &bytes) || !(data = realloc(data, bytes)))
        die(ERR_DEVICE, "no memory for %lld times %zu bytes", (long long)more, size);
    *capacity = more;
    return data;
}
