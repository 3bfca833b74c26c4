/* What a layer is made from: sums over the rows of a stream, taken chunk by chunk, then over the ranks. The
 * later steps need of the attention's inputs h only one matrix, S = sum of [h;1][h;1]^T in double. The Gram
 * matrix of any projection y = W h + b is [W b] S [W b]^T (matrix_gram). */
#include "model/convert/work.h"
#include "model/block.h"
#include <math.h>
#include <string.h>

/* Adds rows (rows,C) of whole windows to s (C+1,C+1); `augmented` is room for (rows,C+1). */
static void gram_add(double *s, double *augmented, const double *values, int64_t rows, int64_t C, int64_t T,
                     double first_weight)
{
    const int64_t width = C + 1;
    for (int64_t n = 0; n < rows; n++) {
        const double root = sqrt(n % T == 0 ? first_weight : 1), *row = values + n * C;
        double *out = augmented + n * width;
        for (int64_t c = 0; c < C; c++) out[c] = root * row[c];
        out[C] = root;
    }
    blas_gemm_f64(true, false, width, width, rows, 1, augmented, width, augmented, width, 1, s, width);
}

/* The rows of a chunk to the input of the layer's attention. */
static void attention_input(const stream *s, const layer_weights *layer, chunk c)
{
    const model *m = &s->through->m;
    chunk_upload(m->k, &activations_layer(s->acts, 0)->x, s->x, c);
    block_attention_input(m, layer, s->acts, 0);
}

void measure_inputs(conversion_work *w, const stream *s, double first_weight, double *inputs,
                    double *first_tokens)
{
    const int64_t C = w->job->d->C, T = s->text->ids.T, elements = (C + 1) * (C + 1);
    double *h = w->chunk_rows;
    memset(inputs, 0, sizeof *inputs * (size_t)elements);
    if (first_tokens) memset(first_tokens, 0, sizeof *first_tokens * (size_t)elements);
    const layer_weights layer = layer_model_weights(s->through);
    EACH_CHUNK(c, s->text)
    {
        attention_input(s, &layer, c);
        chunk_read(w->job->k, h, &activations_layer(s->acts, 0)->attn_h, c);
        gram_add(inputs, w->chunk_augmented, h, c.rows, C, T, first_weight);
        if (!first_tokens) continue;
        for (int64_t i = 0; i < c.rows / T; i++) memmove(h + i * C, h + i * T * C, sizeof *h * (size_t)C);
        gram_add(first_tokens, w->chunk_augmented, h, c.rows / T, C, 1, 1);
    }
    layer_model_release(s->through, UNIT_LAYER);
    comm_wait(w->job->c, comm_sum_f64(w->job->c, inputs, elements));
    if (first_tokens) comm_wait(w->job->c, comm_sum_f64(w->job->c, first_tokens, elements));
}

void measure_latents(conversion_work *w, const stream *s, latent_sums *sums, bool constant_last)
{
    const model *m = &s->through->m;
    const layer_weights layer = layer_model_weights(s->through);
    const layer_acts *a = activations_layer(s->acts, 0);
    memset(sums, 0, sizeof *sums * LATENT_KINDS);
    EACH_CHUNK(c, s->text)
    {
        attention_input(s, &layer, c);
        for (int kind = 0; kind < latent_count(&m->d); kind++) {
            const bool kv = kind == LATENT_KV;
            (kv ? block_kv_latent : block_q_latent)(m, &layer, s->acts, 0);
            const tensor latent = tensor_slice(kv ? &a->kv_a : &a->q_latent, 0, kv ? m->d.R : m->d.Rq);
            chunk_read(m->k, w->chunk_rows, &latent, c);
            latent_sums_add(&sums[kind], w->chunk_rows, c.rows, latent.dim[1], constant_last);
        }
    }
    layer_model_release(s->through, UNIT_LAYER);
    comm_wait(w->job->c, comm_sum_f64(w->job->c, (double *)sums,
                                      LATENT_KINDS * (int64_t)(sizeof *sums / sizeof(double))));
}
