/* Tokenizes the pieces of one rank through the pipeline (data/prepare/pipeline.h):
 *
 *     read    a chunk, about 256 KiB of text: whole documents of one piece, one chunk after another
 *     work    parse and encode its documents, on any thread, each with its own tokenizer state
 *     write   append the ids to the piece's shard, in the order of reading; finish the shard with the piece
 *
 * Memory is bounded by the chunks on their way. Each piece goes to one rank, chosen by bytes alone, so that
 * all ranks agree without talking. A rank that fails leaves a file in the folder, which the others look for
 * once a second. */
#include "data/prepare/tokenize_pieces.h"
#include "base/array.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/stop.h"
#include "data/prepare/pipeline.h"
#include "data/shards/shard_verify.h"
#include "data/prepare/text_reader.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_BYTES = 1 << 18, CHUNKS_PER_THREAD = 4, MOST_BYTES = 1 << 28, KEPT_IDS = 1 << 20 };
#define SECONDS_BETWEEN_LINES 10.0

typedef struct chunk {
    text_batch text;
    token_list ids;
    int64_t *end; /* of each document, in ids */
    int64_t documents, end_capacity;
    int64_t empty;
    int64_t source_bytes; /* of the files, that it took to read it */
    const text_piece *piece;
    bool begins_lines;      /* of a file of JSON lines, or of a part of one */
    const text_part *lines; /* the part of JSON lines that ends with this chunk; or NULL */
    bool ends_piece;
} chunk;

typedef struct stage {
    const piece_work *w;
    const comm *c;
    const text_piece **piece; /* those to be made */
    int64_t pieces;
    tokenizer_work **work; /* of each thread */
    /* reading */
    int64_t at, part; /* of the next chunk: its piece, and the part within */
    text_reader reader;
    bool reading;
    double looked; /* when we last looked whether another rank has failed */
    bool gave_up;
    /* writing */
    shard_writer *out;
    int64_t part_tokens; /* of the file of JSON lines, or part of one, so far */
    int64_t bytes, all_bytes, tokens, empty;
    double start, spoke;
} stage;

/* ---- other ranks -------------------------------------------------------------------------------------- */

static const char failed[] = "failed";

/* Tells whether another rank has failed, so that this one does not work for hours in vain. */
static bool others_failed(stage *s)
{
    char path[PATH_BYTES];
    const double now = clock_seconds();
    if (s->c->size == 1 || now - s->looked < 1) return false;
    s->looked = now;
    return file_exists(path_join(path, s->w->folder, failed));
}

static void tell_others(const stage *s)
{
    char path[PATH_BYTES];
    message ignored;
    if (s->c->size > 1) file_write(path_join(path, s->w->folder, failed), "", 0, NULL, &ignored);
}

status tokenize_pieces_clear_failure(const char *folder, message *why)
{
    char path[PATH_BYTES];
    return folder_remove(path_join(path, folder, failed), why);
}

/* ---- reading ------------------------------------------------------------------------------------------ */

static void chunk_clear(chunk *k)
{
    text_batch_clear(&k->text);
    if (k->ids.capacity > KEPT_IDS) token_list_free(&k->ids);
    k->ids.count = k->documents = k->empty = k->source_bytes = 0;
    k->lines = NULL;
    k->begins_lines = k->ends_piece = false;
}

/* Adds text of the current part, at most up to its end. */
static status read_part(stage *s, chunk *k, message *why)
{
    const text_part *part = &s->w->text->part[k->piece->first + s->part];
    bool ended;
    if (!s->reading) {
        s->reading = true;
        k->begins_lines = text_reader_is_lines(part->path);
        TRY(text_reader_open(&s->reader, part->path, part->from, part->to, why));
    }
    const int64_t before = text_reader_consumed(&s->reader);
    TRY(text_reader_fill(&s->reader, &k->text, CHUNK_BYTES, &ended, why));
    const int64_t after = text_reader_consumed(&s->reader);
    /* Bytes behind the part, read for the end of its last line, count for the next part. */
    const int64_t most = part->bytes;
    k->source_bytes += (ended || after > most ? most : after) - (before > most ? most : before);
    if (!ended) return OK;
    text_reader_close(&s->reader);
    s->reading = false;
    s->part++;
    if (text_reader_is_lines(part->path)) k->lines = part;
    k->ends_piece = s->part == k->piece->parts;
    return OK;
}

static bool lines_next(const stage *s, const chunk *k)
{
    return !s->reading && text_reader_is_lines(s->w->text->part[k->piece->first + s->part].path);
}

/* Reads a chunk: documents of several files, or lines of one. */
static status read_chunk(void *context, void *item, int64_t *bytes, bool *ended, message *why)
{
    stage *s = context;
    chunk *k = item;
    s->gave_up = s->gave_up || others_failed(s);
    *ended = s->at == s->pieces || s->gave_up;
    if (*ended) return OK;
    if (stop_requested()) return fail(why, STOPPED, "stopped by signal %d", stop_requested());
    chunk_clear(k);
    k->piece = s->piece[s->at];
    do TRY(read_part(s, k, why));
    while (!k->ends_piece && !k->lines && k->text.bytes < CHUNK_BYTES &&
           !(k->text.records && lines_next(s, k)));
    if (k->ends_piece) {
        s->at++;
        s->part = 0;
    }
    *bytes = k->text.bytes;
    return OK;
}

/* ---- working ------------------------------------------------------------------------------------------ */

static status encode(const stage *s, int thread, chunk *k, const text_record *r, message *why)
{
    document d;
    message inner;
    char place[RECORD_PLACE_BYTES];
    const int64_t before = k->ids.count;
    TRY(text_record_document(&k->text, r, s->w->job->column, &d, why));
    const status result = tokenizer_encode(s->work[thread], d.text, d.bytes, &k->ids, &inner);
    document_free(&d);
    if (result != OK) return fail(why, result, "%s: %s", text_record_place(r, place), inner.text);
    if (k->ids.count == before) {
        k->empty++;
        return OK;
    }
    if (s->w->job->eos >= 0) {
        k->ids.id = array_reserve(k->ids.id, &k->ids.capacity, k->ids.count + 1, sizeof *k->ids.id);
        k->ids.id[k->ids.count++] = (uint32_t)s->w->job->eos;
    }
    k->end = array_reserve(k->end, &k->end_capacity, k->documents + 1, sizeof *k->end);
    k->end[k->documents++] = k->ids.count;
    return OK;
}

static status work_on_chunk(void *context, int thread, void *item, message *why)
{
    chunk *k = item;
    for (int64_t i = 0; i < k->text.records; i++) TRY(encode(context, thread, k, &k->text.record[i], why));
    return OK;
}

/* ---- writing ------------------------------------------------------------------------------------------ */

static void speak(stage *s)
{
    const double now = clock_seconds(), seconds = now - s->start;
    if (now - s->spoke < SECONDS_BETWEEN_LINES || s->bytes == 0) return;
    s->spoke = now;
    char left[24];
    log_line("tokenize %5.1f%% | %.1f of %.1f MiB%s | %.2fM tokens | %.2fM tok/s | eta %s",
             100 * (double)s->bytes / (double)s->all_bytes, (double)s->bytes / 1048576,
             (double)s->all_bytes / 1048576, s->c->size > 1 ? " of rank 0" : "", (double)s->tokens / 1e6,
             (double)s->tokens / 1e6 / seconds,
             clock_duration_text(seconds * (double)(s->all_bytes - s->bytes) / (double)s->bytes, left));
}

static status write_documents(stage *s, const chunk *k, message *why)
{
    char path[PATH_BYTES];
    int64_t from = 0;
    if (k->documents && !s->out)
        TRY(shard_writer_create(&s->out, tokenize_piece_path(path, s->w, k->piece), s->w->identity, why));
    for (int64_t i = 0; i < k->documents; from = k->end[i++]) {
        TRY(shard_writer_append(s->out, k->ids.id + from, k->end[i] - from, why));
        TRY(shard_writer_end_document(s->out, why));
    }
    return OK;
}

static status write_chunk(void *context, void *item, message *why)
{
    stage *s = context;
    const chunk *k = item;
    shard_summary ignored;
    TRY(write_documents(s, k, why));
    s->part_tokens = k->begins_lines ? k->ids.count : s->part_tokens + k->ids.count;
    if (k->lines && text_part_whole(k->lines) && s->part_tokens == 0)
        return fail(why, ERR_INPUT, "%s: no line has text in column \"%s\"", k->lines->path,
                    s->w->job->column);
    if (k->ends_piece && s->out) {
        TRY(shard_writer_finish(s->out, &ignored, why));
        s->out = NULL;
    }
    s->bytes += k->source_bytes;
    s->tokens += k->ids.count;
    s->empty += k->empty;
    speak(s);
    return OK;
}

/* ---- the stage ---------------------------------------------------------------------------------------- */

char *tokenize_piece_path(char *out, const piece_work *w, const text_piece *p)
{
    char name[64];
    snprintf(name, sizeof name, "%s%s", p->name, w->job->compress ? ".ds.zst" : ".ds");
    return path_join(out, w->folder, name);
}

/* Tells whether an interrupted run has left the piece. A file under its final name was complete, but may have
 * been damaged since, so it is verified, which takes a small part of the time of tokenizing. */
static bool is_there(const piece_work *w, const text_piece *p)
{
    char path[PATH_BYTES];
    listed none = {0};
    verified v;
    message why;
    if (!file_exists(tokenize_piece_path(path, w, p))) return false;
    const bool good = shard_verify(&v, &none, path, &why) == OK;
    listed_free(&none);
    if (!good) log_warning("%s: this piece is made again", why.text);
    return good;
}

/* Assigns every piece to the rank with the least bytes so far, whether the piece is done already or not: so
 * all ranks agree on the assignment. */
static void choose_pieces(stage *s)
{
    const text_pieces *t = s->w->text;
    int64_t *load = memory_new(s->c->size, sizeof *load, "loads of ranks"), there = 0;
    s->piece = memory_new(t->pieces, sizeof *s->piece, "pieces of text");
    for (int64_t i = 0; i < t->pieces; i++) {
        int least = 0;
        for (int r = 1; r < s->c->size; r++)
            if (load[r] < load[least]) least = r;
        load[least] += t->piece[i].bytes;
        if (least != s->c->rank) continue;
        if (is_there(s->w, &t->piece[i])) {
            there += t->piece[i].bytes;
            continue;
        }
        s->piece[s->pieces++] = &t->piece[i];
        s->all_bytes += t->piece[i].bytes;
    }
    free(load);
    if (there)
        log_line("%.1f MiB%s were done before, going on", (double)there / 1048576,
                 s->c->size > 1 ? " of rank 0" : "");
}

static status run(stage *s, message *why)
{
    const int threads = s->w->job->threads, chunks = threads * CHUNKS_PER_THREAD;
    chunk *all = memory_new(chunks, sizeof *all, "chunks of text");
    void **item = memory_new(chunks, sizeof *item, "chunks of text");
    s->work = memory_new(threads, sizeof *s->work, "tokenizers of threads");
    for (int i = 0; i < chunks; i++) item[i] = &all[i];
    for (int i = 0; i < threads; i++) s->work[i] = tokenizer_work_new(s->w->job->tokenizer);
    const pipeline p = {.read = read_chunk,
                        .work = work_on_chunk,
                        .write = write_chunk,
                        .context = s,
                        .item = item,
                        .items = chunks,
                        .threads = threads,
                        .bytes = MOST_BYTES};
    const status result = pipeline_run(&p, why);
    if (s->reading) text_reader_close(&s->reader);
    shard_writer_abandon(s->out);
    for (int i = 0; i < threads; i++) tokenizer_work_free(s->work[i]);
    for (int i = 0; i < chunks; i++) {
        text_batch_free(&all[i].text);
        token_list_free(&all[i].ids);
        free(all[i].end);
    }
    free(s->work);
    free(item);
    free(all);
    return result;
}

status tokenize_pieces(const piece_work *w, const comm *c, tokenize_result *r, message *why)
{
    const double now = clock_seconds();
    stage s = {.w = w, .c = c, .start = now, .spoke = now, .looked = now};
    choose_pieces(&s);
    const status result = run(&s, why);
    if (result != OK) tell_others(&s);
    r->made = s.tokens;
    r->empty = s.empty;
    free(s.piece);
    return result;
}
