/* One layer in another basis. Before RoPE a GQA layer's keys and values are linear in its input h. So the
 * layer stays as it is when they are mapped by an invertible matrix, and what reads them by its inverse:
 *   rotated keys u k meet rotated queries u q, because u is orthogonal;
 *   x = [rest of the rotated keys; values] goes down into the latent and up again, where up down = 1.
 * An MLA layer is this, with two losses: all of the keys but Dr elements lose RoPE (partial_rope.c), and
 * with a latent smaller than x, up down is only a projection. Which one is the methods' choice (lowrank.c,
 * metric.c). This file multiplies the chosen matrices into weights. Shapes are those of params.def. */
#include "model/convert/pieces.h"
#include <math.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* ---- parts -------------------- */

static const struct {
    const char *field;
    size_t place;
} parts[] = {
#define PART(field)                                                                                          \
    {                                                                                                        \
#field, offsetof(mla_layer, field)                                                                   \
    }
    PART(wq),    PART(bq),    PART(wq_a),      PART(bq_a),  PART(q_a_norm), PART(wq_b), PART(bq_b),
    PART(wkv_a), PART(bkv_a), PART(kv_a_norm), PART(wkv_b), PART(wo),       PART(bo),
#undef PART
};
enum { PARTS = sizeof parts / sizeof *parts };

static double **part_at(const mla_layer *l, int i) { return (double **)((char *)l + parts[i].place); }

double *mla_layer_part(const mla_layer *l, const char *field)
{
    for (int i = 0; i < PARTS; i++)
        if (strcmp(parts[i].field, field) == 0) return *part_at(l, i);
    return NULL;
}

int mla_layer_parts(const mla_layer *l)
{
    int there = 0;
    for (int i = 0; i < PARTS; i++) there += *part_at(l, i) != NULL;
    return there;
}

/* Elements of a part in a layer of shape d. */
static int64_t part_numel(const dims *d, const char *field)
{
#define MLA true
#define P(member, name, rows, cols, present)                                                                 \
    if (strcmp(#member, field) == 0) return (int64_t)(rows) * ((cols) ? (int64_t)(cols) : 1);
#include "model/params.def"
#undef P
#undef MLA
    REQUIRE(false, "params.def has no '%s'", field);
    return 0;
}

mla_layer mla_layer_copy(const mla_layer *l, const dims *d)
{
    mla_layer copy = {0};
    for (int i = 0; i < PARTS; i++)
        if (*part_at(l, i))
            *part_at(&copy, i) = matrix_copy(*part_at(l, i), 1, part_numel(d, parts[i].field));
    return copy;
}

void mla_layer_free(mla_layer *l)
{
    for (int i = 0; i < PARTS; i++) free(*part_at(l, i));
    *l = (mla_layer){0};
}

void gqa_layer_free(gqa_layer *g)
{
    free(g->wq);
    free(g->wk);
    free(g->wv);
    free(g->wo);
}

/* Sets the biases of rows (rows,width) so that what they make has a mean of zero. s (width,width): the Gram
 * matrix of [h;1]. */
static void centre(double *rows, int64_t count, int64_t width, const double *s)
{
    const int64_t C = width - 1;
    for (int64_t i = 0; i < count; i++) {
        double sum = 0;
        for (int64_t j = 0; j < C; j++) sum += rows[i * width + j] * s[j * width + C];
        rows[i * width + C] = -sum / s[C * width + C];
    }
}

double *gqa_layer_joint(const dims *from, const dims *to, const gqa_layer *g, const double *u,
                        const double *inputs)
{
    const int64_t values = from->G * from->D, keys = values - to->Dr, width = from->C + 1;
    double *joint = matrix_new(keys + values, width);
    blas_gemm_f64(false, false, keys, width, values, 1, u + to->Dr * values, values, g->wk, width, 0, joint,
                  width);
    memcpy(joint + keys * width, g->wv, sizeof *joint * (size_t)(values * width));
    if (to->o_bias) {
        centre(joint, keys, width, inputs);
        for (int64_t i = keys; i < keys + values; i++) joint[i * width + from->C] = 0;
    }
    return joint;
}

double *gqa_layer_query_grams(const dims *d, const gqa_layer *g, const double *s)
{
    const int64_t D = d->D, width = d->C + 1;
    double *all = matrix_new(d->H * D, D);
    for (int64_t h = 0; h < d->H; h++) {
        double *one = matrix_gram(g->wq + h * D * width, s, D, width);
        memcpy(all + h * D * D, one, sizeof *one * (size_t)(D * D));
        free(one);
    }
    return all;
}

/* Rows [w;b] (rows,width+1) taken apart into weight (rows,width) and, when it is wanted, bias. */
static void split_augmented(double *weight, double *bias, const double *augmented, int64_t rows,
                            int64_t width)
{
    for (int64_t i = 0; i < rows; i++) {
        memcpy(weight + i * width, augmented + i * (width + 1), sizeof *weight * (size_t)width);
        if (bias) bias[i] = augmented[i * (width + 1) + width];
    }
}

/* Each head's own D rows of queries become Dn+Dr: the old ones, which meet the key's part without
 * rotation, and their image in the shared rotary dimensions. Both carry the ratio of the two models'
 * softmax scales. in (H*D,width), out (H*(Dn+Dr),width). */
static void extend_queries(double *out, const double *in, int64_t width, const dims *from, const dims *to,
                           const double *u)
{
    const int64_t D = from->D, n = from->G * D, share = from->H / from->G, rows = to->Dn + to->Dr;
    const double scale = sqrt((double)(to->Dn + to->Dr) / (double)D);
    for (int64_t h = 0; h < from->H; h++) {
        const double *q = in + h * D * width;
        double *nope = out + h * rows * width, *rotary = nope + to->Dn * width;
        for (int64_t i = 0; i < D * width; i++) nope[i] = scale * q[i];
        blas_gemm_f64(false, false, to->Dr, width, D, scale, u + h / share * D, n, q, width, 0, rotary,
                      width);
    }
}

/* (rows,columns+1): a matrix and a column to its right. */
static double *beside(const double *matrix, const double *column, int64_t rows, int64_t columns)
{
    double *out = matrix_new(rows, columns + 1);
    for (int64_t i = 0; i < rows; i++) {
        memcpy(out + i * (columns + 1), matrix + i * columns, sizeof *out * (size_t)columns);
        out[i * (columns + 1) + columns] = column[i];
    }
    return out;
}

static void build_queries(mla_layer *out, const dims *from, const dims *to, const gqa_layer *g,
                          const layer_basis *b)
{
    const int64_t old_rows = from->H * from->D, rows = to->H * (to->Dn + to->Dr), C = from->C;
    double *bias = to->q_bias || to->q_a_bias ? matrix_new(rows, 1) : NULL;
    if (!to->Rq) {
        double *extended = matrix_new(rows, C + 1);
        extend_queries(extended, g->wq, C + 1, from, to, b->u);
        out->wq = matrix_new(rows, C);
        out->bq = bias;
        split_augmented(out->wq, bias, extended, rows, C);
        free(extended);
        return;
    }
    /* q_b carries all of the bias, so that cutting components off does not cut it: as its own, or as what it
     * makes of a last dimension of the latent that is always 1. */
    const int64_t rank = layer_query_rank(to);
    double *old_bias = matrix_new(old_rows, 1), *weight = matrix_new(old_rows, C);
    split_augmented(weight, old_bias, g->wq, old_rows, C);
    out->wq_a = matrix_new(to->Rq, C);
    blas_gemm_f64(false, false, rank, C, old_rows, 1, b->q_down, old_rows, weight, C, 0, out->wq_a, C);
    double *extended = matrix_new(rows, rank);
    extend_queries(extended, b->q_up, rank, from, to, b->u);
    if (bias) extend_queries(bias, old_bias, 1, from, to, b->u);
    if (to->q_a_bias) {
        out->bq_a = matrix_new(to->Rq, 1);
        out->bq_a[rank] = 1;
        out->wq_b = beside(extended, bias, rows, rank);
        free(bias);
        free(extended);
    } else {
        out->wq_b = extended;
        out->bq_b = bias;
    }
    free(old_bias);
    free(weight);
}

/* What the values' bias adds to the output of attention, whose weights of a token sum to 1: (C). */
static double *output_bias(const dims *from, const gqa_layer *g)
{
    const int64_t D = from->D, C = from->C, share = from->H / from->G, width = from->H * D;
    double *heads = matrix_new(width, 1), *bias = matrix_new(C, 1);
    for (int64_t i = 0; i < width; i++) heads[i] = g->wv[(i / D / share * D + i % D) * (C + 1) + C];
    blas_gemm_f64(false, false, C, 1, width, 1, g->wo, width, heads, 1, 0, bias, 1);
    free(heads);
    return bias;
}

static double *ones(int64_t count)
{
    double *values = matrix_new(1, count);
    for (int64_t i = 0; i < count; i++) values[i] = 1;
    return values;
}

void mla_layer_build(mla_layer *out, const dims *from, const dims *to, const gqa_layer *g,
                     const layer_basis *b)
{
    const int64_t D = from->D, values = from->G * D, keys = values - to->Dr, n = keys + values, C = from->C,
                  R = to->R, share = from->H / from->G;
    REQUIRE((b->down && b->up) || R == n, "a latent of %lld without axes", (long long)R);
    *out = (mla_layer){0};
    build_queries(out, from, to, g, b);

    /* kv_a: the latent, then the rotary key. */
    double *a = matrix_new(R + to->Dr, C + 1);
    if (b->down)
        blas_gemm_f64(false, false, R, C + 1, n, 1, b->down, n, b->joint, C + 1, 0, a, C + 1);
    else
        memcpy(a, b->joint, sizeof *a * (size_t)(n * (C + 1)));
    blas_gemm_f64(false, false, to->Dr, C + 1, values, 1, b->u, values, g->wk, C + 1, 0, a + R * (C + 1),
                  C + 1);
    out->wkv_a = matrix_new(R + to->Dr, C);
    if (to->k_bias) out->bkv_a = matrix_new(R + to->Dr, 1);
    split_augmented(out->wkv_a, out->bkv_a, a, R + to->Dr, C);
    free(a);
    out->wo = matrix_copy(g->wo, from->C, from->H * from->D);
    if (to->o_bias) out->bo = output_bias(from, g);
    if (to->latent_norm) out->kv_a_norm = ones(R);
    if (to->latent_norm && to->Rq) out->q_a_norm = ones(to->Rq);

    /* kv_b: each head's keys and values, from those of its group. */
    double *identity = NULL;
    if (!b->up) {
        identity = matrix_new(n, n);
        for (int64_t i = 0; i < n; i++) identity[i * n + i] = 1;
    }
    const double *up = b->up ? b->up : identity;
    out->wkv_b = matrix_new(to->H * (to->Dn + to->Dv), R);
    for (int64_t h = 0; h < to->H; h++) {
        const int64_t group = h / share;
        double *rows = out->wkv_b + h * (to->Dn + to->Dv) * R;
        blas_gemm_f64(true, false, D, R, keys, 1, b->u + to->Dr * values + group * D, values, up, R, 0, rows,
                      R);
        memcpy(rows + to->Dn * R, up + (keys + group * D) * R, sizeof *rows * (size_t)(D * R));
    }
    free(identity);
}
