/* Reads a seekable zstd file. Its bytes, and the two arrays made of its table (3 frames, the first one a
 * skippable frame that holds the shard's header):
 *
 *     | header   | frame 1        | frame 2   | seek table | footer |
 *     at[0]      at[1]            at[2]       at[3]
 *     from[0]    from[1]          from[2]     from[3]
 *     = 0        = 0                          = bytes of content
 *
 * The table has the packed size, the content size and the checksum of each frame.
 * The footer (9 bytes: number of frames, descriptor, magic) tells where the table begins; sums of its sizes
 * give at[] and from[]. To read byte x of the content, seekable_frame finds its frame in from[] by bisection,
 * and seekable_frame_decode decodes that frame alone.
 *
 * The file is not trusted. The table must fit the file's size exactly, and each frame's own header must agree
 * with the table before anything of its claimed size is allocated or decoded. */
#include "data/shards/seekable.h"
#include "base/file.h"
#include "base/memory.h"
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <zstd.h>
#include <zstd_errors.h>

enum { FOOTER_BYTES = 9, SHORTEST_FRAME = 8 };

static uint32_t u32(const uint8_t *at)
{
    uint32_t x;
    memcpy(&x, at, sizeof x);
    return x;
}

/* ---- the table ----------------------------------------------------------------------------------------- */

typedef struct footer {
    int64_t frames;
    int entry_bytes;
    int64_t bytes; /* of the whole table, its skippable frame's header and the footer included */
} footer;

static status footer_parse(footer *f, const char *path, const uint8_t *data, int64_t bytes, message *why)
{
    if (bytes < 8 + FOOTER_BYTES || u32(data + 5) != SEEKABLE_MAGIC)
        return fail(why, ERR_INPUT,
                    "%s: has no seek table at its end: the file is cut, or was not written as seekable zstd "
                    "(decompress it with zstd -d, and use the result)",
                    path);
    if (data[4] != 0 && data[4] != 0x80)
        return fail(why, ERR_INPUT, "%s: the seek table's descriptor is 0x%02x, expected 0x80 or 0x00", path,
                    data[4]);
    f->frames = u32(data);
    f->entry_bytes = data[4] ? 12 : 8;
    f->bytes = 8 + f->frames * f->entry_bytes + FOOTER_BYTES;
    /* No frame is shorter than SHORTEST_FRAME, so the memory for a table that fits is in proportion to the
     * file. */
    if (f->frames > SEEKABLE_MOST_FRAMES || f->frames * SHORTEST_FRAME > bytes - f->bytes)
        return fail(why, ERR_INPUT, "%s: the seek table lists %lld frames, too many for a file of %lld bytes",
                    path, (long long)f->frames, (long long)bytes);
    return OK;
}

static void reserve(seekable *z, const char *path, bool checksums)
{
    const int64_t n = z->frames + 1;
    z->at = memory_new(n, sizeof *z->at, "the frames of %s", path);
    z->from = memory_new(n, sizeof *z->from, "the frames of %s", path);
    z->checksum = checksums ? memory_new(n, sizeof *z->checksum, "the frames of %s", path) : NULL;
}

static status entries_parse(seekable *z, const char *path, const uint8_t *entry, const footer *f,
                            int64_t bytes, message *why)
{
    for (int64_t i = 0; i < f->frames; i++, entry += f->entry_bytes) {
        const int64_t packed = u32(entry), content = u32(entry + 4);
        if (packed < SHORTEST_FRAME || content > FRAME_LIMIT ||
            packed > (int64_t)ZSTD_compressBound(FRAME_LIMIT))
            return fail(
                why, ERR_INPUT,
                "%s: the seek table gives frame %lld %lld bytes with a content of %lld, possible are %d "
                "to %lld with a content of up to %d",
                path, (long long)i, (long long)packed, (long long)content, SHORTEST_FRAME,
                (long long)ZSTD_compressBound(FRAME_LIMIT), FRAME_LIMIT);
        z->at[i + 1] = z->at[i] + packed;
        z->from[i + 1] = z->from[i] + content;
        if (z->checksum) z->checksum[i] = u32(entry + 8);
    }
    if (z->at[f->frames] != bytes - f->bytes)
        return fail(why, ERR_INPUT,
                    "%s: the frames of the seek table take %lld bytes, but %lld are before it", path,
                    (long long)z->at[f->frames], (long long)(bytes - f->bytes));
    return OK;
}

status seekable_parse(seekable *z, const char *path, const uint8_t *tail, int64_t tail_bytes, int64_t bytes,
                      message *why)
{
    footer f = {0};
    *z = (seekable){0};
    REQUIRE(tail_bytes <= bytes, "%s: an end of %lld bytes of %lld", path, (long long)tail_bytes,
            (long long)bytes);
    TRY(footer_parse(&f, path, tail_bytes < FOOTER_BYTES ? tail : tail + tail_bytes - FOOTER_BYTES,
                     tail_bytes < FOOTER_BYTES ? 0 : bytes, why));
    if (f.bytes > tail_bytes) return fail(why, ERR_INPUT, "%s: changed while it was read", path);
    const uint8_t *table = tail + tail_bytes - f.bytes;
    if (u32(table) != SEEK_TABLE_MAGIC || u32(table + 4) != f.bytes - 8)
        return fail(why, ERR_INPUT, "%s: no seek table begins where its end says, %lld bytes before the end",
                    path, (long long)f.bytes);
    z->frames = f.frames;
    reserve(z, path, f.entry_bytes == 12);
    const status s = entries_parse(z, path, table + 8, &f, bytes, why);
    if (s != OK) seekable_close(z);
    return s;
}

status seekable_open(seekable *z, int fd, const char *path, int64_t bytes, message *why)
{
    uint8_t end[FOOTER_BYTES] = {0};
    footer f = {0};
    *z = (seekable){0};
    if (bytes >= FOOTER_BYTES) TRY(file_read_at(fd, path, end, FOOTER_BYTES, bytes - FOOTER_BYTES, why));
    TRY(footer_parse(&f, path, end, bytes, why));
    uint8_t *tail = memory_new(f.bytes, 1, "the seek table of %s", path);
    status s = file_read_at(fd, path, tail, f.bytes, bytes - f.bytes, why);
    if (s == OK) s = seekable_parse(z, path, tail, f.bytes, bytes, why);
    free(tail);
    return s;
}

void seekable_close(seekable *z)
{
    free(z->at);
    free(z->from);
    free(z->checksum);
    *z = (seekable){0};
}

int64_t seekable_bytes(const seekable *z) { return z->from[z->frames]; }

int64_t seekable_frame(const seekable *z, int64_t offset)
{
    REQUIRE(offset >= 0 && offset < seekable_bytes(z), "byte %lld of %lld", (long long)offset,
            (long long)seekable_bytes(z));
    int64_t low = 0,
            high = z->frames - 1; /* the last frame that begins at or before it lies in [low, high] */
    while (low < high) {
        const int64_t middle = low + (high - low + 1) / 2;
        if (z->from[middle] <= offset)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

/* ---- frames -------------------------------------------------------------------------------------------- */

static status damaged(const char *path, int64_t frame, const char *what, message *why)
{
    return fail(why, ERR_INPUT, "%s: frame %lld is damaged: %s", path, (long long)frame, what);
}

/* Checks the frame's header (RFC 8878, 3.1.1.1): the content size is there and as the table says, there is no
 * dictionary, the window is small, and frame or table has a checksum. Returns NULL, or what is wrong. */
static const char *header_fault(const uint8_t *packed, int64_t packed_bytes, int64_t bytes, bool has_checksum)
{
    if (packed_bytes < 9 || u32(packed) != ZSTD_MAGICNUMBER) return "it does not begin as a zstd frame does";
    const int descriptor = packed[4];
    const bool single = descriptor & 0x20;
    if (descriptor & 3) return "it asks for a dictionary";
    if (!single) {
        const int exponent = packed[5] >> 3, mantissa = packed[5] & 7;
        if (exponent > 13 || ((int64_t)(8 + mantissa) << (7 + exponent)) > WINDOW_LIMIT)
            return "its window is larger than 8 MiB";
    }
    const unsigned long long content = ZSTD_getFrameContentSize(packed, (size_t)packed_bytes);
    if (content == ZSTD_CONTENTSIZE_ERROR) return "its header is malformed";
    if (content == ZSTD_CONTENTSIZE_UNKNOWN) return "it does not say the size of its content";
    if (content != (unsigned long long)bytes)
        return "the size of its content is not what the seek table says";
    if (!has_checksum && !(descriptor & 4)) return "neither it nor the seek table has a checksum";
    return NULL;
}

status seekable_frame_decode(frame_decoder *d, const char *path, int64_t frame, const uint8_t *packed,
                             int64_t packed_bytes, void *out, int64_t bytes, const uint32_t *checksum,
                             message *why)
{
    const char *fault = header_fault(packed, packed_bytes, bytes, checksum != NULL);
    if (fault) return damaged(path, frame, fault, why);
    if (ZSTD_findFrameCompressedSize(packed, (size_t)packed_bytes) != (size_t)packed_bytes)
        return damaged(path, frame, "it is not as long as the seek table says", why);
    if (!d->zstd) d->zstd = memory_check(ZSTD_createDCtx(), "decompression of %s", path);
    const size_t got = ZSTD_decompressDCtx(d->zstd, out, (size_t)bytes, packed, (size_t)packed_bytes);
    if (ZSTD_getErrorCode(got) == ZSTD_error_memory_allocation) memory_failed("decompression of %s", path);
    if (ZSTD_isError(got)) return damaged(path, frame, ZSTD_getErrorName(got), why);
    if (got != (size_t)bytes) return damaged(path, frame, "its content is shorter than it says", why);
    if (!checksum) return OK;
    /* A frame with a checksum of its own, the same hash in its last bytes, is already verified by zstd. */
    const bool own = packed[4] & 4;
    if ((own ? u32(packed + packed_bytes - 4) : (uint32_t)XXH64(out, (size_t)bytes, 0)) != *checksum)
        return damaged(path, frame, "its content does not have the checksum that the seek table says", why);
    return OK;
}

status seekable_decode(frame_decoder *d, const seekable *z, int fd, const char *path, int64_t frame,
                       void *out, message *why)
{
    const int64_t packed = z->at[frame + 1] - z->at[frame], bytes = z->from[frame + 1] - z->from[frame];
    if (packed > d->capacity) {
        free(d->packed);
        d->capacity = packed;
        d->packed = memory_new(packed, 1, "a frame of %s", path);
    }
    TRY(file_read_at(fd, path, d->packed, packed, z->at[frame], why));
    return seekable_frame_decode(d, path, frame, d->packed, packed, out, bytes,
                                 z->checksum ? &z->checksum[frame] : NULL, why);
}
