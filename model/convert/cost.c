/* What a conversion by layers takes, from shapes alone. */
#include "model/convert/work.h"

/* Libraries, their buffers, a chunk of weights on its way to a file. */
#define PROGRAM_BYTES (INT64_C(96) << 20)

static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }

/* ---- time -------------------- */

/* Forward operations of one token through a layer. */
static double layer_flops(const dims *d, int64_t T)
{
    const dims one = one_layer(*d, false);
    return model_flops_per_token(&one, T) / 3; /* a step's backward is twice its forward */
}

/* The text once through the original, once through the result and once more through its attention; held-out
 * text once through every step. */
static double flops_f32(const layers_job *j, const dims *to, int64_t rows, int64_t held_out_rows)
{
    const double held_out =
        held_out_rows ? CONVERT_STEPS * (double)held_out_rows * layer_flops(to, j->held_out->T) : 0;
    return (double)j->d->L *
           ((double)rows * (layer_flops(j->d, j->text->T) + 1.5 * layer_flops(to, j->text->T)) + held_out);
}

static double flops_f64(const layers_job *j, const dims *to, int64_t rows)
{
    const double N = (double)rows, C = (double)j->d->C, w = C + 1, heads = (double)(to->H * to->Dv),
                 n = (double)(2 * j->d->G * j->d->D - to->Dr);
    return (double)j->d->L * (2 * N * w * w + 2 * N * heads * (heads + C) + /* Gram matrices */
                              28 * n * n * n + 2 * n * w * w +              /* eigenvectors, products */
                              (j->settings->freqfold ? 0 : rope_divide_flops(j->d, to->Dr)) +
                              heads * heads * (heads / 3 + 4 * C)); /* regression */
}

/* ---- memory -------------------- */

/* Bytes of a text on every rank, and of its rows of `width` floats on this one. */
static int64_t text_bytes(const calibration *text, int64_t rows, int64_t width)
{
    const int64_t ids = 3 * (int64_t)sizeof(int32_t); /* tokens, targets, first */
    return ids * (text->windows * text->T + rows) + (int64_t)sizeof(float) * rows * width;
}

/* Elements of an mla_layer, and of the copy that building it takes. */
static int64_t build_elements(const dims *from, const dims *to)
{
    const int64_t head = to->Dn + to->Dr, C = to->C, n = 2 * from->G * from->D - to->Dr;
    const int64_t queries = to->Rq ? to->Rq * (C + to->H * head) : to->H * head * C,
                  keys = (to->R + to->Dr) * C + to->H * (to->Dn + to->Dv) * to->R;
    return queries + keys + larger(to->H * head * (C + 1), (n + to->R + to->Dr) * (C + 1));
}

/* Elements that axes of n dimensions take: factor, weighed Gram matrix, and twice that for LAPACK. */
static int64_t axes_elements(int64_t n, int64_t rank) { return 4 * n * n + n * rank; }

/* Doubles in memory when the linear algebra of a layer needs most. */
static int64_t solve_elements(const layers_job *j, const dims *to, const dims *rope, const text_share *text)
{
    const dims *d = j->d;
    const int64_t C = d->C, w = C + 1, q = d->H * d->D, kv = d->G * d->D, heads = to->H * to->Dv,
                  n = 2 * kv - to->Dr;
    const int64_t always = 2 * w * w +
                           text->B * text->T * (larger(larger(w, heads), larger(to->R, to->Rq)) + w) +
                           heads * (heads + C) +         /* sums of the regression */
                           (q + 2 * kv) * w + C * q +    /* gqa_layer */
                           kv * kv + d->H * d->D * d->D; /* key_gram, query_grams */
    const int64_t axes = larger(n * w, axes_elements(n, to->R)),
                  q_axes = to->Rq ? q * w + 2 * q * q + axes_elements(q, to->Rq) : 0,
                  cut = kv * kv + n * w + n * n + 2 * n * to->R + 2 * q * to->Rq +
                        larger(larger(axes, q_axes), build_elements(d, to)),
                  follow = j->held_out->windows ? kv * kv + n * n + build_elements(d, rope) : 0,
                  regression = heads * heads + 3 * heads * C,
                  norms = j->settings->latent_norm ? larger(w * w + C * C, regression) : regression;
    return always + larger(larger(cut, follow), norms);
}

static int64_t chunk_bytes(const ops *k, const dims *d, const text_share *text)
{
    return activations_bytes(d, k, text->B, text->T, FORWARD_ONLY);
}

/* Models of one layer with the activations of a chunk. Held-out text goes through the original's and the
 * result's, and through the one of which only the rotary part is converted. */
static int64_t model_memory(const layers_job *j, const dims *to, const dims *rope, const text_share *text,
                            const text_share *held_out)
{
    const ops *k = j->k;
    const dims source = source_layer(j), target = one_layer(*to, false), rotary = one_layer(*rope, false);
    const int64_t followed = CONVERT_STEPS - 2 - !j->settings->latent_norm; /* with the result's weights */
    int64_t bytes = model_bytes(&source, k) + 2 * model_bytes(&target, k) + /* it is saved during tries */
                    chunk_bytes(k, &source, text) + chunk_bytes(k, &target, text);
    if (held_out->windows)
        bytes += model_bytes(&rotary, k) + chunk_bytes(k, &source, held_out) +
                 chunk_bytes(k, &rotary, held_out) + followed * chunk_bytes(k, &target, held_out);
    return bytes;
}

/* ---- both -------------------- */

layers_plan layers_plan_of(const layers_job *j)
{
    const dims to = convert_dims(j->d, j->settings), rope = rotary_dims(j->d, j->settings);
    const text_share text = text_share_of(TEXT_CALIBRATION, j->text, j->c),
                     held_out = text_share_of(TEXT_HELD_OUT, j->held_out, j->c);
    const int64_t C = j->d->C, heads = to.H * to.Dv, followed = CONVERT_STEPS - !j->settings->latent_norm;
    return (layers_plan){
        .weight_bytes = PROGRAM_BYTES + model_memory(j, &to, &rope, &text, &held_out),
        .text_bytes = text_bytes(j->text, text.rows, 3 * C + 1 + heads) +
                      text_bytes(j->held_out, held_out.rows, followed * C + 1),
        .solve_bytes = (int64_t)sizeof(double) * solve_elements(j, &to, &rope, &text),
        .flops_f32 = flops_f32(j, &to, text.rows, held_out.rows),
        .flops_f64 = flops_f64(j, &to, text.rows),
    };
}

int64_t layers_plan_bytes(const layers_plan *p) { return p->weight_bytes + p->text_bytes + p->solve_bytes; }
