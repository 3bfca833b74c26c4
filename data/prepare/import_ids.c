/* Converts ids of any integer type to u32, and checks each of them. */
#include "data/prepare/import_reader.h"
#include <string.h>

int import_id_bytes(id_type type)
{
    static const int bytes[] = {
        [ID_U8] = 1, [ID_I8] = 1, [ID_U16] = 2, [ID_I16] = 2, [ID_U32] = 4, [ID_I32] = 4, [ID_I64] = 8};
    return bytes[type];
}

/* Converts values of one type, which may be unaligned. A negative value becomes a large unsigned number,
 * which fails the comparison with the vocabulary. */
#define CONVERT(type)                                                                                        \
    for (int64_t i = 0; i < count; i++) {                                                                    \
        type id;                                                                                             \
        memcpy(&id, raw + i * (int64_t)sizeof id, sizeof id);                                                \
        out[i] = (uint32_t)id;                                                                               \
        bad |= (uint64_t)(int64_t)id >= vocabulary;                                                          \
    }                                                                                                        \
    break

static bool convert(id_type type, uint32_t *out, const unsigned char *raw, int64_t count, uint64_t vocabulary)
{
    bool bad = false;
    switch (type) {
    case ID_U8:
        CONVERT(uint8_t);
    case ID_I8:
        CONVERT(int8_t);
    case ID_U16:
        CONVERT(uint16_t);
    case ID_I16:
        CONVERT(int16_t);
    case ID_U32:
        CONVERT(uint32_t);
    case ID_I32:
        CONVERT(int32_t);
    case ID_I64:
        CONVERT(int64_t);
    }
    return !bad;
}

static int64_t value(id_type type, const unsigned char *raw)
{
    int64_t x = 0;
    memcpy(&x, raw, (size_t)import_id_bytes(type));
    return type == ID_I8 ? (int8_t)x : type == ID_I16 ? (int16_t)x : type == ID_I32 ? (int32_t)x : x;
}

/* Reports the first value that is not an id. */
static status refuse(const byte_stream *b, const id_reader *r, const unsigned char *raw, int64_t count,
                     const char *what, int64_t first, message *why)
{
    const int bytes = import_id_bytes(r->type);
    int64_t i = 0;
    while (value(r->type, raw + i * bytes) >= 0 && value(r->type, raw + i * bytes) < r->vocabulary) i++;
    return fail(why, ERR_INPUT, "%s: %s %lld (byte %lld) is %lld, expected 0 to %lld", b->path, what,
                (long long)(first + i), (long long)(b->at - (count - i) * bytes),
                (long long)value(r->type, raw + i * bytes), (long long)r->vocabulary - 1);
}

status import_ids_read(byte_stream *b, const id_reader *r, uint32_t *out, int64_t count, const char *what,
                       int64_t first, message *why)
{
    unsigned char raw[1 << 14];
    const int bytes = import_id_bytes(r->type);
    for (int64_t done = 0; done < count;) {
        const int64_t most = (int64_t)sizeof raw / bytes, n = count - done < most ? count - done : most;
        TRY(byte_stream_read(b, raw, n * bytes, why));
        if (!convert(r->type, out + done, raw, n, (uint64_t)r->vocabulary))
            return refuse(b, r, raw, n, what, first + done, why);
        done += n;
    }
    return OK;
}
