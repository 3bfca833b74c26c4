/* A text on its way through layers that are made while it passes. No whole model is in memory: the text is
 * embedded once, all of its rows go through one layer, then through the next, and only the layer at hand has
 * to be there. Between two layers the rows are floats in host memory; in a layer, a chunk of windows at a
 * time is on the device. Several streams go side by side: the original's, and those of models made from it.
 * Every rank has windows of its own. */
#include "model/convert/streams.h"
#include "base/memory.h"
#include <stdlib.h>
#include <string.h>

/* ---- text -------------------- */

/* As many rows as keep the matrix products busy. */
enum { CHUNK_ROWS = 2048 };

/* The windows of this rank. */
static int32_t *deal_out(const text_share *s, const int32_t *all)
{
    int32_t *mine = memory_new(s->rows, sizeof *mine, "the tokens of a text");
    for (int64_t i = 0; i < s->windows; i++)
        memcpy(mine + i * s->T, all + (i * s->size + s->rank) * s->T, sizeof *mine * (size_t)s->T);
    return mine;
}

/* Windows of all ranks that are computed at the same time. */
static int64_t windows_together(const calibration *text)
{
    const int64_t wanted = CHUNK_ROWS / text->T;
    return wanted < 1 ? 1 : wanted < text->windows ? wanted : text->windows;
}

text_share text_share_of(text_kind kind, const calibration *text, const comm *c)
{
    text_share s = {.kind = kind, .T = text->T, .rank = c->rank, .size = c->size};
    if (!text->windows) return s;
    const int64_t mine = (windows_together(text) + c->size - 1) / c->size;
    for (int64_t w = c->rank; w < text->windows; w += c->size) s.windows++;
    s.rows = s.windows * s.T;
    s.B = s.windows < mine ? s.windows : mine;
    if (s.B < 1) s.B = 1;
    return s;
}

void text_share_init(text_share *s, text_kind kind, const calibration *text, const comm *c)
{
    *s = text_share_of(kind, text, c);
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

/* ---- chunks -------------------- */

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

static void chunk_upload_ids(const ops *k, tensor *to, const int32_t *ids, chunk c)
{
    tensor real = tensor_rows(to, 0, c.rows);
    k->upload_i32(&real, ids + c.row, k->stream);
}

/* ---- streams -------------------- */

void stream_init(stream *s, const text_share *text, layer_model *through, bool original)
{
    *s = (stream){.text = text,
                  .through = through,
                  .acts = layer_model_acts(through, text->kind, text->B, text->T),
                  .original = original,
                  .x = rows_new(text, through->m.d.C)};
}

void stream_free(stream *s)
{
    free(s->x);
    *s = (stream){0};
}

void stream_embed(stream *s, layer_model *ends)
{
    const ops *k = ends->m.k;
    activations *a = layer_model_acts(ends, s->text->kind, s->text->B, s->text->T);
    EACH_CHUNK(c, s->text)
    {
        chunk_upload_ids(k, &a->tokens, s->text->tokens, c);
        layer_model_embed(ends, a, c.rows);
        chunk_download(k, s->x, &activations_layer(a, 0)->x, c);
    }
}

void stream_advance(stream *s)
{
    const ops *k = s->through->m.k;
    activations *a = s->acts;
    EACH_CHUNK(c, s->text)
    {
        chunk_upload(k, &activations_layer(a, 0)->x, s->x, c);
        if (s->text->first) {
            tensor windows = tensor_rows(&a->first, 0, c.rows / s->text->T);
            k->upload_i32(&windows, s->text->first + c.row, k->stream);
        }
        layer_model_forward(s->through, a);
        chunk_download(k, s->x, &a->last, c);
    }
}

void stream_finish(stream *s, layer_model *ends, const comm *c)
{
    const text_share *t = s->text;
    activations *a = layer_model_acts(ends, t->kind, t->B, t->T);
    const int64_t N = t->B * t->T;
    int32_t *targets = memory_new(N, sizeof *targets, "the targets of a chunk");
    double sums[2] = {0, 0};
    layer_model_loss_begin(ends, a);
    EACH_CHUNK(part, t)
    {
        chunk_upload(ends->m.k, &a->last, s->x, part);
        memcpy(targets, t->targets + part.row, sizeof *targets * (size_t)part.rows);
        for (int64_t i = part.rows; i < N; i++) targets[i] = -1; /* a short chunk's other rows */
        for (int64_t i = 0; i < part.rows; i++) sums[1] += targets[i] >= 0;
        layer_model_loss_add(ends, a, targets);
    }
    sums[0] = layer_model_loss_sum(ends, a);
    free(targets);
    comm_sum_f64(c, sums, 2);
    s->loss = sums[0] / (sums[1] > 0 ? sums[1] : 1);
}
