/* See unit_store.h. Copies lie where a test's tensors do, so that every backend can compute with them and the
 * host can fill them with NaN. */
#include "tests/support/unit_store.h"
#include "base/memory.h"
#include "tests/support/memory.h"
#include <math.h>
#include <string.h>

static size_t bytes_of(const tensor *t) { return (size_t)(tensor_numel(t) * dtype_bytes(t->type)); }

/* All bits set are a NaN in every floating type. */
static void poison(const tensor *t) { memset(t->data, 0xff, bytes_of(t)); }

/* The values of a tensor that may be a device's, which is NaN afterwards. */
static tensor taken(const ops *k, tensor resident)
{
    const int64_t numel = tensor_numel(&resident);
    tensor kept = check_tensor_of(resident.type, "kept", 1, &numel);
    double *values = memory_new(numel, sizeof *values, "a unit");
    float *nan = memory_new(numel, sizeof *nan, "a unit");
    k->download_f64(values, &resident, k->stream);
    for (int64_t i = 0; i < numel; i++) {
        check_put(&kept, i, values[i]);
        nan[i] = NAN;
    }
    k->upload(&resident, nan, k->stream);
    free(values);
    free(nan);
    return kept;
}

void unit_store_init(unit_store *s, const ops *k, const tensor *resident, int num_units)
{
    *s = (unit_store){.num_units = num_units};
    s->kept = memory_new(num_units, sizeof *s->kept, "units");
    s->acquired = memory_new(num_units, sizeof *s->acquired, "units");
    s->held = memory_new(num_units, sizeof *s->held, "units");
    for (int i = 0; i < 2; i++) s->copy[i] = memory_new(num_units, sizeof *s->copy[i], "units");
    for (int u = 0; u < num_units; u++) {
        s->kept[u] = taken(k, resident[u]);
        for (int i = 0; i < 2; i++)
            s->copy[i][u] = check_tensor_of(s->kept[u].type, "copy", 1, s->kept[u].dim);
    }
}

void unit_store_free(unit_store *s)
{
    free(s->kept);
    free(s->acquired);
    free(s->held);
    for (int i = 0; i < 2; i++) free(s->copy[i]);
    *s = (unit_store){0};
}

static tensor store_acquire(void *owner, int unit)
{
    unit_store *s = owner;
    if (s->held[unit]) return s->copy[s->acquired[unit] % 2][unit];
    const tensor copy = s->copy[++s->acquired[unit] % 2][unit];
    memory_settle();
    memcpy(copy.data, s->kept[unit].data, bytes_of(&copy));
    s->held[unit] = true;
    if (++s->num_held > s->most_held) s->most_held = s->num_held;
    return copy;
}

static void store_release(void *owner, int unit)
{
    unit_store *s = owner;
    const tensor copy = s->copy[s->acquired[unit] % 2][unit];
    if (!s->held[unit]) fail_msg("unit %d is released, but was not held", unit);
    memory_settle();
    memcpy(s->kept[unit].data, copy.data, bytes_of(&copy));
    poison(&copy);
    s->held[unit] = false;
    s->num_held--;
}

units unit_store_units(unit_store *s)
{
    return (units){.acquire = store_acquire, .release = store_release, .owner = s};
}
