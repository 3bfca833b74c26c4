/* Raw ids without a header, as nanoGPT's scripts write them: their width is what the caller says. A width
 * that the ids themselves contradict is refused, for a model trained on such ids learns nothing and nobody
 * is told. */
#include "data/import_reader.h"
#include <stddef.h>

enum { LOOK = 4096, LEAST = 64 };

/* Whether 2-byte ids are the halves of 4-byte ones: every second one, the high half, is below 256, while
 * the others are not. */
static bool halves(const uint32_t *ids, int64_t count)
{
    uint32_t low = 0, high = 0;
    for (int64_t i = 0; i + 1 < count; i += 2) {
        low |= ids[i];
        high |= ids[i + 1];
    }
    return count >= LEAST && high < 256 && (low > 255 || (high == 0 && low > 0));
}

/* Whether 4-byte ids are pairs of 2-byte ones. */
static bool pairs(const uint32_t *ids, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        if (ids[i] >= IMPORT_VOCABULARY) return true;
    return false;
}

/* The first ids, looked at before any is used. */
static status look(const import_source *s, const plain_ids *p, message *why)
{
    uint32_t ids[LOOK];
    const id_reader any = {p->ids.type, (int64_t)1 << 32};
    const int64_t count = p->tokens < LOOK ? p->tokens : LOOK;
    byte_stream b;
    TRY(bytes_open(&b, s->path, why));
    const status read = ids_read(&b, &any, ids, count, "token", 0, why);
    bytes_close(&b);
    TRY(read);
    if (p->ids.type == ID_U16 ? !halves(ids, count) : !pairs(ids, count)) return OK;
    return fail(why, ERR_INPUT,
                "%s: read as ids of %d bytes these are no tokens; are they of %d bytes? Then "
                "give import.token_bytes=%d",
                s->path, id_bytes(p->ids.type), 6 - id_bytes(p->ids.type), 6 - id_bytes(p->ids.type));
}

static status open(import_source *s, const import_settings *how, message *why)
{
    if (!how->token_bytes)
        return fail(why, ERR_USAGE,
                    "%s: raw ids do not say how wide they are: give import.token_bytes=2 or 4", s->path);
    plain_ids *p = plain_state(s);
    TRY(plain_open(p, s->path, how->token_bytes == 2 ? ID_U16 : ID_U32, 0, how, why));
    plain_describe(s, p);
    return look(s, p, why);
}

const import_reader import_nanogpt = {"nanogpt", NULL, open, plain_state_next, plain_state_close};
