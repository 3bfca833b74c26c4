/* Rows of a cache from one place to another, byte by byte. */
#include "kernels/cpu/cached.h"

void CPU(cache_copy)(cached *x, const tensor *to, const tensor *from, stream *s)
{
    (void)s;
    const int64_t N = to->dim[0], bytes = x->rows.dim[1] * dtype_bytes(x->rows.type);
    cached_require(__func__, x);
    cached_require_slots(__func__, x, to, N);
    cached_require_slots(__func__, x, from, N);
    const int32_t *t = to->data, *f = from->data;
    char *rows = x->rows.data;
    float *scale = x->scale.data;
    for (int64_t n = 0; n < N; n++) {
        memcpy(rows + t[n] * bytes, rows + f[n] * bytes, (size_t)bytes);
        if (x->rows.type == F8) scale[t[n]] = scale[f[n]];
    }
}
