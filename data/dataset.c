/* Samples over shards. A sample is found by bisection of first_sample[], read from its shard when it is
 * requested, and turned into the three arrays of a token_batch. For a window of T = 6 in which a document
 * ends behind token 2:
 *
 *     shard     a b c | d e f g        the window is a..f; g is only the last target
 *     tokens    a b c   d e f
 *     targets   b c -1  e f g          -1: d is another document's, not counted with the document mask
 *     first     0 0 0   3 3 3          the first position that each one attends to
 *
 * Only the shards' indexes are kept in memory. */
#include "data/dataset.h"
#include "base/hash.h"
#include "base/memory.h"
#include "data/shards/shard_listed.h"
#include <stdlib.h>
#include <string.h>

/* ---- opening ------------------------------------------------------------------------------------------- */

static status count_samples(const dataset *d, const char *key, const shard *s, int64_t *samples, message *why)
{
    *samples = (s->tokens - 1) / d->T;
    if (*samples > 0) return OK;
    return fail(why, ERR_INPUT,
                "%s: %s holds %lld tokens, but one window of %lld needs %lld (the last target included)", key,
                s->path, (long long)s->tokens, (long long)d->T, (long long)d->T + 1);
}

static status shard_add(dataset *d, const char *key, const char *path, const dataset_form *form, listed *l,
                        message *why)
{
    shard *s = &d->shard[d->shards];
    if (folder_exists(path))
        return fail(why, ERR_INPUT, "%s: %s is a folder: name its shards, %s/*.ds.zst or %s/*.ds", key, path,
                    path, path);
    TRY(shard_open(s, path, why));
    const int i = d->shards++;
    TRY(listed_check(l, s, why));
    if (s->identity.vocabulary > d->vocabulary)
        return fail(
            why, ERR_INPUT,
            "%s: %s holds ids of a vocabulary of %lld, but the model's has %lld: it was tokenized for "
            "another model",
            key, s->path, (long long)s->identity.vocabulary, (long long)d->vocabulary);
    int64_t samples;
    if (d->pack) {
        const pack_rule rule = {.mode = form->packing, .T = d->T, .eos = d->eos};
        TRY(pack_open(&d->pack[i], s, &rule, form->pack_folder ? form->pack_folder : "", why));
        samples = d->pack[i].samples;
    } else {
        TRY(count_samples(d, key, s, &samples, why));
    }
    d->samples += samples;
    d->first_sample[d->shards] = d->samples;
    return OK;
}

static status shards_open(dataset *d, const char *key, const path_list *list, const dataset_form *form,
                          message *why)
{
    const int64_t count = list->count;
    const bool packed = form->packing != PACKING_CONCAT;
    d->shard = memory_new(count, sizeof *d->shard, "shards");
    d->first_sample = memory_new(count + 1, sizeof *d->first_sample, "shards");
    d->pack = packed ? memory_new(count, sizeof *d->pack, "packed shards") : NULL;
    listed l = {0};
    status s = OK;
    for (int i = 0; i < list->count && s == OK; i++) s = shard_add(d, key, list->path[i], form, &l, why);
    listed_free(&l);
    return s;
}

status dataset_open(dataset *d, const char *key, const char *const *patterns, int count,
                    const dataset_form *form, message *why)
{
    REQUIRE(count > 0 && form->T > 0 && form->vocabulary > 0, "%s: %d patterns, T %lld, V %lld", key, count,
            (long long)form->T, (long long)form->vocabulary);
    const bool transmla = form->packing == PACKING_TRANSMLA;
    REQUIRE(!transmla || (form->T > 1 && form->eos >= 0 && form->eos < form->vocabulary),
            "%s: T %lld, end of text %lld", key, (long long)form->T, (long long)form->eos);
    *d = (dataset){.T = form->T,
                   .vocabulary = form->vocabulary,
                   .document_mask = form->document_mask,
                   .eos = transmla ? form->eos : -1};
    path_list list;
    message inner;
    if (path_list_expand(&list, patterns, count, &inner) != OK)
        return fail(why, ERR_INPUT, "%s: %s", key, inner.text);
    const status s = shards_open(d, key, &list, form, why);
    path_list_free(&list);
    if (s != OK) dataset_close(d);
    return s;
}

void dataset_close(dataset *d)
{
    for (int i = 0; i < d->shards; i++) shard_close(&d->shard[i]);
    free(d->shard);
    free(d->pack);
    free(d->first_sample);
    *d = (dataset){0};
}

/* ---- windows ------------------------------------------------------------------------------------------- */

/* Finds the shard that holds sample i: the last one whose first sample is not after i. Every shard has
 * samples. */
static int shard_of(const dataset *d, int64_t i)
{
    int low = 0, high = d->shards - 1;
    while (low < high) {
        const int middle = low + (high - low + 1) / 2;
        if (d->first_sample[middle] <= i)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

/* Applies the document mask to a window that begins at token `from`. */
static void mask(const shard *s, int64_t from, const token_batch *window)
{
    int64_t document = shard_document(s, from);
    int64_t start = 0; /* of the document, within the window */
    for (int64_t t = 0; t < window->T; t++) {
        window->first[t] = (int32_t)start;
        if (from + t + 1 < s->document_end[document]) continue;
        window->targets[t] = -1; /* it begins the next document */
        document++;
        start = t + 1;
    }
}

static status read_window(const dataset *d, const shard *s, int64_t i, const token_batch *window,
                          message *why)
{
    const int64_t T = d->T, from = i * T;
    int32_t *const targets = window->targets;
    TRY(shard_read(s, from, T, d->vocabulary, window->tokens, why));
    TRY(shard_read(s, from + T, 1, d->vocabulary, &targets[T - 1], why));
    memcpy(targets, window->tokens + 1, sizeof *targets * (size_t)(T - 1));
    if (d->document_mask)
        mask(s, from, window);
    else
        memset(window->first, 0, sizeof *window->first * (size_t)T);
    return OK;
}

/* ---- packed samples ------------------------------------------------------------------------------------ */

static void fill(int32_t *values, int64_t from, int64_t to, int32_t value)
{
    for (int64_t t = from; t < to; t++) values[t] = value;
}

/* Reads a piece to position `at`; *end: the position of the next one. A piece of TransMLA's is followed by
 * the end-of-text token, its last target; the last target of best fit's is the next token of its document. */
static status read_piece(const dataset *d, const shard *s, const pack_piece *p, int64_t at, int64_t *end,
                         const token_batch *sample, message *why)
{
    const bool transmla = d->eos >= 0;
    const int64_t last = at + p->length - 1;
    int32_t *const inputs = sample->tokens, *const targets = sample->targets;
    TRY(shard_read(s, p->from, p->length, d->vocabulary, inputs + at, why));
    memcpy(targets + at, inputs + at + 1, sizeof *targets * (size_t)(p->length - 1));
    *end = last + 1;
    if (!transmla) return shard_read(s, p->from + p->length, 1, d->vocabulary, &targets[last], why);
    targets[last] = (int32_t)d->eos;
    inputs[*end] = (int32_t)d->eos;
    targets[(*end)++] = -1;
    return OK;
}

/* Reads a packed sample. Positions that are left are padding, a piece of its own without counted targets. */
static status read_packed(const dataset *d, int at, int64_t i, const token_batch *sample, message *why)
{
    pack_piece *piece;
    int pieces;
    int64_t used = 0;
    TRY(pack_read(&d->pack[at], &d->shard[at], i, &piece, &pieces, why));
    status s = OK;
    for (int j = 0; j < pieces && s == OK; j++) {
        const int64_t start = used;
        s = read_piece(d, &d->shard[at], &piece[j], start, &used, sample, why);
        fill(sample->first, start, used, d->document_mask ? (int32_t)start : 0);
    }
    free(piece);
    TRY(s);
    fill(sample->tokens, used, d->T, d->eos >= 0 ? (int32_t)d->eos : 0);
    fill(sample->targets, used, d->T, -1);
    fill(sample->first, used, d->T, d->document_mask ? (int32_t)used : 0);
    return OK;
}

status dataset_read(const dataset *d, int64_t i, token_batch *b, int64_t row, message *why)
{
    REQUIRE(i >= 0 && i < d->samples, "sample %lld of %lld", (long long)i, (long long)d->samples);
    REQUIRE(b->T == d->T, "samples of %lld tokens for a batch of %lld", (long long)d->T, (long long)b->T);
    const token_batch sample = token_batch_view(b, row, 1);
    const int at = shard_of(d, i);
    const int64_t inside = i - d->first_sample[at];
    return d->pack ? read_packed(d, at, inside, &sample, why)
                   : read_window(d, &d->shard[at], inside, &sample, why);
}

/* ---- identity ------------------------------------------------------------------------------------------ */

uint64_t dataset_fingerprint(const dataset *d, bool content)
{
    hash_state *hash = hash_start();
    for (int i = 0; i < d->shards; i++) {
        const shard *s = &d->shard[i];
        const int64_t shape[] = {s->tokens, s->token_bytes, s->documents};
        hash_update(hash, shape, sizeof shape);
        hash_update(hash, s->document_end, (int64_t)sizeof *s->document_end * s->documents);
        if (content && s->content) hash_update(hash, &s->content, sizeof s->content);
        if (d->pack) hash_update(hash, &d->pack[i].hash, sizeof d->pack[i].hash);
    }
    return hash_finish(hash);
}
