/* Windows over shards: where each one lies, and what its targets and documents are. Nothing is kept but
 * the shards' indexes; a window is read when it is asked for. */
#include "data/dataset.h"
#include "data/shard_listed.h"
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

/* ---- opening ------------------------------------------------------------------------------------------- */

static status shard_add(dataset *d, const char *key, const char *path, listed *l, message *why)
{
    shard *s = &d->shard[d->shards];
    TRY(shard_open(s, path, why));
    d->shards++;
    TRY(listed_check(l, s, why));
    if (s->identity.vocabulary > d->vocabulary)
        return fail(
            why, ERR_INPUT,
            "%s: %s holds ids of a vocabulary of %lld, but the model's has %lld: it was tokenized for "
            "another model",
            key, s->path, (long long)s->identity.vocabulary, (long long)d->vocabulary);
    const int64_t windows = (s->tokens - 1) / d->T;
    if (windows == 0)
        return fail(why, ERR_INPUT,
                    "%s: %s holds %lld tokens, but one window of %lld needs %lld (the last target included)",
                    key, path, (long long)s->tokens, (long long)d->T, (long long)d->T + 1);
    d->windows += windows;
    d->first_window[d->shards] = d->windows;
    return OK;
}

static status shards_open(dataset *d, const char *key, const path_list *list, message *why)
{
    d->shard = calloc((size_t)list->count, sizeof *d->shard);
    d->first_window = calloc((size_t)list->count + 1, sizeof *d->first_window);
    if (!d->shard || !d->first_window) die(ERR_DEVICE, "no memory for %d shards", list->count);
    listed l = {0};
    status s = OK;
    for (int i = 0; i < list->count && s == OK; i++) s = shard_add(d, key, list->path[i], &l, why);
    listed_free(&l);
    return s;
}

status dataset_open(dataset *d, const char *key, const char *const *patterns, int count, int64_t T,
                    int64_t vocabulary, bool document_mask, message *why)
{
    REQUIRE(count > 0 && T > 0 && vocabulary > 0, "%s: %d patterns, T %lld, V %lld", key, count, (long long)T,
            (long long)vocabulary);
    *d = (dataset){.T = T, .vocabulary = vocabulary, .document_mask = document_mask};
    path_list list;
    message inner;
    if (path_list_expand(&list, patterns, count, &inner) != OK)
        return fail(why, ERR_INPUT, "%s: %s", key, inner.text);
    const status s = shards_open(d, key, &list, why);
    path_list_free(&list);
    if (s != OK) dataset_close(d);
    return s;
}

void dataset_close(dataset *d)
{
    for (int i = 0; i < d->shards; i++) shard_close(&d->shard[i]);
    free(d->shard);
    free(d->first_window);
    *d = (dataset){0};
}

/* ---- windows ------------------------------------------------------------------------------------------- */

/* The last shard whose first window is not after window i: each has one, so that it is the one that holds
 * it. */
static int shard_of(const dataset *d, int64_t i)
{
    int low = 0, high = d->shards - 1;
    while (low < high) {
        const int middle = low + (high - low + 1) / 2;
        if (d->first_window[middle] <= i)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

/* Takes away what the document mask takes away, in a window that begins at token `from`. */
static int64_t mask(const shard *s, int64_t from, int64_t T, int32_t *targets, int32_t *first)
{
    int64_t document = shard_document(s, from), counted = T;
    int64_t start = 0; /* of the document, within the window */
    for (int64_t t = 0; t < T; t++) {
        first[t] = (int32_t)start;
        if (from + t + 1 < s->document_end[document]) continue;
        targets[t] = -1; /* it begins the next document */
        counted--;
        document++;
        start = t + 1;
    }
    return counted;
}

status dataset_window(const dataset *d, int64_t i, int32_t *inputs, int32_t *targets, int32_t *first,
                      int64_t *counted, message *why)
{
    REQUIRE(i >= 0 && i < d->windows, "window %lld of %lld", (long long)i, (long long)d->windows);
    const int at = shard_of(d, i);
    const shard *s = &d->shard[at];
    const int64_t T = d->T, from = (i - d->first_window[at]) * T;
    TRY(shard_read(s, from, T, d->vocabulary, inputs, why));
    TRY(shard_read(s, from + T, 1, d->vocabulary, &targets[T - 1], why));
    memcpy(targets, inputs + 1, sizeof *targets * (size_t)(T - 1));
    if (!d->document_mask) memset(first, 0, sizeof *first * (size_t)T);
    *counted += d->document_mask ? mask(s, from, T, targets, first) : T;
    return OK;
}

/* ---- identity ------------------------------------------------------------------------------------------ */

uint64_t dataset_fingerprint(const dataset *d, bool content)
{
    XXH3_state_t *hash = XXH3_createState();
    REQUIRE(hash && XXH3_64bits_reset(hash) == XXH_OK, "no memory for a hash");
    for (int i = 0; i < d->shards; i++) {
        const shard *s = &d->shard[i];
        const int64_t shape[] = {s->tokens, s->token_bytes, s->documents};
        XXH3_64bits_update(hash, shape, sizeof shape);
        XXH3_64bits_update(hash, s->document_end, sizeof *s->document_end * (size_t)s->documents);
        if (content && s->content) XXH3_64bits_update(hash, &s->content, sizeof s->content);
    }
    const uint64_t digest = XXH3_64bits_digest(hash);
    XXH3_freeState(hash);
    return digest;
}
