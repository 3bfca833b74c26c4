/* A folder of MDS shards (MosaicML Streaming):
 *
 *     shard   u32 n | u32 offset[n+1] | a copy of its entry in index.json | n samples
 *     sample  u32 size of each column whose size varies | the columns
 *
 * A shard may be compressed as a whole. Offsets and samples are read side by side, through two streams of the
 * same file, so that neither a shard nor its table is ever in memory. A file whose hashes are known is hashed
 * before it is read. */
#include "base/log.h"
#include "base/memory.h"
#include "data/prepare/mds_index.h"
#include "data/prepare/named_hash.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1 << 16 };

typedef struct mds {
    mds_index index;
    char column[128]; /* the requested one; empty: the default */
    id_reader ids;
    int64_t number; /* of the next shard */
    int64_t before; /* bytes of the shards that are done */
    bool warned;    /* about a hash that is not known */
    /* The shard that is open: */
    mds_shard shard;
    byte_stream offset, sample;
    int64_t samples;           /* begun */
    int64_t end;               /* of the sample that was begun last */
    int64_t first, left, rest; /* its ids that were read and are left, and the bytes behind them */
    bool inside;               /* it has not been left */
} mds;

static bool recognise(const char *path, const unsigned char head[HEAD_BYTES])
{
    (void)head;
    char index[PATH_BYTES];
    return import_file_beside(index, path, "/index.json");
}

static status open(import_source *s, const import_settings *settings, message *why)
{
    mds *m = s->state = memory_new(1, sizeof *m, "the import of %s", s->path);
    if (snprintf(m->column, sizeof m->column, "%s", settings->column) >= (int)sizeof m->column)
        return fail(why, ERR_USAGE, "import.column is longer than %zu bytes", sizeof m->column - 1);
    TRY(mds_index_read(&m->index, s->path, m->column, why));
    m->ids.vocabulary = settings->vocabulary;
    s->bytes = m->index.bytes;
    s->tokens = m->index.tokens;
    s->keeps_documents = !settings->blocks;
    if (s->keeps_documents) s->documents = m->index.samples;
    s->token_bytes = m->index.token_bytes;
    return OK;
}

static void close_shard(mds *m)
{
    byte_stream_close(&m->offset);
    byte_stream_close(&m->sample);
}

static void close_all(import_source *s)
{
    mds *m = s->state;
    close_shard(m);
    mds_index_free(&m->index);
    free(m);
}

/* ---- hashes -------------------------------------------------------------------------------------------- */

/* Reads the rest of `b`, which must be all of `f`, through every hash that is known. */
static status hash_stream(byte_stream *b, const mds_file *f, named_hash *const *hash, message *why)
{
    unsigned char chunk[CHUNK];
    for (int64_t left = f->bytes; left > 0;) {
        const int64_t n = left < CHUNK ? left : CHUNK;
        TRY(byte_stream_read(b, chunk, n, why));
        for (int i = 0; i < f->hashes; i++)
            if (hash[i]) named_hash_update(hash[i], chunk, (size_t)n);
        left -= n;
    }
    return byte_stream_end(b, why);
}

static status hash_check(mds *m, byte_stream *b, const mds_file *f, message *why)
{
    named_hash *hash[MDS_HASHES];
    for (int i = 0; i < f->hashes; i++) {
        hash[i] = named_hash_start(f->hash[i].algorithm);
        if (!hash[i] && !m->warned)
            log_warning("%s: hashes by %.40s cannot be computed here: they are not checked", m->index.path,
                        f->hash[i].algorithm);
        m->warned = m->warned || !hash[i];
    }
    status s = hash_stream(b, f, hash, why);
    for (int i = 0; i < f->hashes; i++) {
        char text[NAMED_HASH_TEXT];
        if (!hash[i]) continue;
        named_hash_finish(hash[i], text);
        if (s == OK && strcmp(text, f->hash[i].text) != 0)
            s = fail(why, ERR_INPUT, "%s: is damaged: its %s%.40s is %s, but index.json says %.130s", b->path,
                     b->zstd ? "decompressed content's " : "", f->hash[i].algorithm, text, f->hash[i].text);
    }
    return s;
}

static status stream_open(byte_stream *b, const char *path, bool packed, message *why)
{
    return packed ? byte_stream_open_zstd(b, path, why) : byte_stream_open(b, path, why);
}

/* Checks a file, or the content that it decompresses to, against the index. */
static status file_check(mds *m, const char *path, const mds_file *f, bool packed, message *why)
{
    byte_stream b;
    if (!packed && file_bytes(path) >= 0 && file_bytes(path) != f->bytes)
        return fail(why, ERR_INPUT, "%s: has %lld bytes, but index.json says %lld", path,
                    (long long)file_bytes(path), (long long)f->bytes);
    if (f->hashes == 0) return OK;
    TRY(stream_open(&b, path, packed, why));
    const status s = hash_check(m, &b, f, why);
    byte_stream_close(&b);
    return s;
}

/* ---- shards -------------------------------------------------------------------------------------------- */

static status check_number(mds *m, message *why)
{
    uint32_t n;
    TRY(byte_stream_read(&m->offset, &n, 4, why));
    if (n != m->shard.samples)
        return fail(why, ERR_INPUT, "%s: has %u samples, but index.json says %lld", m->offset.path, n,
                    (long long)m->shard.samples);
    return OK;
}

static status read_offset(mds *m, int64_t low, message *why)
{
    uint32_t offset;
    TRY(byte_stream_read(&m->offset, &offset, 4, why));
    if (offset < low || offset > m->shard.raw.bytes)
        return fail(why, ERR_INPUT, "%s: the offset at byte %lld is %u, expected %lld to %lld",
                    m->offset.path, (long long)m->offset.at - 4, offset, (long long)low,
                    (long long)m->shard.raw.bytes);
    m->end = offset;
    return OK;
}

static status open_shard(mds *m, const char *folder, message *why)
{
    char raw[PATH_BYTES], zip[PATH_BYTES];
    mds_shard *s = &m->shard;
    TRY(mds_index_shard(&m->index, m->number++, m->column, s, why));
    m->ids.type = s->type;
    path_join(raw, folder, s->raw.name);
    /* Streaming keeps both, or only the decompressed file, depending on its settings. */
    const bool packed = s->zip.name && !file_exists(raw);
    const char *path = packed ? path_join(zip, folder, s->zip.name) : raw;
    if (packed) TRY(file_check(m, path, &s->zip, false, why));
    TRY(file_check(m, path, &s->raw, packed, why));
    TRY(stream_open(&m->offset, path, packed, why));
    TRY(stream_open(&m->sample, path, packed, why));
    TRY(check_number(m, why));
    TRY(read_offset(m, 8 + 4 * s->samples, why));
    m->samples = 0;
    return byte_stream_skip(&m->sample, m->end, why);
}

static status end_shard(mds *m, message *why)
{
    TRY(byte_stream_end(&m->sample, why));
    if (m->end != m->shard.raw.bytes)
        return fail(why, ERR_INPUT, "%s: the last sample ends at byte %lld of %lld", m->sample.path,
                    (long long)m->end, (long long)m->shard.raw.bytes);
    m->before += m->shard.raw.bytes;
    close_shard(m);
    return OK;
}

/* ---- samples ------------------------------------------------------------------------------------------- */

/* Moves the stream from the sizes of the columns to the column of the ids. */
static status find_column(mds *m, int64_t *own, message *why)
{
    const mds_shard *s = &m->shard;
    int64_t ahead = 0, all = 0; /* at most 256 times 2^32 */
    for (int i = 0; i < s->columns; i++) {
        uint32_t size = (uint32_t)s->size[i];
        if (s->size[i] < 0) TRY(byte_stream_read(&m->sample, &size, 4, why));
        if (i < s->chosen) ahead += size;
        if (i == s->chosen) *own = size;
        all += size;
    }
    if (m->sample.at + all != m->end)
        return fail(why, ERR_INPUT, "%s: sample %lld: its columns end at byte %lld, but the sample at %lld",
                    m->sample.path, (long long)m->samples, (long long)(m->sample.at + all),
                    (long long)m->end);
    m->rest = all - ahead - *own;
    return byte_stream_skip(&m->sample, ahead, why);
}

/* Reads the shape in front of the ids; both together have `*own` bytes. It is a byte (number of dimensions <<
 * 2 | width of each, as a power of two), then the dimensions. Leaves in *own the bytes of the ids. */
static status read_shape(mds *m, int64_t *own, message *why)
{
    unsigned char head = 0;
    uint64_t product = 1;
    bool good = *own >= 1;
    if (good) TRY(byte_stream_read(&m->sample, &head, 1, why));
    const int dimensions = head >> 2, width = 1 << (head & 3);
    good = good && dimensions > 0 && *own >= 1 + dimensions * width;
    for (int i = 0; i < dimensions && good; i++) {
        uint64_t dimension = 0;
        TRY(byte_stream_read(&m->sample, &dimension, width, why));
        good = !__builtin_mul_overflow(product, dimension, &product);
    }
    *own -= 1 + dimensions * width;
    const uint64_t ids = good ? (uint64_t)*own / (uint64_t)import_id_bytes(m->ids.type) : 0;
    if (good && product == ids && *own % import_id_bytes(m->ids.type) == 0) return OK;
    return fail(why, ERR_INPUT,
                "%s: sample %lld: column %.100s is not an array of %d-byte ids with its shape",
                m->sample.path, (long long)m->samples, m->shard.column, import_id_bytes(m->ids.type));
}

static status begin_sample(mds *m, message *why)
{
    int64_t own = 0;
    const int bytes = import_id_bytes(m->ids.type);
    TRY(read_offset(m, m->end, why));
    TRY(find_column(m, &own, why));
    if (m->shard.shaped) TRY(read_shape(m, &own, why));
    if (own % bytes)
        return fail(why, ERR_INPUT,
                    "%s: sample %lld: the %lld bytes of column %.100s are not ids of %d bytes",
                    m->sample.path, (long long)m->samples, (long long)own, m->shard.column, bytes);
    m->first = 0;
    m->left = own / bytes;
    m->inside = true;
    m->samples++;
    return OK;
}

/* Begins the next sample, of this shard or the next one; m->inside stays false if there is none. */
static status find_sample(mds *m, const char *folder, message *why)
{
    for (;;) {
        const bool is_open = m->sample.buffer != NULL;
        if (is_open && m->samples < m->shard.samples) return begin_sample(m, why);
        if (is_open) TRY(end_shard(m, why));
        if (m->number == m->index.shards) return OK;
        TRY(open_shard(m, folder, why));
    }
}

/* Reads ids of the sample that is open. */
static status read_sample(mds *m, uint32_t *ids, int64_t capacity, int64_t *count, message *why)
{
    char what[64];
    *count = m->left < capacity ? m->left : capacity;
    snprintf(what, sizeof what, "sample %lld: id", (long long)m->samples - 1);
    TRY(import_ids_read(&m->sample, &m->ids, ids, *count, what, m->first, why));
    m->first += *count;
    m->left -= *count;
    m->inside = m->left > 0;
    return m->inside ? OK : byte_stream_skip(&m->sample, m->rest, why);
}

static status next(import_source *s, uint32_t *ids, int64_t capacity, int64_t *count, bool *ends,
                   message *why)
{
    mds *m = s->state;
    do {
        if (!m->inside) TRY(find_sample(m, s->path, why));
        s->done = m->before;
        if (!m->inside) return OK;
        TRY(read_sample(m, ids, capacity, count, why));
        *ends = !m->inside && s->keeps_documents;
    } while (*count == 0); /* samples without ids are passed over */
    s->done += m->sample.at;
    return OK;
}

const import_reader import_mds = {"mds", recognise, open, next, close_all};
