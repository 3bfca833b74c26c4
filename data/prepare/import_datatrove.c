/* datatrove's shards: X.ds holds ids, X.ds.metadata says how wide they are, X.ds.index where documents end.
 * The index is read in step with the ids. It may list empty documents (a tokenizer that adds nothing to empty
 * texts); they are left out here. */
#include "base/log.h"
#include "base/memory.h"
#include "data/prepare/import_reader.h"
#include "data/shards/shard_metadata.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct datatrove {
    plain_ids ids;
    byte_stream index;
    int64_t documents, begun;
    int64_t end; /* of the document that was begun last */
} datatrove;

static bool recognise(const char *path, const unsigned char head[HEAD_BYTES])
{
    (void)head;
    char other[PATH_BYTES];
    const size_t n = strlen(path);
    return (n > 3 && !strcmp(path + n - 3, ".ds")) || import_file_beside(other, path, ".metadata") ||
           import_file_beside(other, path, ".index");
}

/* ---- opening ------------------------------------------------------------------------------------------- */

static status width_read(import_source *s, const import_settings *settings, int *width, message *why)
{
    char path[PATH_BYTES];
    *width = settings->token_bytes;
    if (!import_file_beside(path, s->path, ".metadata")) {
        if (*width) return OK;
        return fail(why, ERR_USAGE,
                    "%s: there is no .metadata beside it that says how wide ids are: give "
                    "import.token_bytes=2 or 4",
                    s->path);
    }
    shard_metadata m;
    TRY(shard_metadata_read(&m, path, why));
    if (*width && *width != m.token_bytes)
        return fail(why, ERR_USAGE, "import.token_bytes is %d, but %s says %d", *width, path, m.token_bytes);
    *width = m.token_bytes;
    s->tokens = m.tokens;
    strcpy(s->tokenizer, m.tokenizer);
    return OK;
}

static status index_open(import_source *s, datatrove *d, message *why)
{
    char path[PATH_BYTES];
    if (!import_file_beside(path, s->path, ".index")) return OK;
    TRY(byte_stream_open(&d->index, path, why));
    if (d->index.file_bytes % 8)
        return fail(why, ERR_INPUT, "%s: %lld bytes, expected 8 for each document", path,
                    (long long)d->index.file_bytes);
    s->documents = d->documents = d->index.file_bytes / 8;
    s->keeps_documents = true;
    return OK;
}

static status open(import_source *s, const import_settings *settings, message *why)
{
    int width;
    char loss[PATH_BYTES];
    datatrove *d = s->state = memory_new(1, sizeof *d, "the import of %s", s->path);
    plain_ids *p = &d->ids;
    TRY(width_read(s, settings, &width, why));
    TRY(import_plain_open(p, s->path, width == 2 ? ID_U16 : ID_U32, 0, settings, why));
    if (s->tokens >= 0 && s->tokens != p->tokens)
        return fail(why, ERR_INPUT, "%s holds %lld tokens (%lld bytes, %d each), but its .metadata says %lld",
                    s->path, (long long)p->tokens, (long long)p->bytes.file_bytes, width,
                    (long long)s->tokens);
    if (s->tokens < 0) TRY(import_plain_look(p, why));
    import_plain_describe(s, p);
    if (import_file_beside(loss, s->path, ".loss"))
        log_warning(
            "%s, which marks the tokens that count in the loss, is not imported: all tokens will count",
            loss);
    return index_open(s, d, why);
}

static void close_all(import_source *s)
{
    datatrove *d = s->state;
    import_plain_close(&d->ids);
    byte_stream_close(&d->index);
    free(d);
}

/* ---- reading ------------------------------------------------------------------------------------------- */

static status begin_document(datatrove *d, message *why)
{
    const int64_t begin = d->end, tokens = d->ids.tokens;
    TRY(byte_stream_read(&d->index, &d->end, 8, why));
    if (d->end < begin || d->end > tokens)
        return fail(why, ERR_INPUT, "%s: document %lld ends at token %llu, expected %lld to %lld",
                    d->index.path, (long long)d->begun, (unsigned long long)d->end, (long long)begin,
                    (long long)tokens);
    d->begun++;
    return OK;
}

static status next(import_source *s, uint32_t *ids, int64_t capacity, int64_t *count, bool *ends,
                   message *why)
{
    datatrove *d = s->state;
    plain_ids *p = &d->ids;
    if (!s->keeps_documents) return import_plain_read(s, p, ids, capacity, count, why);
    while (p->read == d->end && d->begun < d->documents) TRY(begin_document(d, why));
    if (p->read == d->end && d->end != p->tokens)
        return fail(why, ERR_INPUT, "%s: the last document ends at token %lld, but %s holds %lld tokens",
                    d->index.path, (long long)d->end, s->path, (long long)p->tokens);
    TRY(import_plain_read(s, p, ids, capacity < d->end - p->read ? capacity : d->end - p->read, count, why));
    *ends = *count > 0 && p->read == d->end;
    return OK;
}

const import_reader import_datatrove = {"datatrove", recognise, open, next, close_all};
