/* Text as rows of a residual stream: embedded once, then pushed through one layer after another. Rows stay in
 * host memory, so that the device holds one chunk and one layer. */
#include "model/convert/streams.h"
#include "model/convert/pieces.h"
#include "base/memory.h"
#include "model/block.h"
#include <stdlib.h>
#include <string.h>

/* The windows of this rank. */
static int32_t *deal_out(const text_share *s, const int32_t *all)
{
    int32_t *mine = memory_new(s->rows, sizeof *mine, "the tokens of a text");
    for (int64_t i = 0; i < s->windows; i++)
        memcpy(mine + i * s->T, all + (i * s->size + s->rank) * s->T, sizeof *mine * (size_t)s->T);
    return mine;
}

text_share text_share_of(const calibration *text, const comm *c)
{
    text_share s = {.T = text->T, .rank = c->rank, .size = c->size};
    if (!text->windows) return s;
    const int64_t together = (calibration_batch(text) + c->size - 1) / c->size;
    for (int64_t w = c->rank; w < text->windows; w += c->size) s.windows++;
    s.rows = s.windows * s.T;
    s.B = s.windows < together ? s.windows : together;
    if (s.B < 1) s.B = 1;
    return s;
}

void text_share_init(text_share *s, const calibration *text, const comm *c)
{
    *s = text_share_of(text, c);
    s->tokens = deal_out(s, text->tokens);
    s->targets = deal_out(s, text->targets);
    if (text->first) s->first = deal_out(s, text->first);
}

void text_share_free(text_share *s)
{
    free(s->tokens);
    free(s->targets);
    free(s->first);
    *s = (text_share){0};
}

static chunk chunk_at(const text_share *s, int64_t row)
{
    const int64_t most = s->B * s->T, left = s->rows - row;
    return (chunk){.row = row, .rows = left < most ? left : most};
}
chunk chunk_first(const text_share *s) { return chunk_at(s, 0); }
chunk chunk_next(const text_share *s, chunk c) { return chunk_at(s, c.row + c.rows); }

float *rows_new(const text_share *s, int64_t width)
{
    return memory_new(s->rows * width, sizeof(float), "%lld rows of %lld activations", (long long)s->rows,
                      (long long)width);
}

/* Uploads leave the tensor's rows beyond the chunk as they are: other windows, which nothing reads. */
void chunk_upload(const ops *k, tensor *to, const float *rows, chunk c)
{
    tensor real = tensor_rows(to, 0, c.rows);
    k->upload(&real, rows + c.row * to->dim[1], k->stream);
}

void chunk_download(const ops *k, float *rows, const tensor *from, chunk c)
{
    const tensor real = tensor_rows(from, 0, c.rows);
    k->download(rows + c.row * from->dim[1], &real, k->stream);
}

void chunk_read(const ops *k, double *out, const tensor *from, chunk c)
{
    const tensor real = tensor_rows(from, 0, c.rows);
    k->download_f64(out, &real, k->stream);
}

void stream_activations(activations *a, const text_share *s, const model *m)
{
    const ops *k = m->k;
    const int64_t rows = s->B * s->T;
    int32_t *zeros = memory_new(rows, sizeof *zeros, "the positions of a chunk");
    activations_init(a, &m->d, k, s->B, s->T, FORWARD_ONLY);
    k->upload_i32(&a->first, zeros, k->stream);
    free(zeros);
    /* A short chunk leaves rows that are never read, but must be numbers. */
    k->zero(&activations_layer(a, 0)->x, k->stream);
}

static void upload_ids(const ops *k, tensor *to, const int32_t *ids, chunk c)
{
    tensor real = tensor_rows(to, 0, c.rows);
    k->upload_i32(&real, ids + c.row, k->stream);
}

void stream_embed(float *x, const text_share *s, const model *ends, activations *a)
{
    const ops *k = ends->k;
    EACH_CHUNK(c, s)
    {
        upload_ids(k, &a->tokens, s->tokens, c);
        tensor out = tensor_rows(&activations_layer(a, 0)->x, 0, c.rows),
               ids = tensor_rows(&a->tokens, 0, c.rows);
        k->embedding_forward(&out, &ids, &ends->w.embed, k->stream);
        chunk_download(k, x, &activations_layer(a, 0)->x, c);
    }
}

void stream_advance(float *x, const text_share *s, const model *m, activations *a)
{
    const ops *k = m->k;
    EACH_CHUNK(c, s)
    {
        chunk_upload(k, &activations_layer(a, 0)->x, x, c);
        if (s->first) {
            tensor windows = tensor_rows(&a->first, 0, c.rows / s->T);
            k->upload_i32(&windows, s->first + c.row, k->stream);
        }
        block_forward(m, &m->w.layer[0], a, 0, &a->last);
        chunk_download(k, x, &a->last, c);
    }
}

double stream_loss(const float *x, const text_share *s, const model *ends, activations *a, const comm *c)
{
    const ops *k = ends->k;
    double sums[2] = {0, 0};
    float *losses = rows_new(s, 1);
    EACH_CHUNK(part, s)
    {
        chunk_upload(k, &a->last, x, part);
        upload_ids(k, &a->targets, s->targets, part);
        tensor last = tensor_rows(&a->last, 0, part.rows), hidden = tensor_rows(&a->hidden, 0, part.rows),
               rstd = tensor_rows(&a->last_rstd, 0, part.rows), loss = tensor_rows(&a->loss, 0, part.rows),
               targets = tensor_rows(&a->targets, 0, part.rows);
        k->rmsnorm_forward(&hidden, &rstd, &last, &ends->w.final_norm, ends->d.norm_eps, k->stream);
        k->head_loss_forward(&loss, &hidden, &ends->w.head, &targets, &a->logits, k->stream);
        k->download(losses + part.row, &loss, k->stream);
        for (int64_t i = part.row; i < part.row + part.rows; i++)
            sums[0] += (double)losses[i], sums[1] += s->targets[i] >= 0;
    }
    free(losses);
    comm_sum_f64(c, sums, 2);
    return sums[0] / (sums[1] > 0 ? sums[1] : 1);
}
