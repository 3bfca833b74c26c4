/* Arrays that grow. */
#ifndef REMLA_BASE_ARRAY_H
#define REMLA_BASE_ARRAY_H
#include <stddef.h>
#include <stdint.h>

/* `data`, moved where it has room for `count` elements of `size` bytes; *room is how many it has room for. It
 * grows by half at least, so that adding one by one costs little. No memory stops the job. */
void *array_reserve(void *data, int64_t *room, int64_t count, size_t size);

#endif
