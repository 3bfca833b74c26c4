/* Arrays that grow. */
#ifndef REMLA_BASE_ARRAY_H
#define REMLA_BASE_ARRAY_H
#include <stddef.h>
#include <stdint.h>

/* Returns `data`, moved where necessary, with a capacity of at least `count` elements of `size` bytes;
 * *capacity is the number of elements that fit. The capacity grows by half at least, so that adding one by
 * one costs little. Running out of memory stops the job. */
void *array_reserve(void *data, int64_t *capacity, int64_t count, size_t size);

#endif
