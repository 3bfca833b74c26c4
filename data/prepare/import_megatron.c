/* Megatron's IndexedDataset: X.bin holds ids, X.idx describes them.
 *
 *     0  "MMIDIDX\0\0"   9  u64 version 1   17  u8 type   18  u64 sequences   26  u64 documents + 1
 *    34  i32 tokens[sequences]   i64 place[sequences], in bytes   i64 document[documents + 1], in sequences
 *        i8 mode[sequences]: only where images are mixed in
 *
 * The three arrays are read side by side, each through a stream of its own. Every writer puts sequences one
 * behind the other; a file in which they are not is refused as damaged. */
#include "base/memory.h"
#include "data/prepare/import_reader.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HEADER_BYTES = 34, TYPES = 9 };
static const char magic[9] = "MMIDIDX\0";

typedef struct megatron {
    byte_stream ids, tokens, place, document;
    id_reader type;
    int64_t sequences, sequence; /* those begun */
    int64_t left;                /* ids of the sequence that was begun last */
    int64_t documents, begun;
    int64_t document_end; /* of the document that was begun last, in sequences */
    bool inside;          /* it has not been reported as ended */
} megatron;

/* Makes the path of X.idx from that of X.bin. */
static bool index_path(char out[PATH_BYTES], const char *path)
{
    const size_t stem = strlen(path) - 4;
    if (strlen(path) < 4 || strcmp(path + stem, ".bin") != 0) return false;
    return snprintf(out, PATH_BYTES, "%.*s.idx", (int)stem, path) < PATH_BYTES;
}

static bool recognise(const char *path, const unsigned char head[HEAD_BYTES])
{
    (void)head;
    char index[PATH_BYTES];
    return index_path(index, path) && file_exists(index);
}

/* ---- opening ------------------------------------------------------------------------------------------- */

static status type_read(const char *path, int code, id_type *type, message *why)
{
    static const id_type types[TYPES] = {
        [1] = ID_U8, [2] = ID_I8, [3] = ID_I16, [4] = ID_I32, [5] = ID_I64, [8] = ID_U16};
    if (code == 6 || code == 7)
        return fail(why, ERR_INPUT, "%s: holds float%d, not ids", path, code == 6 ? 64 : 32);
    if (code == 0 || code >= TYPES)
        return fail(why, ERR_INPUT, "%s: byte 17, the type, is %d, expected 1 to 8", path, code);
    *type = types[code];
    return OK;
}

/* Checks the size: 34 bytes, then 12 (13 with modes) for each sequence and 8 for each document bound. */
static status sizes_check(const char *path, uint64_t sequences, uint64_t documents, int64_t bytes,
                          message *why)
{
    const uint64_t left = (uint64_t)(bytes - HEADER_BYTES);
    uint64_t expected = UINT64_MAX;
    /* Neither product can overflow then. */
    if (sequences <= left / 12 && documents <= left / 8) expected = 12 * sequences + 8 * documents;
    if (expected != left && (expected > left || expected + sequences != left))
        return fail(why, ERR_INPUT,
                    "%s: has %lld bytes, which is not what %llu sequences and %llu document bounds take",
                    path, (long long)bytes, (unsigned long long)sequences, (unsigned long long)documents);
    if (documents == 0) return fail(why, ERR_INPUT, "%s: there are no document bounds", path);
    return OK;
}

static status header_read(megatron *m, const char *path, message *why)
{
    unsigned char header[HEADER_BYTES];
    uint64_t version, sequences, documents;
    TRY(byte_stream_read(&m->tokens, header, sizeof header, why));
    if (memcmp(header, magic, sizeof magic) != 0)
        return fail(why, ERR_INPUT,
                    "%s: does not begin with MMIDIDX and two zeroes: it is no index of Megatron", path);
    memcpy(&version, header + 9, 8);
    memcpy(&sequences, header + 18, 8);
    memcpy(&documents, header + 26, 8);
    if (version != 1)
        return fail(why, ERR_INPUT, "%s: is version %llu, expected 1", path, (unsigned long long)version);
    TRY(type_read(path, header[17], &m->type.type, why));
    TRY(sizes_check(path, sequences, documents, m->tokens.file_bytes, why));
    m->sequences = (int64_t)sequences;
    m->documents = (int64_t)documents - 1;
    return OK;
}

static status i64_read(byte_stream *b, int64_t *value, message *why)
{
    return byte_stream_read(b, value, 8, why);
}

static status open_index(megatron *m, const char *path, message *why)
{
    int64_t first;
    TRY(byte_stream_open(&m->tokens, path, why));
    TRY(header_read(m, path, why));
    TRY(byte_stream_open(&m->place, path, why));
    TRY(byte_stream_skip(&m->place, HEADER_BYTES + 4 * m->sequences, why));
    TRY(byte_stream_open(&m->document, path, why));
    TRY(byte_stream_skip(&m->document, HEADER_BYTES + 12 * m->sequences, why));
    TRY(i64_read(&m->document, &first, why));
    if (first != 0)
        return fail(why, ERR_INPUT, "%s: document 0 begins at sequence %lld, expected 0", path,
                    (long long)first);
    return OK;
}

static status open(import_source *s, const import_settings *settings, message *why)
{
    char index[PATH_BYTES];
    megatron *m = s->state = memory_new(1, sizeof *m, "the import of %s", s->path);
    if (!index_path(index, s->path))
        return fail(why, ERR_INPUT, "%s: expected a name that ends with .bin, with its .idx beside it",
                    s->path);
    m->type.vocabulary = settings->vocabulary;
    TRY(open_index(m, index, why));
    TRY(byte_stream_open(&m->ids, s->path, why));
    const int bytes = import_id_bytes(m->type.type);
    s->tokens = m->ids.file_bytes / bytes;
    s->documents = m->documents;
    s->keeps_documents = true;
    s->token_bytes = bytes <= 2 ? 2 : 4;
    s->bytes = m->ids.file_bytes;
    return OK;
}

static void close_all(import_source *s)
{
    megatron *m = s->state;
    byte_stream_close(&m->ids);
    byte_stream_close(&m->tokens);
    byte_stream_close(&m->place);
    byte_stream_close(&m->document);
    free(m);
}

/* ---- reading ------------------------------------------------------------------------------------------- */

static status begin_sequence(megatron *m, message *why)
{
    int32_t tokens;
    int64_t place;
    TRY(byte_stream_read(&m->tokens, &tokens, 4, why));
    TRY(i64_read(&m->place, &place, why));
    if (tokens < 0)
        return fail(why, ERR_INPUT, "%s: sequence %lld has %d tokens", m->tokens.path, (long long)m->sequence,
                    tokens);
    if (place != m->ids.at)
        return fail(
            why, ERR_INPUT,
            "%s: sequence %lld begins at byte %lld of %s, expected %lld, where the one before it ends",
            m->tokens.path, (long long)m->sequence, (long long)place, path_base(m->ids.path),
            (long long)m->ids.at);
    const int64_t left = m->ids.file_bytes - m->ids.at,
                  bytes = tokens * (int64_t)import_id_bytes(m->type.type);
    if (bytes > left)
        return fail(why, ERR_INPUT,
                    "%s: sequence %lld takes %lld bytes from byte %lld on, but %s ends at %lld",
                    m->tokens.path, (long long)m->sequence, (long long)bytes, (long long)place, m->ids.path,
                    (long long)m->ids.file_bytes);
    m->left = tokens;
    m->sequence++;
    return OK;
}

static status begin_document(megatron *m, message *why)
{
    const int64_t begin = m->document_end;
    TRY(i64_read(&m->document, &m->document_end, why));
    if (m->document_end < begin || m->document_end > m->sequences)
        return fail(why, ERR_INPUT, "%s: document %lld ends at sequence %lld, expected %lld to %lld",
                    m->document.path, (long long)m->begun, (long long)m->document_end, (long long)begin,
                    (long long)m->sequences);
    m->begun++;
    m->inside = true;
    return OK;
}

/* Checks, after the last document, that no sequence and no id is left. */
static status end(megatron *m, message *why)
{
    if (m->document_end != m->sequences)
        return fail(why, ERR_INPUT, "%s: the last document ends at sequence %lld of %lld", m->document.path,
                    (long long)m->document_end, (long long)m->sequences);
    if (m->ids.at != m->ids.file_bytes)
        return fail(why, ERR_INPUT, "%s: has %lld bytes, but its index ends at byte %lld", m->ids.path,
                    (long long)m->ids.file_bytes, (long long)m->ids.at);
    return OK;
}

static status next(import_source *s, uint32_t *ids, int64_t capacity, int64_t *count, bool *ends,
                   message *why)
{
    megatron *m = s->state;
    if (!m->inside && m->begun == m->documents) return end(m, why);
    if (!m->inside) TRY(begin_document(m, why));
    while (m->left == 0 && m->sequence < m->document_end) TRY(begin_sequence(m, why));
    *count = m->left < capacity ? m->left : capacity;
    const int64_t first = m->ids.at / import_id_bytes(m->type.type);
    TRY(import_ids_read(&m->ids, &m->type, ids, *count, "token", first, why));
    m->left -= *count;
    s->done = m->ids.at;
    *ends = m->left == 0 && m->sequence == m->document_end;
    m->inside = !*ends;
    return OK;
}

const import_reader import_megatron = {"megatron", recognise, open, next, close_all};
