/* Arenas: one block of memory, cut from the front.
 *
 *     base            base + used           base + size
 *     | embed | layer 0 | layer 1 | free      |
 *
 * The same layout code runs twice. On an arena without memory (base is NULL) a cut only adds to `used`, which
 * tells the size before anything is allocated. Then arena_reserve gets a block of that size, and the same
 * cuts return addresses in it. Nothing is freed piece by piece: arena_release gives the whole block back. */
#include "base/arena.h"
#include "base/device.h"
#include "base/status.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

enum { ALIGNMENT = 64 };

static int64_t round_up(int64_t n) { return (n + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT; }

static void *host_reserve(const char *name, int64_t bytes)
{
    void *base = mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED)
        die(ERR_DEVICE, "no memory for the %s arena: %.1f MiB asked: %s", name, (double)bytes / 1048576.0,
            strerror(errno));
    madvise(base, (size_t)bytes, MADV_HUGEPAGE); /* a hint: fewer page-table walks in the matrix products */
#ifdef REMLA_POISON
    /* A forgotten write becomes a NaN in the loss. Memory that must start at zero says so with k->zero. */
    memset(base, 0xff, (size_t)bytes);
#endif
    return base;
}

void arena_reserve(arena *a, int64_t bytes)
{
    REQUIRE(!a->base, "arena %s is reserved already", a->name);
    a->size = round_up(bytes > 0 ? bytes : 1);
    a->used = 0;
    char name[64];
    snprintf(name, sizeof name, "the %s arena", a->name);
    if (!a->device)
        a->base = host_reserve(a->name, a->size);
    else if (a->pinned)
        a->base = device_reserve_pinned(a->device, a->size, name);
    else
        a->base = device_reserve(a->device, a->size, name);
}

void arena_release(arena *a)
{
    if (a->base && a->device && a->pinned)
        device_release_pinned(a->device, a->base);
    else if (a->base && a->device)
        device_release(a->device, a->base);
    else if (a->base)
        munmap(a->base, (size_t)a->size);
    *a = (arena){.name = a->name, .device = a->device, .pinned = a->pinned};
}

void *arena_bytes(arena *a, int64_t bytes)
{
    const int64_t from = a->used;
    REQUIRE(bytes >= 0, "arena %s: %lld bytes asked", a->name, (long long)bytes);
    a->used += round_up(bytes);
    if (!a->base) return NULL;
    REQUIRE(a->used <= a->size, "arena %s: %lld bytes cut of %lld", a->name, (long long)a->used,
            (long long)a->size);
    return a->base + from;
}

tensor arena_tensor_of(arena *a, dtype type, const char *name, int rank, const int64_t *dim)
{
    tensor t = tensor_of(NULL, type, name, rank, dim);
    t.data = arena_bytes(a, tensor_numel(&t) * dtype_bytes(type));
    return t;
}
