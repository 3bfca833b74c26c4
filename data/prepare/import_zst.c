/* Compressed shards of this program, X.ds.zst, with the identity of their ids from the header. */
#include "base/memory.h"
#include "data/prepare/import_reader.h"
#include "data/shards/shard.h"
#include <stdlib.h>
#include <string.h>

typedef struct zst {
    shard s;
    int64_t vocabulary, read, document;
} zst;

static bool recognise(const char *path, const unsigned char head[HEAD_BYTES])
{
    (void)head;
    return shard_named(path) && !strcmp(path + strlen(path) - 4, ".zst");
}

static status open(import_source *s, const import_settings *settings, message *why)
{
    zst *z = memory_new(1, sizeof *z, "the import of %s", s->path);
    const status result = shard_open(&z->s, s->path, why);
    if (result != OK) {
        free(z);
        return result;
    }
    s->state = z;
    s->known = z->s.identity;
    z->vocabulary = settings->vocabulary;
    if (s->known.vocabulary >= 0 && s->known.vocabulary < z->vocabulary) z->vocabulary = s->known.vocabulary;
    s->token_bytes = z->s.token_bytes;
    s->tokens = z->s.tokens;
    s->documents = z->s.documents;
    s->keeps_documents = z->s.indexed;
    s->bytes = z->s.tokens * z->s.token_bytes;
    strcpy(s->tokenizer, z->s.identity.tokenizer);
    return OK;
}

static void close_shard(import_source *s)
{
    zst *z = s->state;
    shard_close(&z->s);
    free(z);
}

static status next(import_source *s, uint32_t *ids, int64_t capacity, int64_t *count, bool *ends,
                   message *why)
{
    zst *z = s->state;
    if (z->read == z->s.tokens) return OK;
    const int64_t left = z->s.document_end[z->document] - z->read;
    *count = capacity < left ? capacity : left;
    TRY(shard_read(&z->s, z->read, *count, z->vocabulary, (int32_t *)ids, why));
    z->read += *count;
    s->done = z->read * z->s.token_bytes;
    *ends = *count == left && s->keeps_documents;
    z->document += *count == left;
    return OK;
}

const import_reader import_zst = {"ds.zst", recognise, open, next, close_shard};
