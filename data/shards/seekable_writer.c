/* Writes a seekable zstd file (data/shards/seekable.c shows its bytes). Content is gathered until a frame is
 * full, compressed, appended, and its sizes and checksum are added to the table, which is written at the end.
 * Frames are cut at fixed places of the content, whatever the sizes of the calls. */
#include "data/shards/seekable_writer.h"
#include "base/array.h"
#include "base/memory.h"
#include "data/shards/seekable.h"
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>
#include <zstd_errors.h>

/* 256 KiB: larger frames pack little better, and a random read decodes one or two of them. */
enum { FRAME_BYTES = 1 << 18, WINDOW_LOG = 18, LEVEL = 3, ENTRY_BYTES = 12 };
enum { MOST_FRAMES = 0x8000000 }; /* the format's own limit */

struct seekable_writer {
    file_writer *out;
    ZSTD_CCtx *zstd;
    char *raw, *packed; /* FRAME_BYTES, packed_size */
    size_t packed_size;
    int64_t raw_bytes;    /* waiting in raw */
    uint32_t (*entry)[3]; /* of the table: bytes in the file, bytes of content, checksum of content */
    int64_t entries, capacity;
};

seekable_writer *seekable_writer_create(file_writer *out)
{
    seekable_writer *w = memory_new(1, sizeof *w, "compression of %s", out->path);
    w->out = out;
    w->packed_size = ZSTD_compressBound(FRAME_BYTES);
    w->raw = memory_new(FRAME_BYTES, 1, "compression of %s", out->path);
    w->packed = memory_new((int64_t)w->packed_size, 1, "compression of %s", out->path);
    w->zstd = memory_check(ZSTD_createCCtx(), "compression of %s", out->path);
    ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, LEVEL);
    ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_windowLog, WINDOW_LOG);
    ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_checksumFlag, 1);
    return w;
}

void seekable_writer_free(seekable_writer *w)
{
    if (!w) return;
    ZSTD_freeCCtx(w->zstd);
    free(w->raw);
    free(w->packed);
    free(w->entry);
    free(w);
}

static status entry_add(seekable_writer *w, int64_t packed, const void *content, int64_t bytes, message *why)
{
    if (w->entries == MOST_FRAMES)
        return fail(why, ERR_INPUT, "%s: a shard cannot be larger than %lld bytes before compression",
                    w->out->path, (long long)MOST_FRAMES * FRAME_BYTES);
    w->entry = array_reserve(w->entry, &w->capacity, w->entries + 1, sizeof *w->entry);
    uint32_t *e = w->entry[w->entries++];
    e[0] = (uint32_t)packed;
    e[1] = (uint32_t)bytes;
    e[2] = (uint32_t)XXH64(content, (size_t)bytes, 0);
    return OK;
}

status seekable_writer_leading(seekable_writer *w, const void *data, int64_t bytes, message *why)
{
    REQUIRE(w->entries == 0 && w->raw_bytes == 0, "%s: the header comes first", w->out->path);
    TRY(entry_add(w, bytes, "", 0, why));
    return file_append(w->out, data, bytes, why);
}

static status frame_write(seekable_writer *w, message *why)
{
    const size_t packed = ZSTD_compress2(w->zstd, w->packed, w->packed_size, w->raw, (size_t)w->raw_bytes);
    if (ZSTD_getErrorCode(packed) == ZSTD_error_memory_allocation)
        memory_failed("compression of %s", w->out->path);
    REQUIRE(!ZSTD_isError(packed), "%s: zstd cannot compress: %s", w->out->path, ZSTD_getErrorName(packed));
    TRY(entry_add(w, (int64_t)packed, w->raw, w->raw_bytes, why));
    w->raw_bytes = 0;
    return file_append(w->out, w->packed, (int64_t)packed, why);
}

status seekable_writer_append(seekable_writer *w, const void *data, int64_t bytes, message *why)
{
    for (const char *from = data; bytes > 0;) {
        const int64_t capacity = FRAME_BYTES - w->raw_bytes, n = bytes < capacity ? bytes : capacity;
        memcpy(w->raw + w->raw_bytes, from, (size_t)n);
        w->raw_bytes += n;
        from += n;
        bytes -= n;
        if (w->raw_bytes == FRAME_BYTES) TRY(frame_write(w, why));
    }
    return OK;
}

status seekable_writer_finish(seekable_writer *w, message *why)
{
    if (w->raw_bytes) TRY(frame_write(w, why));
    const uint32_t start[2] = {SEEK_TABLE_MAGIC, (uint32_t)(w->entries * ENTRY_BYTES + 9)};
    TRY(file_append(w->out, start, sizeof start, why));
    TRY(file_append(w->out, w->entry, w->entries * ENTRY_BYTES, why));
    uint8_t end[9];
    const uint32_t count = (uint32_t)w->entries, magic = SEEKABLE_MAGIC;
    memcpy(end, &count, 4);
    end[4] = 0x80; /* entries have checksums */
    memcpy(end + 5, &magic, 4);
    return file_append(w->out, end, sizeof end, why);
}
