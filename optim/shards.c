/* What weights and gradients share: the layout, and the part that this rank updates. */
#include "optim/shard_parts.h"
#include "base/memory.h"
#include "base/status.h"
#include <stdlib.h>
#include <string.h>

tensor *shard_list(const shards *s, dtype type, const char *name, bool whole, arena *a)
{
    tensor *list = memory_new(s->layout.num_units, sizeof *list, "a list of %d units", s->layout.num_units);
    for (int u = 0; u < s->layout.num_units; u++)
        list[u] =
            arena_tensor(a, type, name, whole ? s->layout.padded[u] : shard_layout_slice(&s->layout, u));
    return list;
}

void shard_poison(const shards *s, const tensor *t)
{
#ifdef REMLA_POISON
    const int64_t numel = tensor_numel(t);
    tensor spoilt = *t;
    float *nan = memory_new(numel, sizeof *nan, "NaNs");
    memset(nan, 0xff, sizeof *nan * (size_t)numel);
    s->k->upload(&spoilt, nan, s->k->stream);
    free(nan);
#else
    (void)s, (void)t;
#endif
}

void shards_init(shards *s, const ops *k, const comm *c, const param_table *t, const shards_settings *set,
                 arena *a)
{
    REQUIRE(set->stage >= 0 && set->stage <= 3 && set->micro_batches >= 1, "stage %d, %lld micro-batches",
            set->stage, (long long)set->micro_batches);
    *s = (shards){.k = k, .c = c, .table = t, .set = *set};
    shard_layout_init(&s->layout, t, c->size, c->rank);
    shard_weights_init(s, a);
    shard_gradients_init(s, a);
}

void shards_reserve(shards *s, const ops *k, const comm *c, const param_table *t, const shards_settings *set,
                    arena *a)
{
    arena size = {.name = a->name};
    shards_init(s, k, c, t, set, &size);
    shards_free(s);
    arena_reserve(a, size.used);
    shards_init(s, k, c, t, set, a);
}

void shards_free(shards *s)
{
    shard_weights_free(s);
    shard_gradients_free(s);
    shard_layout_free(&s->layout);
}

int64_t shards_padded(const shards *s, int u) { return s->layout.padded[u]; }

int64_t shards_part(const shards *s, int u)
{
    return shards_cut(s) ? shard_layout_slice(&s->layout, u) : s->layout.padded[u];
}

int shards_largest(const shards *s)
{
    int largest = 0;
    for (int u = 1; u < s->layout.num_units; u++)
        if (s->layout.padded[u] > s->layout.padded[largest]) largest = u;
    return largest;
}

int64_t shards_before(const shards *s, int u)
{
    return shards_cut(s) ? s->layout.rank * shards_part(s, u) : 0;
}
