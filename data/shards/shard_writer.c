/* Writes a shard. Tokens are gathered and go to the data file raw or in frames; ends of documents go to the
 * index. The three files are .part files until shard_writer_finish commits them:
 *
 *     1  write the rest: ids, seek table, index; then the header again, now with the number of tokens
 *     2  check the sibling (X.ds beside X.ds.zst), which shares index and metadata
 *     3  make all three files durable, then rename index, metadata, data, with nothing in between
 *     4  read the data file back: its hashes, and that they are of what was given
 *
 * A crash before 3 leaves .part files only. A crash between two renames leaves files that contradict each
 * other, or no data file. A failure at 3 or 4 removes the files that have their names. */
#include "data/shards/shard_writer.h"
#include "base/digest.h"
#include "base/hash.h"
#include "base/memory.h"
#include "data/shards/seekable_writer.h"
#include "data/shards/shard.h"
#include "data/shards/shard_header.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

enum { GATHERED_TOKENS = 1 << 14, GATHERED_ENDS = 1 << 10, CHUNK = 1 << 20 };

struct shard_writer {
    char path[PATH_BYTES], index_path[PATH_BYTES], metadata_path[PATH_BYTES];
    char sibling[PATH_BYTES]; /* the shard that would share index and metadata: X.ds of X.ds.zst, or the other
                                 way round */
    shard_identity identity;
    int64_t limit;                     /* ids are below it */
    file_writer data, index, metadata; /* metadata: only at the end */
    int named;                         /* how many of the three have their names */
    seekable_writer *frames;           /* NULL: X.ds, raw */
    int64_t tokens, documents, last_end;
    int gathered_bytes, gathered_ends;
    char gathered[4 * GATHERED_TOKENS];
    int64_t end[GATHERED_ENDS];
};

/* ---- names --------------------------------------------------------------------------------------------- */

/* Fills in the paths. */
static status names(shard_writer *w, const char *path, bool *compressed, message *why)
{
    static const char raw[] = ".ds", zst[] = ".ds.zst";
    const char *name = path_base(path);
    const size_t length = strlen(name), whole = strlen(path);
    *compressed = length > strlen(zst) && !strcmp(name + length - strlen(zst), zst);
    if (!*compressed && (length <= strlen(raw) || strcmp(name + length - strlen(raw), raw) != 0))
        return fail(why, ERR_INPUT, "%.300s: a shard's name ends with .ds.zst or .ds", path);
    if (length >= sizeof((shard_summary *)0)->name || whole + strlen(".metadata") >= PATH_BYTES)
        return fail(why, ERR_INPUT, "%.200s...: the name is too long", path);
    const int stem = (int)(*compressed ? whole - strlen(".zst") : whole); /* up to and with .ds */
    snprintf(w->path, PATH_BYTES, "%s", path);
    snprintf(w->sibling, PATH_BYTES, "%.*s%s", stem, path, *compressed ? "" : ".zst");
    snprintf(w->index_path, PATH_BYTES, "%.*s.index", stem, path);
    snprintf(w->metadata_path, PATH_BYTES, "%.*s.metadata", stem, path);
    return OK;
}

static void identity_check(const shard_identity *i)
{
    REQUIRE(i->token_bytes == 2 || i->token_bytes == 4, "tokens of %d bytes", i->token_bytes);
    REQUIRE(i->vocabulary >= -1 && i->vocabulary != 0, "a vocabulary of %lld", (long long)i->vocabulary);
    const int64_t id[] = {i->eos, i->bos, i->pad};
    for (int k = 0; k < 3; k++)
        REQUIRE(id[k] >= -1 && (i->vocabulary < 0 || id[k] < i->vocabulary),
                "id %lld of a vocabulary of %lld", (long long)id[k], (long long)i->vocabulary);
}

/* ---- writing ------------------------------------------------------------------------------------------- */

static status open_files(shard_writer *w, bool compressed, message *why)
{
    TRY(file_create(&w->data, w->path, 0, why));
    TRY(file_create(&w->index, w->index_path, 0, why));
    if (!compressed) return OK;
    uint8_t header[SHARD_HEADER_BYTES];
    w->frames = seekable_writer_create(&w->data);
    shard_header_pack(header, &w->identity, 0); /* the number of tokens is filled in at the end */
    return seekable_writer_leading(w->frames, header, sizeof header, why);
}

status shard_writer_create(shard_writer **out, const char *path, const shard_identity *identity, message *why)
{
    identity_check(identity);
    shard_writer *w = memory_new(1, sizeof *w, "the writing of %s", path);
    w->data.fd = w->index.fd = w->metadata.fd = -1;
    w->identity = *identity;
    w->limit = identity->token_bytes == 2 ? 1 << 16 : (int64_t)1 << 32;
    if (identity->vocabulary > 0 && identity->vocabulary < w->limit) w->limit = identity->vocabulary;
    bool compressed;
    status s = names(w, path, &compressed, why);
    if (s == OK) s = open_files(w, compressed, why);
    if (s != OK) shard_writer_abandon(w);
    *out = s == OK ? w : NULL;
    return s;
}

static void writer_free(shard_writer *w)
{
    seekable_writer_free(w->frames);
    free(w);
}

void shard_writer_abandon(shard_writer *w)
{
    if (!w) return;
    file_abandon(&w->data);
    file_abandon(&w->index);
    file_abandon(&w->metadata);
    writer_free(w);
}

static status tokens_flush(shard_writer *w, message *why)
{
    const int bytes = w->gathered_bytes;
    w->gathered_bytes = 0;
    return w->frames ? seekable_writer_append(w->frames, w->gathered, bytes, why)
                     : file_append(&w->data, w->gathered, bytes, why);
}

static status id_too_large(const shard_writer *w, uint32_t id, message *why)
{
    return fail(why, ERR_INPUT, "%s: token %lld has id %u, but %s only %lld", w->path, (long long)w->tokens,
                id, w->limit == w->identity.vocabulary ? "the vocabulary has" : "2 bytes hold",
                (long long)w->limit);
}

status shard_writer_append(shard_writer *w, const uint32_t *ids, int64_t count, message *why)
{
    const int width = w->identity.token_bytes;
    for (int64_t i = 0; i < count; i++) {
        if (ids[i] >= w->limit) return id_too_large(w, ids[i], why);
        memcpy(w->gathered + w->gathered_bytes, &ids[i], (size_t)width); /* little-endian */
        w->gathered_bytes += width;
        w->tokens++;
        if (w->gathered_bytes == width * GATHERED_TOKENS) TRY(tokens_flush(w, why));
    }
    return OK;
}

static status ends_flush(shard_writer *w, message *why)
{
    const int64_t bytes = w->gathered_ends * (int64_t)sizeof *w->end;
    w->gathered_ends = 0;
    return file_append(&w->index, w->end, bytes, why);
}

status shard_writer_end_document(shard_writer *w, message *why)
{
    if (w->tokens == w->last_end) return OK;
    w->end[w->gathered_ends++] = w->last_end = w->tokens;
    w->documents++;
    return w->gathered_ends == GATHERED_ENDS ? ends_flush(w, why) : OK;
}

/* ---- finishing ----------------------------------------------------------------------------------------- */

/* Writes the rest of all contents. */
static status contents_finish(shard_writer *w, message *why)
{
    TRY(shard_writer_end_document(w, why));
    if (w->tokens == 0) return fail(why, ERR_INPUT, "%s: there are no tokens to write", w->path);
    TRY(ends_flush(w, why));
    TRY(tokens_flush(w, why));
    if (!w->frames) return OK;
    uint8_t header[SHARD_HEADER_BYTES];
    shard_header_pack(header, &w->identity, w->tokens);
    TRY(seekable_writer_finish(w->frames, why));
    return file_patch(&w->data, 0, header, sizeof header, why);
}

/* Index and metadata are about to be replaced: a shard that shares them must not change its meaning. */
static status sibling_check(const shard_writer *w, message *why)
{
    shard other;
    if (!file_exists(w->sibling)) return OK;
    TRY(shard_open(&other, w->sibling, why));
    const uint64_t ends =
        XXH3_64bits(other.document_end, sizeof *other.document_end * (size_t)other.documents);
    const bool same = other.tokens == w->tokens && other.token_bytes == w->identity.token_bytes &&
                      ends == hash_value(w->index.hash);
    shard_close(&other);
    if (same) return OK;
    return fail(why, ERR_INPUT,
                "%s: %s holds other documents, and the two would share %s: choose another name", w->path,
                w->sibling, path_base(w->index_path));
}

/* Writes 2309 as "2.31 kT", as datatrove does. No program reads it. */
static void readable_count(char *out, size_t size, int64_t tokens)
{
    static const char prefix[] = " kMGTPE";
    int thousands = 0, digits = 0;
    double value = (double)tokens;
    for (; value >= 1000; value /= 1000) thousands++;
    for (double rest = value; rest >= 10; rest /= 10) digits++;
    snprintf(out, size, "%.*f %.*sT", 2 - digits, value, thousands ? 1 : 0, prefix + thousands);
}

static status metadata_write(shard_writer *w, message *why)
{
    char name[sizeof w->identity.tokenizer], readable[40], text[256];
    snprintf(name, sizeof name, "%s", w->identity.tokenizer[0] ? w->identity.tokenizer : "unknown");
    for (char *c = name; *c; c++)
        if ((unsigned char)*c < 0x20) *c = '?'; /* it is one line */
    readable_count(readable, sizeof readable, w->tokens);
    const int length = snprintf(text, sizeof text, "%s|%d\n%lld\n%s", name, w->identity.token_bytes,
                                (long long)w->tokens, readable);
    TRY(file_create(&w->metadata, w->metadata_path, length, why));
    return file_append(&w->metadata, text, length, why);
}

/* Gives the files their names, which replaces an old shard of that name. Three renames are not atomic, but
 * nothing else is done between them; a process killed there leaves counts that contradict each other. */
static status publish(shard_writer *w, uint64_t *given, message *why)
{
    TRY(metadata_write(w, why));
    *given = hash_value(w->data.hash);
    return file_finish_all((file_writer *const[]){&w->index, &w->metadata, &w->data}, 3, &w->named, why);
}

/* Computes the hashes of the data file by reading it back, because its first bytes were filled in last. What
 * comes back must be what was given (`given`: its XXH3-64, with the header that was there first). */
static status read_back(const shard_writer *w, uint64_t given, shard_summary *out, message *why)
{
    int fd;
    TRY(file_open(w->path, &fd, &out->bytes, why));
    char *chunk = memory_new(CHUNK, 1, "bytes of %s", w->path);
    hash_state *again = hash_start();
    digest_state *d = digest_start();
    status s = OK;
    for (int64_t done = 0; done < out->bytes && s == OK; done += CHUNK) {
        const int64_t n = out->bytes - done < CHUNK ? out->bytes - done : CHUNK;
        s = file_read_at(fd, w->path, chunk, n, done, why);
        if (s != OK) break;
        digest_update(d, chunk, (size_t)n);
        if (w->frames && done == 0) shard_header_pack((uint8_t *)chunk, &w->identity, 0);
        hash_update(again, chunk, n);
    }
    digest_text text;
    digest_finish(d, &text);
    if (hash_finish(again) != given && s == OK)
        s = fail(why, ERR_INPUT,
                 "%s: the bytes read back differ from those written: the disk or memory is faulty", w->path);
    strcpy(out->xxh3_128, text.xxh3_128);
    strcpy(out->sha256, text.sha256);
    free(chunk);
    close(fd);
    return s;
}

static status publish_and_hash(shard_writer *w, shard_summary *out, message *why)
{
    uint64_t given;
    digest_text index;
    *out = (shard_summary){.tokens = w->tokens, .documents = w->documents};
    strcpy(out->name, path_base(w->path));
    TRY(publish(w, &given, why));
    TRY(read_back(w, given, out, why));
    TRY(digest_file(w->index_path, &index, NULL, why));
    strcpy(out->index_sha256, index.sha256);
    return OK;
}

static void remove_files(const shard_writer *w)
{
    unlink(w->path);
    if (file_exists(w->sibling)) return;
    unlink(w->index_path);
    unlink(w->metadata_path);
}

status shard_writer_finish(shard_writer *w, shard_summary *summary, message *why)
{
    TRY(contents_finish(w, why));
    TRY(sibling_check(w, why));
    const status s = publish_and_hash(w, summary, why);
    if (s == OK) {
        writer_free(w);
        return OK;
    }
    if (w->named) remove_files(w); /* an old shard too: its index is gone */
    return s;
}

void shard_writer_remove(const char *path)
{
    bool compressed;
    message why;
    shard_writer *w = memory_new(1, sizeof *w, "the names of %s", path);
    if (names(w, path, &compressed, &why) == OK) remove_files(w);
    free(w);
}
