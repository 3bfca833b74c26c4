/* Memory of the host. Running out of it stops the job (ERR_DEVICE, which a launcher may restart), so a caller
 * never sees NULL and has no path for it. free gives the memory back. */
#ifndef REMLA_BASE_MEMORY_H
#define REMLA_BASE_MEMORY_H
#include <stddef.h>
#include <stdint.h>

/* Allocates `count` elements of `size` bytes, all zero; a count of 0 gives an address that is not NULL.
 * `what` and its arguments end the sentence "no memory for ...". */
void *memory_new(int64_t count, size_t size, const char *what, ...) __attribute__((format(printf, 3, 4)));

/* Returns `got`, which a library has allocated; stops the job if it is NULL. */
void *memory_check(void *got, const char *what, ...) __attribute__((format(printf, 2, 3)));

/* Stops the job: a library has reported that it got no memory for `what`. */
void memory_failed(const char *what, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* Returns the largest resident size of this process so far. */
int64_t memory_peak_bytes(void);

#endif
