/* One shard: a file of raw token ids, checked once against its metadata and index, then read by offset.
 * Little-endian, like the machines that this runs on. */
#include "data/shard.h"
#include "base/log.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { METADATA_LIMIT = 1 << 16 };

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

static status beside(char *out, const char *path, const char *suffix, message *why)
{
    if (snprintf(out, PATH_BYTES, "%s%s", path, suffix) >= PATH_BYTES)
        return fail(why, ERR_INPUT, "%.200s...: the path is too long", path);
    return OK;
}

/* ---- X.ds.metadata: "TOKENIZER|TOKEN_SIZE", the token count, the count for people ---------------------- */

static status metadata_parse(const char *path, char *text, int *token_bytes, int64_t *tokens, message *why)
{
    char *count = strchr(text, '\n');
    if (count) *count++ = 0;
    const char *size = strrchr(text, '|');
    if (!size)
        return fail(why, ERR_INPUT, "%s: line 1 is \"%.100s\", expected TOKENIZER|TOKEN_SIZE", path, text);
    if (strcmp(size, "|2") != 0 && strcmp(size, "|4") != 0)
        return fail(why, ERR_INPUT, "%s: line 1 gives a token size of \"%.100s\" bytes, expected 2 or 4",
                    path, size + 1);
    *token_bytes = size[1] - '0';
    if (count) count[strcspn(count, "\r\n")] = 0;
    if (!count || !count[0] || strlen(count) > 18 || count[strspn(count, "0123456789")])
        return fail(why, ERR_INPUT, "%s: line 2 is \"%.100s\", expected the number of tokens", path,
                    count ? count : "");
    *tokens = atoll(count);
    return OK;
}

static status metadata_read(shard *s, int64_t bytes, message *why)
{
    char path[PATH_BYTES];
    TRY(beside(path, s->path, ".metadata", why));
    if (!file_exists(path)) {
        log_warning("%s: there is no %s: tokens are taken to be 2 bytes wide", s->path, path);
        s->token_bytes = 2;
        s->tokens = bytes / 2;
    } else {
        char *text;
        int64_t length;
        TRY(file_read_text(path, METADATA_LIMIT, &text, &length, why));
        const status parsed = metadata_parse(path, text, &s->token_bytes, &s->tokens, why);
        free(text);
        TRY(parsed);
    }
    if (bytes % s->token_bytes)
        return fail(why, ERR_INPUT, "%s: %lld bytes are not a whole number of tokens of %d bytes", s->path,
                    (long long)bytes, s->token_bytes);
    if (bytes / s->token_bytes != s->tokens)
        return fail(why, ERR_INPUT, "%s holds %lld tokens (%lld bytes, %d each), but %s says %lld", s->path,
                    (long long)(bytes / s->token_bytes), (long long)bytes, s->token_bytes, path,
                    (long long)s->tokens);
    return OK;
}

/* ---- X.ds.index: where documents end ------------------------------------------------------------------- */

static status index_check(const shard *s, const char *path, message *why)
{
    int64_t before = 0;
    for (int64_t i = 0; i < s->documents; before = s->document_end[i++])
        if (s->document_end[i] <= before)
            return fail(
                why, ERR_INPUT,
                "%s: document %lld ends at token %llu, expected more than %lld, where the one before it ends",
                path, (long long)i, (unsigned long long)s->document_end[i], (long long)before);
    if (before != s->tokens)
        return fail(why, ERR_INPUT, "%s: the last document ends at token %lld, but %s holds %lld tokens",
                    path, (long long)before, s->path, (long long)s->tokens);
    return OK;
}

static void index_reserve(shard *s, int64_t documents)
{
    s->documents = documents;
    s->document_end = malloc(sizeof *s->document_end * (size_t)documents);
    if (!s->document_end)
        die(ERR_DEVICE, "no memory for the %lld documents of %s", (long long)documents, s->path);
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
    TRY(beside(path, s->path, ".index", why));
    if (file_exists(path)) return index_load(s, path, why);
    index_reserve(s, 1);
    s->document_end[0] = s->tokens;
    return OK;
}

/* ---- the shard ----------------------------------------------------------------------------------------- */

static status check(shard *s, message *why)
{
    /* A pattern like shards/\* also matches what lies beside the shards, which would read as tokens
     * without complaint. */
    if (ends_with(s->path, ".index") || ends_with(s->path, ".metadata"))
        return fail(why, ERR_INPUT, "%s is not a shard but lies beside one: name the .ds files", s->path);
    int fd;
    int64_t bytes;
    TRY(file_open(s->path, &fd, &bytes, why));
    close(fd);
    if (bytes == 0) return fail(why, ERR_INPUT, "%s: the shard is empty", s->path);
    TRY(metadata_read(s, bytes, why));
    return index_read(s, why);
}

status shard_open(shard *s, const char *path, message *why)
{
    *s = (shard){0};
    TRY(beside(s->path, path, "", why));
    const status result = check(s, why);
    if (result != OK) shard_close(s);
    return result;
}

void shard_close(shard *s)
{
    free(s->document_end);
    *s = (shard){0};
}

/* Raw ids into `out`. Narrow ones are read into its second half and widened from the front, which never
 * overtakes what is still to be read. */
static status read_raw(const shard *s, int fd, int64_t from, int64_t count, int32_t *out, message *why)
{
    char *raw = (char *)out + count * (4 - s->token_bytes);
    TRY(file_read_at(fd, s->path, raw, count * s->token_bytes, from * s->token_bytes, why));
    if (s->token_bytes == 4) return OK;
    for (int64_t i = 0; i < count; i++) {
        uint16_t id;
        memcpy(&id, raw + 2 * i, sizeof id);
        out[i] = id;
    }
    return OK;
}

status shard_read(const shard *s, int64_t from, int64_t count, int64_t vocabulary, int32_t *out, message *why)
{
    REQUIRE(from >= 0 && count >= 0 && from <= s->tokens - count, "%s: tokens %lld to %lld of %lld", s->path,
            (long long)from, (long long)(from + count), (long long)s->tokens);
    int fd;
    int64_t bytes;
    TRY(file_open(s->path, &fd, &bytes, why));
    const status result = read_raw(s, fd, from, count, out, why);
    close(fd);
    TRY(result);
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
