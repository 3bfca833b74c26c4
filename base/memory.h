/* Memory of the host. Running out of it stops the job (ERR_DEVICE, which a launcher may restart), so a caller
 * never sees NULL and has no path for it. free gives the memory back. */
#ifndef REMLA_BASE_MEMORY_H
#define REMLA_BASE_MEMORY_H
#include <stddef.h>
#include <stdint.h>

/* `count` elements of `size` bytes, all zero; with a count of 0 an address that is not NULL. `what` and its
 * arguments end the sentence "no memory for ...". */
void *memory_new(int64_t count, size_t size, const char *what, ...) __attribute__((format(printf, 3, 4)));

/* `got`, which a library has allocated, unless it is NULL. */
void *memory_check(void *got, const char *what, ...) __attribute__((format(printf, 2, 3)));

/* The largest resident size of this process so far. */
int64_t memory_peak_bytes(void);

#endif
