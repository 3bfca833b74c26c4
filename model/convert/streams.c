/* Text as rows of a residual stream: embedded once, then pushed through one layer after another. Rows stay in
 * host memory, so that the device holds one chunk and one layer. */
#include "model/convert/streams.h"
#include "model/convert/pieces.h"
#include "model/parts.h"
#include <stdlib.h>
#include <string.h>

/* The windows of this rank. */
static int32_t *deal_out(const text_share *s, const int32_t *all)
{
    int32_t *mine = malloc(sizeof *mine * (size_t)(s->rows + 1));
    if (!mine) die(ERR_DEVICE, "no memory for %lld tokens", (long long)s->rows);
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
    float *rows = malloc(sizeof *rows * (size_t)(s->rows * width + 1));
    if (!rows)
        die(ERR_DEVICE, "conversion: no memory for %lld rows of %lld activations", (long long)s->rows,
            (long long)width);
    return rows;
}

/* Uploads leave the tensor's rows beyond the chunk as they are: other windows, which nothing reads. */
void chunk_upload(const model *m, tensor *to, const float *rows, chunk c)
{
    tensor real = tensor_rows(to, 0, c.rows);
    m->k->upload(&real, rows + c.row * to->dim[1], m->k->stream);
}

void chunk_download(const model *m, float *rows, const tensor *from, chunk c)
{
    const tensor real = tensor_rows(from, 0, c.rows);
    m->k->download(rows + c.row * from->dim[1], &real, m->k->stream);
}

void chunk_read(const model *m, double *out, const tensor *from, chunk c)
{
    const tensor real = tensor_rows(from, 0, c.rows);
    m->k->download_f64(out, &real, m->k->stream);
}

void no_document_mask(model *m)
{
    int32_t *zeros = calloc((size_t)(m->B * m->T), sizeof *zeros);
    if (!zeros) die(ERR_DEVICE, "no memory for %lld positions", (long long)(m->B * m->T));
    m->k->upload_i32(&m->first, zeros, m->k->stream);
    free(zeros);
    /* A short chunk leaves rows that are never read, but must be numbers. */
    m->k->zero(&m->acts[0].x, m->k->stream);
}

static void upload_ids(const model *m, tensor *to, const int32_t *ids, chunk c)
{
    tensor real = tensor_rows(to, 0, c.rows);
    m->k->upload_i32(&real, ids + c.row, m->k->stream);
}

void stream_embed(float *x, const text_share *s, model *ends)
{
    EACH_CHUNK(c, s)
    {
        upload_ids(ends, &ends->tokens, s->tokens, c);
        tensor out = tensor_rows(&ends->acts[0].x, 0, c.rows), ids = tensor_rows(&ends->tokens, 0, c.rows);
        ends->k->embedding_forward(&out, &ids, &ends->w.embed, ends->k->stream);
        chunk_download(ends, x, &ends->acts[0].x, c);
    }
}

void stream_advance(float *x, const text_share *s, model *m)
{
    EACH_CHUNK(c, s)
    {
        chunk_upload(m, &m->acts[0].x, x, c);
        if (s->first) {
            tensor windows = tensor_rows(&m->first, 0, c.rows / s->T);
            m->k->upload_i32(&windows, s->first + c.row, m->k->stream);
        }
        block_forward(m, 0, &m->acts[0], &m->last);
        chunk_download(m, x, &m->last, c);
    }
}

void attention_only(model *m)
{
    layer_acts *a = &m->acts[0];
    m->k->rmsnorm_forward(&m->s.h, &a->attn_rstd, &a->x, &m->w.layer[0].attn_norm, m->d.norm_eps,
                          m->k->stream);
    if (m->d.kind == ATTENTION_MLA)
        mla_forward(m, 0, a);
    else
        gqa_forward(m, 0, a);
}

double stream_loss(const float *x, const text_share *s, model *ends, const comm *c)
{
    const ops *k = ends->k;
    double sums[2] = {0, 0};
    float *losses = rows_new(s, 1);
    EACH_CHUNK(part, s)
    {
        chunk_upload(ends, &ends->last, x, part);
        upload_ids(ends, &ends->targets, s->targets, part);
        tensor last = tensor_rows(&ends->last, 0, part.rows),
               hidden = tensor_rows(&ends->hidden, 0, part.rows),
               rstd = tensor_rows(&ends->last_rstd, 0, part.rows),
               loss = tensor_rows(&ends->loss, 0, part.rows),
               targets = tensor_rows(&ends->targets, 0, part.rows);
        k->rmsnorm_forward(&hidden, &rstd, &last, &ends->w.final_norm, ends->d.norm_eps, k->stream);
        k->head_loss_forward(&loss, &hidden, &ends->w.head, &targets, &ends->logits, k->stream);
        k->download(losses + part.row, &loss, k->stream);
        for (int64_t i = part.row; i < part.row + part.rows; i++)
            sums[0] += (double)losses[i], sums[1] += s->targets[i] >= 0;
    }
    free(losses);
    comm_sum_f64(c, sums, 2);
    return sums[0] / (sums[1] > 0 ? sums[1] : 1);
}
