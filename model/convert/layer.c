/* One layer's weights: read from the GQA model, put into another basis, written into the MLA model. Shapes
 * as in params.def. */
#include "model/convert/pieces.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

double *matrix_read(const ops *k, const tensor *t)
{
    double *m = matrix_new(1, tensor_numel(t));
    k->download_f64(m, t, k->stream);
    return m;
}

void matrix_write(const ops *k, tensor *t, const double *values)
{
    const int64_t count = tensor_numel(t);
    float *rounded = malloc(sizeof *rounded * (size_t)count);
    if (!rounded) die(ERR_DEVICE, "conversion: no memory for %lld floats", (long long)count);
    for (int64_t i = 0; i < count; i++) rounded[i] = (float)values[i];
    k->upload(t, rounded, k->stream);
    free(rounded);
}

float *values_read(const ops *k, const tensor *t)
{
    const int64_t count = tensor_numel(t);
    float *values = malloc(sizeof *values * (size_t)count);
    if (!values) die(ERR_DEVICE, "conversion: no memory for %lld floats", (long long)count);
    k->download(values, t, k->stream);
    return values;
}

/* [weight bias] (rows,C+1); no bias is a bias of zeros. */
static double *read_augmented(const ops *k, const tensor *weight, const tensor *bias)
{
    const int64_t rows = weight->dim[0], C = weight->dim[1];
    double *w = matrix_read(k, weight), *out = matrix_new(rows, C + 1);
    for (int64_t i = 0; i < rows; i++) memcpy(out + i * (C + 1), w + i * C, sizeof *w * (size_t)C);
    free(w);
    if (tensor_present(bias)) {
        double *b = matrix_read(k, bias);
        for (int64_t i = 0; i < rows; i++) out[i * (C + 1) + C] = b[i];
        free(b);
    }
    return out;
}

void gqa_layer_read(gqa_layer *g, const model *source, int64_t layer)
{
    const layer_weights *w = &source->w.layer[layer];
    g->wq = read_augmented(source->k, &w->wq, &w->bq);
    g->wk = read_augmented(source->k, &w->wk, &w->bk);
    g->wv = read_augmented(source->k, &w->wv, &w->bv);
    g->wo = matrix_read(source->k, &w->wo);
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

double *joint_projection(const dims *from, const dims *to, const gqa_layer *g, const double *u,
                         const double *inputs)
{
    const int64_t values = from->G * from->D, keys = values - to->Dr, width = from->C + 1;
    double *joint = matrix_new(keys + values, width);
    gemm_f64(false, false, keys, width, values, 1, u + to->Dr * values, values, g->wk, width, 0, joint,
             width);
    memcpy(joint + keys * width, g->wv, sizeof *joint * (size_t)(values * width));
    if (to->o_bias) {
        centre(joint, keys, width, inputs);
        for (int64_t i = keys; i < keys + values; i++) joint[i * width + from->C] = 0;
    }
    return joint;
}

double *query_grams(const dims *d, const gqa_layer *g, const double *s)
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
        gemm_f64(false, false, to->Dr, width, D, scale, u + h / share * D, n, q, width, 0, rotary, width);
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
    const int64_t rank = query_rank(to);
    double *old_bias = matrix_new(old_rows, 1), *weight = matrix_new(old_rows, C);
    split_augmented(weight, old_bias, g->wq, old_rows, C);
    out->wq_a = matrix_new(to->Rq, C);
    gemm_f64(false, false, rank, C, old_rows, 1, b->q_down, old_rows, weight, C, 0, out->wq_a, C);
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
    gemm_f64(false, false, C, 1, width, 1, g->wo, width, heads, 1, 0, bias, 1);
    free(heads);
    return bias;
}

void mla_layer_build(mla_layer *out, const dims *from, const dims *to, const gqa_layer *g,
                     const layer_basis *b)
{
    const int64_t D = from->D, values = from->G * D, keys = values - to->Dr, n = keys + values, C = from->C,
                  R = to->R, share = from->H / from->G;
    REQUIRE((b->down && b->up) || R == n, "a latent of %lld without axes", (long long)R);
    memset(out, 0, sizeof *out);
    build_queries(out, from, to, g, b);

    /* kv_a: the latent, then the rotary key. */
    double *a = matrix_new(R + to->Dr, C + 1);
    if (b->down)
        gemm_f64(false, false, R, C + 1, n, 1, b->down, n, b->joint, C + 1, 0, a, C + 1);
    else
        memcpy(a, b->joint, sizeof *a * (size_t)(n * (C + 1)));
    gemm_f64(false, false, to->Dr, C + 1, values, 1, b->u, values, g->wk, C + 1, 0, a + R * (C + 1), C + 1);
    out->wkv_a = matrix_new(R + to->Dr, C);
    if (to->k_bias) out->bkv_a = matrix_new(R + to->Dr, 1);
    split_augmented(out->wkv_a, out->bkv_a, a, R + to->Dr, C);
    free(a);
    if (to->o_bias) out->bo = output_bias(from, g);

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
        gemm_f64(true, false, D, R, keys, 1, b->u + to->Dr * values + group * D, values, up, R, 0, rows, R);
        memcpy(rows + to->Dn * R, up + (keys + group * D) * R, sizeof *rows * (size_t)(D * R));
    }
    free(identity);
}

void mla_layer_write(const mla_layer *l, model *m, int64_t layer)
{
    layer_weights *w = &m->w.layer[layer];
    const struct {
        tensor *to;
        const double *from;
    } pieces[] = {
        {&w->wq, l->wq},       {&w->bq, l->bq},     {&w->wq_a, l->wq_a},   {&w->bq_a, l->bq_a},
        {&w->wq_b, l->wq_b},   {&w->bq_b, l->bq_b}, {&w->wkv_a, l->wkv_a}, {&w->bkv_a, l->bkv_a},
        {&w->wkv_b, l->wkv_b}, {&w->bo, l->bo},
    };
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        REQUIRE(tensor_present(pieces[i].to) == (pieces[i].from != NULL), "piece %zu of layer %lld", i,
                (long long)layer);
        if (pieces[i].from) matrix_write(m->k, pieces[i].to, pieces[i].from);
    }
}

void mla_layer_free(mla_layer *l)
{
    double *const pieces[] = {l->wq,   l->bq,    l->wq_a,  l->bq_a,  l->wq_b,
                              l->bq_b, l->wkv_a, l->bkv_a, l->wkv_b, l->bo};
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) free(pieces[i]);
}
