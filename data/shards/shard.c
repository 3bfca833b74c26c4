/* One shard: a file of token ids, raw or in frames, checked once when it is opened, then read by offset.
 *
 *     X.ds.zst   header (identity, number of tokens), frames, seek table     X.ds   ids and nothing else
 *     X.ds.index        u64 ends of documents
 *     X.ds.metadata     width of an id, number of tokens
 *
 * Whatever two of them say must agree. Reads of X.ds.zst go through the frame cache. All numbers are
 * little-endian, like the machines that this runs on. */
#include "data/shards/shard.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/memory.h"
#include "data/shards/frame_cache.h"
#include "data/shards/shard_header.h"
#include "data/shards/shard_metadata.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

bool shard_named(const char *name)
{
    return strlen(name) > strlen(".ds") && (ends_with(name, ".ds") || ends_with(name, ".ds.zst"));
}

status shard_beside(char *out, const char *path, const char *suffix, message *why)
{
    const size_t length = strlen(path) - (ends_with(path, ".ds.zst") ? strlen(".zst") : 0);
    return path_print(out, why, "%.*s%s", (int)length, path, suffix);
}

_Static_assert(sizeof((shard_metadata *)0)->tokenizer == sizeof((shard_identity *)0)->tokenizer,
               "a name fits");

/* ---- X.ds.metadata ------------------------------------------------------------------------------------- */

/* Reads the metadata, and compares them with the header of X.ds.zst, if it has one. */
static status metadata_load(shard *s, const char *path, message *why)
{
    shard_metadata m;
    TRY(shard_metadata_read(&m, path, why));
    if (s->token_bytes && (m.token_bytes != s->token_bytes || m.tokens != s->tokens))
        return fail(why, ERR_INPUT, "%s says %lld tokens of %d bytes, but the header of %s %lld of %d", path,
                    (long long)m.tokens, m.token_bytes, s->path, (long long)s->tokens, s->token_bytes);
    s->token_bytes = m.token_bytes;
    s->tokens = m.tokens;
    strcpy(s->identity.tokenizer, m.tokenizer);
    return OK;
}

/* Determines width and number of tokens; `bytes` is the size of all ids, uncompressed. */
static status metadata_read(shard *s, int64_t bytes, message *why)
{
    char path[PATH_BYTES];
    TRY(shard_beside(path, s->path, ".metadata", why));
    if (file_exists(path)) {
        TRY(metadata_load(s, path, why));
    } else if (s->number && !s->token_bytes) {
        return fail(why, ERR_INPUT, "%s: has no header, and there is no %s to say how wide its tokens are",
                    s->path, path);
    } else if (!s->token_bytes) {
        log_warning("%s: there is no %s: tokens are taken to be 2 bytes wide", s->path, path);
        s->token_bytes = 2;
        s->tokens = bytes / 2;
    }
    if (bytes % s->token_bytes)
        return fail(why, ERR_INPUT, "%s: %lld bytes are not a whole number of tokens of %d bytes", s->path,
                    (long long)bytes, s->token_bytes);
    if (bytes / s->token_bytes != s->tokens)
        return fail(why, ERR_INPUT, "%s holds %lld tokens (%lld bytes, %d each), but %s says %lld", s->path,
                    (long long)(bytes / s->token_bytes), (long long)bytes, s->token_bytes,
                    file_exists(path) ? path : "its header", (long long)s->tokens);
    return OK;
}

/* ---- X.ds.index: where documents end ------------------------------------------------------------------- */

static status index_check(const shard *s, const char *path, message *why)
{
    int64_t before = 0;
    for (int64_t i = 0; i < s->documents; before = s->document_end[i++]) {
        if (s->document_end[i] == before)
            return fail(why, ERR_INPUT,
                        "%s: document %lld is empty: it begins and ends at token %lld; `remla data import` "
                        "of the .ds leaves empty documents out",
                        path, (long long)i, (long long)before);
        if (s->document_end[i] < before)
            return fail(
                why, ERR_INPUT,
                "%s: document %lld ends at token %llu, expected more than %lld, where the one before it ends",
                path, (long long)i, (unsigned long long)s->document_end[i], (long long)before);
    }
    if (before != s->tokens)
        return fail(why, ERR_INPUT, "%s: the last document ends at token %lld, but %s holds %lld tokens",
                    path, (long long)before, s->path, (long long)s->tokens);
    return OK;
}

static void index_reserve(shard *s, int64_t documents)
{
    s->documents = documents;
    s->document_end = memory_new(documents, sizeof *s->document_end, "the documents of %s", s->path);
}

static status index_load(shard *s, const char *path, message *why)
{
    int fd;
    int64_t bytes;
    TRY(file_open(path, &fd, &bytes, why));
    status result = OK;
    if (bytes % 8 || bytes == 0 || bytes / 8 > s->tokens)
        result = fail(why, ERR_INPUT, "%s: %lld bytes, expected 8 for each of 1 to %lld documents", path,
                      (long long)bytes, (long long)s->tokens);
    if (result == OK) {
        index_reserve(s, bytes / 8);
        result = file_read_at(fd, path, s->document_end, bytes, 0, why);
    }
    close(fd);
    return result == OK ? index_check(s, path, why) : result;
}

static status index_read(shard *s, message *why)
{
    char path[PATH_BYTES];
    TRY(shard_beside(path, s->path, ".index", why));
    s->indexed = file_exists(path);
    if (s->indexed) return index_load(s, path, why);
    index_reserve(s, 1);
    s->document_end[0] = s->tokens;
    return OK;
}

/* ---- the shard ----------------------------------------------------------------------------------------- */

/* Reads the header, if there is one: zstd files of other programs have none. */
static status header_read(shard *s, int fd, int64_t bytes, message *why)
{
    uint8_t header[SHARD_HEADER_BYTES];
    const int64_t n = bytes < SHARD_HEADER_BYTES ? bytes : SHARD_HEADER_BYTES;
    TRY(file_read_at(fd, s->path, header, n, 0, why));
    if (!shard_header_present(header, n)) return OK;
    TRY(shard_header_parse(s->path, header, n, &s->identity, &s->tokens, why));
    s->token_bytes = s->identity.token_bytes;
    return OK;
}

/* Computes a hash of the ids from the checksums of their frames. */
static uint64_t content_hash(const seekable *z)
{
    if (!z->checksum) return 0;
    hash_state *hash = hash_start();
    hash_update(hash, z->from, (int64_t)sizeof *z->from * (z->frames + 1));
    hash_update(hash, z->checksum, (int64_t)sizeof *z->checksum * z->frames);
    return hash_finish(hash);
}

/* Checks size and, for X.ds.zst, header and seek table. *bytes: size of all ids. */
static status file_check(shard *s, int64_t *bytes, message *why)
{
    int fd;
    TRY(file_open(s->path, &fd, bytes, why));
    status result = *bytes == 0 ? fail(why, ERR_INPUT, "%s: the shard is empty", s->path) : OK;
    if (result == OK && ends_with(s->path, ".ds.zst")) {
        result = header_read(s, fd, *bytes, why);
        if (result == OK) result = seekable_open(&s->frames, fd, s->path, *bytes, why);
        if (result == OK) {
            s->number = frame_cache_number();
            s->content = content_hash(&s->frames);
            *bytes = seekable_bytes(&s->frames);
        }
    }
    close(fd);
    if (result == OK && *bytes == 0) result = fail(why, ERR_INPUT, "%s: the shard has no tokens", s->path);
    return result;
}

static status check(shard *s, message *why)
{
    /* A pattern like shards/\* also matches what lies beside the shards, which would read as tokens
     * without complaint. */
    if (ends_with(s->path, ".index") || ends_with(s->path, ".metadata") || ends_with(s->path, ".json") ||
        ends_with(s->path, ".pack") || ends_with(s->path, ".part"))
        return fail(why, ERR_INPUT, "%s is not a shard but lies beside one: name the .ds or .ds.zst files",
                    s->path);
    int64_t bytes;
    TRY(file_check(s, &bytes, why));
    TRY(metadata_read(s, bytes, why));
    s->identity.token_bytes = s->token_bytes;
    return index_read(s, why);
}

status shard_open(shard *s, const char *path, message *why)
{
    *s = (shard){.identity = {.vocabulary = -1, .eos = -1, .bos = -1, .pad = -1}};
    TRY(path_print(s->path, why, "%s", path));
    const status result = check(s, why);
    if (result != OK) shard_close(s);
    return result;
}

void shard_close(shard *s)
{
    free(s->document_end);
    seekable_close(&s->frames);
    *s = (shard){0};
}

static status read_bytes(const shard *s, int64_t offset, int64_t bytes, void *out, message *why)
{
    if (s->number) return frame_cache_read(s->number, &s->frames, s->path, offset, bytes, out, why);
    int fd;
    int64_t now;
    TRY(file_open(s->path, &fd, &now, why));
    const status result = file_read_at(fd, s->path, out, bytes, offset, why);
    close(fd);
    return result;
}

status shard_read(const shard *s, int64_t from, int64_t count, int64_t vocabulary, int32_t *out, message *why)
{
    REQUIRE(from >= 0 && count >= 0 && from <= s->tokens - count, "%s: tokens %lld to %lld of %lld", s->path,
            (long long)from, (long long)(from + count), (long long)s->tokens);
    /* Narrow ids are read into the second half of `out` and widened from the front: the write position never
     * overtakes the read position. */
    char *raw = (char *)out + count * (4 - s->token_bytes);
    TRY(read_bytes(s, from * s->token_bytes, count * s->token_bytes, raw, why));
    if (s->token_bytes == 2)
        for (int64_t i = 0; i < count; i++) {
            uint16_t id;
            memcpy(&id, raw + 2 * i, sizeof id);
            out[i] = id;
        }
    for (int64_t i = 0; i < count; i++)
        if ((uint32_t)out[i] >= vocabulary)
            return fail(why, ERR_INPUT, "%s: token %lld has id %u, but the vocabulary has only %lld", s->path,
                        (long long)(from + i), (uint32_t)out[i], (long long)vocabulary);
    return OK;
}

int64_t shard_document(const shard *s, int64_t token)
{
    REQUIRE(token >= 0 && token < s->tokens, "%s: token %lld of %lld", s->path, (long long)token,
            (long long)s->tokens);
    int64_t low = 0, high = s->documents - 1; /* the answer lies in [low, high] */
    while (low < high) {
        const int64_t middle = low + (high - low) / 2;
        if (s->document_end[middle] > token)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}
