/* `remla data tokenize`: text to shards, in two halves, over all ranks.
 *
 *     text files --- tokenize_pieces ---> OUT.part/pieces/HASH.ds.zst    a shard per piece, any order
 *     pieces ------- shard_join_run -------> OUT.part/shards/tokens-*       shards of equal size, in order
 *     OUT.part/shards --- rename -------> OUT                            the folder exists from here on
 *
 * A job that is stopped in the first half leaves its finished pieces in OUT.part, and the same command goes
 * on with them. The second half is only copying, and starts again. */
#include "data/prepare/tokenize.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/memory.h"
#include "data/shards/dataset_json.h"
#include "data/shards/shard.h"
#include "data/shards/shard_join.h"
#include "data/prepare/tokenize_pieces.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The state of the work, beside the job. */
typedef struct workplace {
    const tokenize_job *job;
    const comm *c;
    char folder[PATH_BYTES];                     /* OUT.part */
    char pieces[PATH_BYTES], shards[PATH_BYTES]; /* in it */
    int lock;
    shard_identity identity;
    text_pieces text;
} workplace;

/* ---- preparation -------------------------------------------------------------------------------------- */

/* Describes all settings that decide, with the text, the content of a piece. */
static void describe_work(const workplace *w, char *out, size_t size)
{
    snprintf(out, size, "remla %s pieces|%s|%lld|%d|%d|%s", REMLA_VERSION, w->identity.tokenizer_sha256,
             (long long)w->job->eos, w->identity.token_bytes, w->job->compress, w->job->column);
}

/* Checks that all ranks see the same files. */
static status compare_with_first_rank(const workplace *w, message *why)
{
    hash_state *hash = hash_start();
    for (int64_t i = 0; i < w->text.pieces; i++)
        hash_update(hash, w->text.piece[i].name, sizeof w->text.piece[i].name);
    const uint64_t mine = hash_finish(hash);
    uint64_t first = mine;
    comm_broadcast(w->c, &first, sizeof first, 0);
    if (first == mine) return OK;
    return fail(why, ERR_INPUT,
                "rank %d finds other source files than rank 0: the folders are not shared, or change",
                w->c->rank);
}

/* Makes the folders of the work; called by the first rank alone. */
static status make_folders(workplace *w, message *why)
{
    TRY(folder_check_vacant(w->job->out, why));
    TRY(folder_make(w->pieces, why));
    TRY(folder_lock(w->folder, "tokenize.out", 0, &w->lock, why));
    TRY(tokenize_pieces_clear_failure(w->pieces, why));
    return folder_remove(w->shards, why);
}

/* Cleans up after a failure: finished pieces stay for the next run; a workplace without any is removed. */
static void tidy(const workplace *w)
{
    message ignored;
    if (w->lock < 0) return;
    tokenize_pieces_clear_failure(w->pieces, &ignored);
    if (rmdir(w->pieces) == 0) folder_remove(w->folder, &ignored);
}

static status prepare(workplace *w, message *why)
{
    char work[PATH_BYTES + 256];
    const tokenize_job *j = w->job;
    REQUIRE(j->eos < tokenizer_vocabulary(j->tokenizer), "end of text %lld", (long long)j->eos);
    if (path_print(w->folder, why, "%s.part", j->out) != OK) return ERR_USAGE;
    path_join(w->pieces, w->folder, "pieces");
    path_join(w->shards, w->folder, "shards");
    w->identity = shard_identity_of(j->tokenizer, j->eos);
    describe_work(w, work, sizeof work);
    TRY_ALL(w->c, text_pieces_find(&w->text, j->source, j->sources, work, why), why);
    TRY_ALL(w->c, compare_with_first_rank(w, why), why);
    return COMM_ROOT(w->c, make_folders(w, why), why);
}

/* ---- the second half: pieces to shards ---------------------------------------------------------------- */

/* The pieces that have tokens. */
typedef struct piece_list {
    char (*path)[PATH_BYTES];
    const char **name; /* pointers to the paths */
    int64_t *tokens;
    int64_t count;
} piece_list;

static void piece_list_free(piece_list *l)
{
    free(l->path);
    free(l->name);
    free(l->tokens);
}

/* Refuses a file of JSON lines without any text. A large one is several pieces, whose tokens are summed. */
static status refuse_silent_file(const workplace *w, int64_t i, int64_t tokens, int64_t *of_file,
                                 message *why)
{
    const text_part *part = &w->text.part[w->text.piece[i].first];
    const bool last = i + 1 == w->text.pieces || w->text.part[w->text.piece[i + 1].first].path != part->path;
    *of_file += tokens;
    if (!text_part_whole(part) && last && *of_file == 0)
        return fail(why, ERR_INPUT, "%s: no line has text in column \"%s\"", part->path, w->job->column);
    if (last) *of_file = 0;
    return OK;
}

static status list_pieces(const workplace *w, const piece_work *work, piece_list *l, tokenize_result *r,
                          message *why)
{
    const int64_t most = w->text.pieces;
    int64_t of_file = 0;
    l->path = memory_new(most, sizeof *l->path, "pieces of text");
    l->name = memory_new(most, sizeof *l->name, "pieces of text");
    l->tokens = memory_new(most, sizeof *l->tokens, "pieces of text");
    for (int64_t i = 0; i < most; i++) {
        char *path = tokenize_piece_path(l->path[l->count], work, &w->text.piece[i]);
        shard s = {0};
        if (file_exists(path)) {
            TRY(shard_open(&s, path, why));
            l->name[l->count] = path;
            l->tokens[l->count++] = s.tokens;
            r->tokens += s.tokens;
            r->documents += s.documents;
        }
        const int64_t tokens = s.tokens;
        shard_close(&s);
        TRY(refuse_silent_file(w, i, tokens, &of_file, why));
    }
    return l->count ? OK : fail(why, ERR_INPUT, "%s: there is no text in it", w->text.files.path[0]);
}

static status join(const workplace *w, const piece_work *work, tokenize_result *r, message *why)
{
    piece_list l = {0};
    shard_summary *summary = NULL;
    status s = comm_agree(w->c, list_pieces(w, work, &l, r, why), why);
    const shard_join j = {.from = l.name,
                          .tokens = l.tokens,
                          .count = l.count,
                          .folder = w->shards,
                          .suffix = w->job->compress ? ".ds.zst" : ".ds",
                          .identity = &w->identity,
                          .shard_tokens = w->job->shard_tokens,
                          .threads = w->job->threads};
    if (s == OK) s = COMM_ROOT(w->c, folder_make(w->shards, why), why);
    if (s == OK) s = shard_join_run(&j, w->c, &summary, &r->shards, why);
    if (s == OK)
        s = COMM_ROOT(w->c, dataset_manifest_write(w->shards, &w->identity, summary, r->shards, why), why);
    free(summary);
    piece_list_free(&l);
    return s;
}

/* ---- the whole ---------------------------------------------------------------------------------------- */

/* Renames the finished folder; from then on it exists. Failing to remove the rest is only a warning. */
static status commit(workplace *w, message *why)
{
    message left;
    TRY(folder_commit(w->shards, w->job->out, why));
    close(w->lock); /* a network file system keeps a file that is open under another name */
    w->lock = -1;
    if (folder_remove(w->folder, &left) != OK) log_warning("%s", left.text);
    return OK;
}

static status run(workplace *w, tokenize_result *r, message *why)
{
    TRY(prepare(w, why));
    const piece_work work = {w->job, &w->identity, &w->text, w->pieces};
    TRY_ALL(w->c, tokenize_pieces(&work, w->c, r, why), why);
    TRY(join(w, &work, r, why));
    double counts[] = {(double)r->made, (double)r->empty};
    comm_wait(w->c, comm_sum_f64(w->c, counts, 2));
    r->made = (int64_t)counts[0];
    r->empty = (int64_t)counts[1];
    r->files = w->text.files.count;
    r->bytes = w->text.bytes;
    return COMM_ROOT(w->c, commit(w, why), why);
}

status tokenize_text(const tokenize_job *j, const comm *c, tokenize_result *r, message *why)
{
    workplace w = {.job = j, .c = c, .lock = -1};
    message inner;
    *r = (tokenize_result){0};
    const status s = run(&w, r, &inner);
    if (s == STOPPED)
        fail(why, s, "%s; the finished part is in %s: start again to resume", inner.text, w.folder);
    else
        *why = inner;
    if (s != OK) tidy(&w);
    text_pieces_free(&w.text);
    if (w.lock >= 0) close(w.lock);
    return s;
}
