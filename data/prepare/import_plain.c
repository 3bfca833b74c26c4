/* Files that hold only ids from some byte on: the part that llm.c's, nanoGPT's and datatrove's readers share.
 */
#include "base/memory.h"
#include "data/prepare/import_reader.h"
#include <stdlib.h>

enum { LOOK = 4096, LEAST = 64 };

status import_plain_open(plain_ids *p, const char *path, id_type type, int64_t from,
                         const import_settings *settings, message *why)
{
    const int bytes = import_id_bytes(type);
    *p = (plain_ids){.ids = {type, settings->vocabulary}};
    TRY(byte_stream_open(&p->bytes, path, why));
    const int64_t content = p->bytes.file_bytes - from;
    if (content < 0 || content % bytes)
        return fail(why, ERR_INPUT, "%s: %lld bytes are not a whole number of ids of %d bytes", path,
                    (long long)content, bytes);
    p->tokens = content / bytes;
    return byte_stream_skip(&p->bytes, from, why);
}

void import_plain_close(plain_ids *p) { byte_stream_close(&p->bytes); }

void import_plain_describe(import_source *s, const plain_ids *p)
{
    s->token_bytes = import_id_bytes(p->ids.type) <= 2 ? 2 : 4;
    s->tokens = p->tokens;
    s->bytes = p->bytes.file_bytes;
}

status import_plain_read(import_source *s, plain_ids *p, uint32_t *ids, int64_t capacity, int64_t *count,
                         message *why)
{
    *count = p->tokens - p->read < capacity ? p->tokens - p->read : capacity;
    TRY(import_ids_read(&p->bytes, &p->ids, ids, *count, "token", p->read, why));
    p->read += *count;
    s->done = p->bytes.at;
    return OK;
}

/* ---- a width that only the user gave ------------------------------------------------------------------- */

/* Tells whether 2-byte ids look like halves of 4-byte ones: every second one, the high half, is below 256,
 * while the others are not. */
static bool halves(const uint32_t *ids, int64_t count)
{
    uint32_t low = 0, high = 0;
    for (int64_t i = 0; i + 1 < count; i += 2) {
        low |= ids[i];
        high |= ids[i + 1];
    }
    return count >= LEAST && high < 256 && (low > 255 || (high == 0 && low > 0));
}

/* Tells whether 4-byte ids look like pairs of 2-byte ones: many are beyond any vocabulary. */
static bool pairs(const uint32_t *ids, int64_t count)
{
    int64_t beyond = 0;
    for (int64_t i = 0; i < count; i++) beyond += ids[i] >= IMPORT_VOCABULARY;
    return 4 * beyond > count;
}

status import_plain_look(const plain_ids *p, message *why)
{
    uint32_t ids[LOOK];
    const id_reader any = {p->ids.type, (int64_t)1 << 32};
    const int64_t count = p->tokens < LOOK ? p->tokens : LOOK;
    byte_stream b;
    TRY(byte_stream_open(&b, p->bytes.path, why));
    const status read = import_ids_read(&b, &any, ids, count, "token", 0, why);
    byte_stream_close(&b);
    TRY(read);
    if (p->ids.type == ID_U16 ? !halves(ids, count) : !pairs(ids, count)) return OK;
    return fail(why, ERR_INPUT,
                "%s: its first ids, read with %d bytes each, are not tokens; if they have %d bytes, "
                "give import.token_bytes=%d",
                p->bytes.path, import_id_bytes(p->ids.type), 6 - import_id_bytes(p->ids.type),
                6 - import_id_bytes(p->ids.type));
}

/* ---- readers that are nothing else --------------------------------------------------------------------- */

plain_ids *import_plain_state(import_source *s)
{
    return s->state = memory_new(1, sizeof(plain_ids), "the import of %s", s->path);
}

status import_plain_state_next(import_source *s, uint32_t *ids, int64_t capacity, int64_t *count, bool *ends,
                               message *why)
{
    (void)ends; /* not marked */
    return import_plain_read(s, s->state, ids, capacity, count, why);
}

void import_plain_state_close(import_source *s)
{
    import_plain_close(s->state);
    free(s->state);
}
