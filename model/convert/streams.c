/* A text on its way through layers that are made while it passes. No whole model is in memory: the text is
 * embedded once, all of its rows go through one layer, then through the next, and only the layer at hand has
 * to be there. Between two layers the rows are floats in host memory; in a layer, a chunk of windows at a
 * time is on the device. Several streams go side by side: the original's, and those of models made from it.
 * Every rank has windows of its own. */
#include "model/convert/streams.h"
#include "base/memory.h"
#include "model/mean_loss.h"
#include <stdlib.h>

/* ---- text -------------------- */

/* As many rows as keep the matrix products busy. */
enum { CHUNK_ROWS = 2048 };

/* Windows of all ranks that are computed at the same time. */
static int64_t windows_together(const token_batch *text)
{
    const int64_t wanted = CHUNK_ROWS / text->T;
    return wanted < 1 ? 1 : wanted < text->sequences ? wanted : text->sequences;
}

text_share text_share_of(text_kind kind, const token_batch *text, const comm *c)
{
    text_share s = {.kind = kind, .ids.T = text->T};
    if (!text->sequences) return s;
    const int64_t mine = (windows_together(text) + c->size - 1) / c->size;
    for (int64_t w = c->rank; w < text->sequences; w += c->size) s.ids.sequences++;
    s.B = s.ids.sequences < mine ? s.ids.sequences : mine;
    if (s.B < 1) s.B = 1;
    return s;
}

void text_share_init(text_share *s, text_kind kind, const token_batch *text, const comm *c)
{
    *s = text_share_of(kind, text, c);
    token_batch_init(&s->ids, s->ids.sequences, s->ids.T);
    for (int64_t i = 0; i < s->ids.sequences; i++) token_batch_copy(&s->ids, i, text, i * c->size + c->rank);
}

void text_share_free(text_share *s)
{
    token_batch_free(&s->ids);
    *s = (text_share){0};
}

int64_t text_share_rows(const text_share *s) { return s->ids.sequences * s->ids.T; }

/* ---- chunks -------------------- */

static chunk chunk_at(const text_share *s, int64_t row)
{
    const int64_t most = s->B * s->ids.T, left = text_share_rows(s) - row;
    return (chunk){.row = row, .rows = left < most ? left : most};
}
chunk chunk_first(const text_share *s) { return chunk_at(s, 0); }
chunk chunk_next(const text_share *s, chunk c) { return chunk_at(s, c.row + c.rows); }

float *text_share_rows_new(const text_share *s, int64_t width)
{
    const int64_t rows = text_share_rows(s);
    return memory_new(rows * width, sizeof(float), "%lld rows of %lld activations", (long long)rows,
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
                  .acts = layer_model_acts(through, text->kind, text->B, text->ids.T),
                  .original = original,
                  .x = text_share_rows_new(text, through->m.d.C)};
}

void stream_free(stream *s)
{
    free(s->x);
    *s = (stream){0};
}

void stream_embed(stream *s, layer_model *source)
{
    const ops *k = source->m.k;
    activations *a = layer_model_acts(source, s->text->kind, s->text->B, s->text->ids.T);
    EACH_CHUNK(c, s->text)
    {
        chunk_upload_ids(k, &a->tokens, s->text->ids.tokens, c);
        layer_model_embed(source, a, c.rows);
        chunk_download(k, s->x, &activations_layer(a, 0)->x, c);
    }
}

void stream_advance(stream *s)
{
    const ops *k = s->through->m.k;
    activations *a = s->acts;
    const layer_weights layer = layer_model_weights(s->through);
    EACH_CHUNK(c, s->text)
    {
        chunk_upload(k, &activations_layer(a, 0)->x, s->x, c);
        tensor windows = tensor_rows(&a->first, 0, c.rows / s->text->ids.T);
        k->upload_i32(&windows, s->text->ids.first + c.row, k->stream);
        layer_model_forward(s->through, &layer, a);
        chunk_download(k, s->x, &a->last, c);
    }
    layer_model_release(s->through, UNIT_LAYER);
}

void stream_finish(stream *s, layer_model *source, const comm *c)
{
    const text_share *t = s->text;
    const int64_t T = t->ids.T;
    activations *a = layer_model_acts(source, t->kind, t->B, T);
    token_batch ids; /* of a chunk */
    mean_loss loss = {0};
    token_batch_init(&ids, t->B, T);
    layer_model_loss_begin(source, a);
    EACH_CHUNK(part, t)
    {
        chunk_upload(source->m.k, &a->last, s->x, part);
        for (int64_t i = 0; i < t->B; i++)
            if (i < part.rows / T)
                token_batch_copy(&ids, i, &t->ids, part.row / T + i);
            else
                token_batch_blank(&ids, i); /* a short chunk's other rows */
        layer_model_loss_add(source, a, &ids);
    }
    mean_loss_add(&loss, layer_model_loss_sum(source, a), &t->ids);
    mean_loss_reduce(&loss, c);
    s->loss = mean_loss_value(&loss);
    token_batch_free(&ids);
}
