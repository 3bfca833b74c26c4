/* Private to kernels/: attention of the rows of a pass over cached keys and values. */
#ifndef REMLA_KERNELS_CPU_DECODE_H
#define REMLA_KERNELS_CPU_DECODE_H
#include "kernels/cpu/cached.h"

/* Where head g's keys and values lie: elements g*D.. of the rows of k, g*Dv.. of the rows of v. */
typedef struct decode_shape {
    int64_t H, G, D, Dv;
} decode_shape;

static inline void decode_row(tensor *out, const tensor *q, const cached *k, const cached *v, const ragged *r,
                              const decode_shape *c, double scale, int64_t i, int64_t n, int64_t h)
{
    enum { WIDEST = 4096 };
    const int32_t *start = r->start.data, *length = r->length.data,
                  *table = (const int32_t *)r->table.data + i * r->table.dim[1];
    const int64_t position = length[i] - (start[i + 1] - n), g = h / (c->H / c->G);
    const real *query = (const real *)q->data + n * q->stride[0] + h * q->stride[1];
    real *result = (real *)out->data + n * out->stride[0] + h * out->stride[1], row[WIDEST];
    real highest = -(real)INFINITY, sum = 0;
    for (int64_t d = 0; d < c->Dv; d++) result[d] = 0;
    for (int64_t p = 0; p <= position; p++) {
        const int64_t at = table[p / r->page] * r->page + p % r->page;
        cached_load(row, k, at, g * c->D, c->D);
        real score = 0;
        for (int64_t d = 0; d < c->D; d++) score += query[d] * row[d];
        score *= (real)scale;
        const real high = score > highest ? score : highest, shrink = REAL(exp)(highest - high),
                   weight = REAL(exp)(score - high);
        cached_load(row, v, at, g * c->Dv, c->Dv);
        for (int64_t d = 0; d < c->Dv; d++) result[d] = result[d] * shrink + weight * row[d];
        sum = sum * shrink + weight;
        highest = high;
    }
    for (int64_t d = 0; d < c->Dv; d++) result[d] /= sum;
}

static inline void decode(const char *function, tensor *out, const tensor *q, const cached *k,
                          const cached *v, const ragged *r, const decode_shape *c, double scale,
                          tensor *scratch)
{
    tensor_require_shape(function, q, REAL_TYPE, 3, (const int64_t[]){r->N, c->H, c->D});
    tensor_require_shape(function, out, REAL_TYPE, 3, (const int64_t[]){r->N, c->H, c->Dv});
    tensor_require_shape(function, scratch, REAL_TYPE, 1, (const int64_t[]){scratch->dim[0]});
    tensor_require_shape(function, &r->start, I32, 1, (const int64_t[]){r->sequences + 1});
    tensor_require_shape(function, &r->length, I32, 1, (const int64_t[]){r->sequences});
    tensor_require_shape(function, &r->table, I32, 2, (const int64_t[]){r->sequences, r->table.dim[1]});
    cached_require(function, k);
    cached_require(function, v);
    const int32_t *start = r->start.data;
    for (int64_t i = 0; i < r->sequences; i++) {
#pragma omp parallel for schedule(dynamic)
        for (int64_t n = start[i]; n < start[i + 1]; n++)
            for (int64_t h = 0; h < c->H; h++) decode_row(out, q, k, v, r, c, scale, i, n, h);
    }
}

#endif
