/* Joins shards of any size into shards of nearly equal size. The sources are seen as one line of T tokens:
 *
 *     sources   |   s0   |     s1      | s2 |        s3        |
 *     bounds              T/n         2T/n         3T/n
 *     cuts                  |           |            |             moved to the next document's end
 *     shards    |    0      |     1     |     2      |      3    |
 *
 * First every rank computes all cuts from the sources' indexes alone. Then shard k is written by rank k mod
 * size, and on each rank by any thread, since the shards are independent of each other. */
#include "data/shards/shard_join.h"
#include "base/memory.h"
#include "base/stop.h"
#include "data/shards/shard.h"
#include <stdio.h>
#include <stdlib.h>

enum { MOST_SHARDS = 100000, BLOCK_TOKENS = 1 << 18 };

/* Shard k begins at token cut[k], counted over all sources; cut[shards] is the end. */
typedef struct cuts {
    int64_t *cut;
    int64_t shards;
} cuts;

/* ---- where the shards are cut ------------------------------------------------------------------------- */

/* Finds the end of the document that holds `token`. *open is the source that was opened last, whose first
 * token is *first; -1 when there is none. */
static status document_end(const shard_join *j, int64_t token, shard *s, int64_t *open, int64_t *first,
                           int64_t *end, message *why)
{
    int64_t next = *open < 0 ? 0 : *open;
    if (*open < 0) *first = 0;
    for (; token - *first >= j->tokens[next]; next++) *first += j->tokens[next];
    if (next != *open) {
        if (*open >= 0) shard_close(s);
        *open = -1;
        TRY(shard_open(s, j->from[next], why));
        *open = next;
    }
    *end = *first + s->document_end[shard_document(s, token - *first)];
    return OK;
}

static status find_cuts(const shard_join *j, int64_t total, int64_t n, cuts *out, message *why)
{
    shard s;
    int64_t open = -1, first = 0;
    status result = OK;
    out->cut = memory_new(n + 1, sizeof *out->cut, "the ends of shards");
    for (int64_t k = 1; k <= n && result == OK; k++) {
        const int64_t bound = (int64_t)((__int128)k * total / n);
        int64_t end = out->cut[out->shards];
        if (bound > end) result = document_end(j, bound - 1, &s, &open, &first, &end, why);
        if (end > out->cut[out->shards]) out->cut[++out->shards] = end;
    }
    if (open >= 0) shard_close(&s);
    return result;
}

/* ---- one shard ---------------------------------------------------------------------------------------- */

/* Copies tokens [from, to) of a source, which are whole documents. */
static status copy_part(shard_writer *w, const shard *s, int64_t from, int64_t to, int64_t vocabulary,
                        int32_t *block, message *why)
{
    int64_t document = shard_document(s, from);
    for (int64_t at = from; at < to;) {
        const int64_t n = to - at < BLOCK_TOKENS ? to - at : BLOCK_TOKENS;
        if (stop_requested()) return fail(why, STOPPED, "stopped by signal %d", stop_requested());
        TRY(shard_read(s, at, n, vocabulary, block, why));
        for (const int64_t end = at + n; at < end;) {
            const int64_t next = s->document_end[document] < end ? s->document_end[document] : end;
            TRY(shard_writer_append(w, (const uint32_t *)block + n - (end - at), next - at, why));
            at = next;
            if (at != s->document_end[document]) continue;
            TRY(shard_writer_end_document(w, why));
            document++;
        }
    }
    return OK;
}

static status copy_all(const shard_join *j, shard_writer *w, int64_t from, int64_t to, int32_t *block,
                       message *why)
{
    int64_t first = 0;
    for (int64_t i = 0; i < j->count && first < to; first += j->tokens[i++]) {
        const int64_t end = first + j->tokens[i], low = from > first ? from : first,
                      high = to < end ? to : end;
        shard s;
        if (low >= high) continue;
        TRY(shard_open(&s, j->from[i], why));
        const status result =
            s.tokens == j->tokens[i]
                ? copy_part(w, &s, low - first, high - first, j->identity->vocabulary, block, why)
                : fail(why, ERR_INPUT, "%s: changed while it was read", j->from[i]);
        shard_close(&s);
        TRY(result);
    }
    return OK;
}

static status join_one(const shard_join *j, const cuts *c, int64_t k, shard_summary *summary, message *why)
{
    char path[PATH_BYTES], name[64];
    shard_writer *w;
    snprintf(name, sizeof name, "tokens-%05lld%s", (long long)k, j->suffix);
    TRY(shard_writer_create(&w, path_join(path, j->folder, name), j->identity, why));
    int32_t *block = memory_new(BLOCK_TOKENS, sizeof *block, "ids of %s", path);
    status s = copy_all(j, w, c->cut[k], c->cut[k + 1], block, why);
    if (s == OK) s = shard_writer_finish(w, summary, why);
    if (s != OK) shard_writer_abandon(w);
    free(block);
    return s;
}

/* ---- all of them -------------------------------------------------------------------------------------- */

/* Writes the shards of this rank, k = rank, rank + size, ... Of several failures the first shard's is
 * reported. */
static status join_mine(const shard_join *j, const cuts *all, const comm *c, shard_summary *summary,
                        message *why)
{
    status result = OK;
    int64_t failed = INT64_MAX;
#pragma omp parallel for num_threads(j->threads) schedule(dynamic, 1)
    for (int64_t k = c->rank; k < all->shards; k += c->size) {
        message mine;
        bool go_on;
#pragma omp critical(shard_join)
        go_on = k < failed;
        const status s = go_on ? join_one(j, all, k, &summary[k], &mine) : OK;
#pragma omp critical(shard_join)
        if (s != OK && k < failed) {
            failed = k;
            result = s;
            *why = mine;
        }
    }
    return result;
}

static status plan(const shard_join *j, cuts *all, message *why)
{
    int64_t total = 0;
    for (int64_t i = 0; i < j->count; i++) total += j->tokens[i];
    const int64_t n = (total + j->shard_tokens - 1) / j->shard_tokens;
    REQUIRE(total > 0, "no tokens in %lld shards", (long long)j->count);
    if (n > MOST_SHARDS)
        return fail(why, ERR_USAGE,
                    "%lld tokens in shards of %lld would be %lld shards, at most %d are possible",
                    (long long)total, (long long)j->shard_tokens, (long long)n, MOST_SHARDS);
    return find_cuts(j, total, n, all, why);
}

status shard_join_run(const shard_join *j, const comm *c, shard_summary **summary, int64_t *shards,
                      message *why)
{
    cuts all = {0};
    *summary = NULL;
    *shards = 0;
    status s = comm_agree(c, plan(j, &all, why), why);
    if (s == OK) {
        *shards = all.shards;
        *summary = memory_new(all.shards, sizeof **summary, "shards");
        s = comm_agree(c, join_mine(j, &all, c, *summary, why), why);
    }
    for (int64_t k = 0; k < *shards && s == OK; k++)
        comm_broadcast(c, &(*summary)[k], sizeof **summary, (int)(k % c->size));
    free(all.cut);
    return s;
}
