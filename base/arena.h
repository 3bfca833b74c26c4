/* An arena is one block of memory that is cut from the front and given back all at once. Layout code runs
 * twice: first on an arena without memory, which only counts, then on one of exactly that size. */
#ifndef REMLA_BASE_ARENA_H
#define REMLA_BASE_ARENA_H
#include "base/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct arena {
    const char *name;      /* "weights", "optimizer", "step"; named when memory runs out */
    struct device *device; /* the memory's device (base/device.h); NULL: the host */
    bool pinned;           /* of a device: not its own memory, but the host's, which it can copy */
    char *base;            /* NULL while measuring */
    int64_t size;          /* bytes reserved */
    int64_t used;          /* bytes cut so far */
} arena;

/* Gets `bytes` from the system (in huge pages where it gives them) or from the device, or stops the job,
 * naming the arena. The contents are undefined: host memory happens to be zero, device memory is arbitrary,
 * and builds with sanitizers fill it with NaN. Code that needs zeros writes them. */
void arena_reserve(arena *a, int64_t bytes);
void arena_release(arena *a); /* a device finishes its work first */

/* Cuts `bytes`, aligned to 64. NULL while measuring. More than is left is a bug. */
void *arena_bytes(arena *a, int64_t bytes);

/* Cuts a contiguous tensor: arena_tensor(&a, F32, "scores", B, T, C). Its data is NULL while measuring. */
tensor arena_tensor_of(arena *a, dtype type, const char *name, int rank, const int64_t *dim);
#define arena_tensor(a, type, name, ...)                                                                     \
    arena_tensor_of(a, type, name, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),                \
                    (int64_t[]){__VA_ARGS__})

#ifdef __cplusplus
}
#endif
#endif
