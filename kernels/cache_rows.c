/* Writes and reads rows of a cache of keys and values. Each row is narrowed or widened by itself. */
#include "kernels/cpu/cached.h"

static void store_f8(uint8_t *out, float *scale, const real *inp, int64_t count)
{
    real highest = 0;
    for (int64_t i = 0; i < count; i++) {
        const real size = REAL(fabs)(inp[i]);
        highest = size > highest ? size : highest;
    }
    const float s = (float)highest / F8_LARGEST, divisor = s > 0 ? s : 1;
    for (int64_t i = 0; i < count; i++) out[i] = to_f8((float)inp[i] / divisor);
    *scale = s;
}

static void store(cached *c, int64_t row, const real *inp)
{
    const int64_t width = c->rows.dim[1], first = row * width;
    if (c->rows.type == BF16) {
        uint16_t *half = (uint16_t *)c->rows.data + first;
        for (int64_t i = 0; i < width; i++) half[i] = bf16_of((float)inp[i]);
    } else if (c->rows.type == F8) {
        store_f8((uint8_t *)c->rows.data + first, (float *)c->scale.data + row, inp, width);
    } else {
        memcpy((real *)c->rows.data + first, inp, (size_t)width * sizeof *inp);
    }
}

/* Checks the arguments that both share. */
static void require(const char *function, const cached *c, const tensor *rows, const tensor *slot)
{
    const int64_t N = slot->dim[0];
    cached_require(function, c);
    tensor_require_shape(function, rows, REAL_TYPE, 2, (const int64_t[]){N, c->rows.dim[1]});
    cached_require_slots(function, c, slot, N);
}

void CPU(cache_write)(cached *out, const tensor *inp, const tensor *slot, stream *s)
{
    (void)s;
    require(__func__, out, inp, slot);
    const int64_t N = slot->dim[0];
    const int32_t *at = slot->data;
#pragma omp parallel for schedule(static) if (N * out->rows.dim[1] >= SHARED)
    for (int64_t n = 0; n < N; n++) store(out, at[n], (const real *)inp->data + n * inp->stride[0]);
}

void CPU(cache_read)(tensor *out, const cached *inp, const tensor *slot, stream *s)
{
    (void)s;
    require(__func__, inp, out, slot);
    const int64_t N = slot->dim[0], width = inp->rows.dim[1];
    const int32_t *at = slot->data;
#pragma omp parallel for schedule(static) if (N * width >= SHARED)
    for (int64_t n = 0; n < N; n++) cached_load((real *)out->data + n * out->stride[0], inp, at[n], 0, width);
}
