/* The order of a training run. A position becomes a sample in three steps, each a pure function:
 *
 *     position  -- mixture -->  source, and how many positions that source had before
 *               -- divide  -->  epoch of that source, and place in the epoch
 *               -- order   -->  sample
 *
 * dataset reads the sample, into a row of a batch. There is no state, so that resuming means only to go on at
 * a position. */
#include "data/feed.h"
#include "base/hash.h"
#include "base/memory.h"
#include "data/order.h"
#include <stdlib.h>
#include <string.h>

/* ---- opening ------------------------------------------------------------------------------------------- */

/* The items of an option, split into patterns and weights. */
typedef struct item_list {
    char **pattern;      /* owned */
    const char **weight; /* inside the patterns' memory, or NULL */
    int count, weighted;
} item_list;

/* Finds the colon of "a.ds:0.7"; NULL if no number follows the last colon, or the whole item is a file. */
static char *weight_colon(char *item)
{
    char *colon = strrchr(item, ':');
    if (!colon || !colon[1] || colon == item || colon[1 + strspn(colon + 1, "0123456789.")]) return NULL;
    return file_exists(item) ? NULL : colon;
}

static void items_split(item_list *list, const char *const *items, int count)
{
    *list = (item_list){.pattern = memory_new(count, sizeof *list->pattern, "names of data"),
                        .weight = memory_new(count, sizeof *list->weight, "weights of data"),
                        .count = count};
    for (int i = 0; i < count; i++) {
        char *text = list->pattern[i] = memory_check(strdup(items[i]), "a name");
        char *colon = weight_colon(text);
        if (!colon) continue;
        *colon = 0;
        list->weight[i] = colon + 1;
        list->weighted++;
    }
}

static void items_free(item_list *list)
{
    for (int i = 0; i < list->count; i++) free(list->pattern[i]);
    free(list->pattern);
    free(list->weight);
}

static status sources_open(feed *s, const char *key, const item_list *list, const dataset_form *form,
                           message *why)
{
    static const char *const whole = "1";
    if (list->weighted && list->weighted < list->count) {
        int i = 0;
        while (list->weight[i]) i++;
        return fail(why, ERR_USAGE,
                    "%s: %.300s has no weight, but others have: give all of them one, or none", key,
                    list->pattern[i]);
    }
    const int sources = list->weighted ? list->count : 1;
    TRY(mixture_open(&s->blend, key, list->weighted ? list->weight : &whole, sources, why));
    s->source = memory_new(sources, sizeof *s->source, "sources of data");
    for (; s->sources < sources; s->sources++)
        TRY(dataset_open(&s->source[s->sources], key, (const char *const *)list->pattern + s->sources,
                         list->weighted ? 1 : list->count, form, why));
    return OK;
}

status feed_open(feed *s, const char *key, const char *const *items, int count, const dataset_form *form,
                 const feed_order *order, const comm *c, message *why)
{
    *s = (feed){.order = *order};
    item_list list;
    items_split(&list, items, count);
    const int mine = form->packing == PACKING_CONCAT ? 0 : c->rank == 0 ? 0 : c->local_rank == 0 ? 1 : 2;
    status result = OK;
    for (int turn = 0; turn < 3 && result == OK; turn++)
        result = comm_agree(c, turn == mine ? sources_open(s, key, &list, form, why) : OK, why);
    items_free(&list);
    if (result != OK) feed_close(s);
    return result;
}

void feed_close(feed *s)
{
    for (int i = 0; i < s->sources; i++) dataset_close(&s->source[i]);
    free(s->source);
    mixture_close(&s->blend);
    *s = (feed){0};
}

/* ---- order --------------------------------------------------------------------------------------------- */

feed_sample feed_at(const feed *s, uint64_t position)
{
    feed_sample at;
    uint64_t index;
    mixture_at(&s->blend, position, &at.source, &index);
    const uint64_t n = (uint64_t)s->source[at.source].samples;
    at.epoch = index / n;
    at.sample = order_permute_near(order_seed(s->order.seed, at.source), at.epoch, (int64_t)(index % n),
                                   (int64_t)n, s->order.window);
    return at;
}

typedef struct row_sample {
    feed_sample at;
    int64_t row;
} row_sample;

static int by_place(const void *a, const void *b)
{
    const row_sample *x = a, *y = b;
    if (x->at.source != y->at.source) return x->at.source < y->at.source ? -1 : 1;
    return x->at.sample < y->at.sample ? -1 : x->at.sample > y->at.sample;
}

status feed_read(const feed *s, uint64_t first, token_batch *b, message *why)
{
    const int64_t count = b->sequences;
    row_sample *sample = memory_new(count, sizeof *sample, "the numbers of %lld samples", (long long)count);
    for (int64_t i = 0; i < count; i++) sample[i] = (row_sample){feed_at(s, first + (uint64_t)i), i};
    qsort(sample, (size_t)count, sizeof *sample, by_place);
    status result = OK;
    for (int64_t i = 0; i < count && result == OK; i++)
        result = dataset_read(&s->source[sample[i].at.source], sample[i].at.sample, b, sample[i].row, why);
    free(sample);
    return result;
}

uint64_t feed_pass(const feed *s)
{
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < s->sources; i++) {
        const uint64_t end = mixture_position(&s->blend, i, (uint64_t)s->source[i].samples);
        if (end < least) least = end;
    }
    return least;
}

uint64_t feed_fingerprint(const feed *s, bool content)
{
    if (s->sources == 1) return dataset_fingerprint(&s->source[0], content);
    hash_state *hash = hash_start();
    for (int i = 0; i < s->sources; i++) {
        const uint64_t part[] = {dataset_fingerprint(&s->source[i], content), (uint64_t)s->blend.weight[i]};
        hash_update(hash, part, sizeof part);
    }
    return hash_finish(hash);
}
