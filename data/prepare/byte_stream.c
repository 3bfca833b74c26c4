/* One buffer between a file and its reader, filled by pread or by zstd. Reads and skips take from the buffer;
 * an empty buffer is filled again; a skip beyond it in a plain file only moves the file position. */
#include "data/prepare/byte_stream.h"
#include "base/memory.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>
#include <zstd_errors.h>

enum { BUFFER_BYTES = 1 << 17, WINDOW_LOG = 27 };

struct zstd_source {
    ZSTD_DStream *stream;
    unsigned char *packed; /* BUFFER_BYTES */
    ZSTD_inBuffer in;
    size_t wanted; /* by the running frame; 0 between frames */
};

/* ---- opening ------------------------------------------------------------------------------------------- */

status byte_stream_open(byte_stream *b, const char *path, message *why)
{
    *b = (byte_stream){.fd = -1};
    TRY(path_print(b->path, why, "%s", path));
    TRY(file_open(path, &b->fd, &b->file_bytes, why));
    b->buffer = memory_new(BUFFER_BYTES, 1, "bytes of %s", path);
    return OK;
}

status byte_stream_open_zstd(byte_stream *b, const char *path, message *why)
{
    TRY(byte_stream_open(b, path, why));
    struct zstd_source *z = memory_new(1, sizeof *z, "decompression of %s", path);
    z->stream = memory_check(ZSTD_createDStream(), "decompression of %s", path);
    z->packed = memory_new(BUFFER_BYTES, 1, "decompression of %s", path);
    ZSTD_DCtx_setParameter(z->stream, ZSTD_d_windowLogMax, WINDOW_LOG);
    z->in = (ZSTD_inBuffer){z->packed, 0, 0};
    b->zstd = z;
    return OK;
}

void byte_stream_close(byte_stream *b)
{
    if (!b->buffer) return;
    if (b->zstd) {
        ZSTD_freeDStream(b->zstd->stream);
        free(b->zstd->packed);
        free(b->zstd);
    }
    free(b->buffer);
    close(b->fd);
    *b = (byte_stream){.fd = -1};
}

/* ---- filling ------------------------------------------------------------------------------------------- */

/* Reads up to BUFFER_BYTES from the file; *got is 0 at its end. */
static status fetch(byte_stream *b, void *out, int64_t *got, message *why)
{
    const int64_t left = b->file_bytes - b->file_at;
    *got = left < BUFFER_BYTES ? left : BUFFER_BYTES;
    TRY(file_read_at(b->fd, b->path, out, *got, b->file_at, why));
    b->file_at += *got;
    return OK;
}

static status fill_packed(byte_stream *b, message *why)
{
    struct zstd_source *z = b->zstd;
    int64_t got;
    TRY(fetch(b, z->packed, &got, why));
    z->in = (ZSTD_inBuffer){z->packed, (size_t)got, 0};
    return OK;
}

/* Decompresses until there are bytes or the file ends between two frames. */
static status unpack(byte_stream *b, message *why)
{
    struct zstd_source *z = b->zstd;
    while (b->to == 0) {
        if (z->in.pos == z->in.size) TRY(fill_packed(b, why));
        ZSTD_outBuffer out = {b->buffer, BUFFER_BYTES, 0};
        const bool last = z->in.size == 0;
        if (last && z->wanted == 0) return OK;
        z->wanted = ZSTD_decompressStream(z->stream, &out, &z->in);
        if (ZSTD_getErrorCode(z->wanted) == ZSTD_error_memory_allocation)
            memory_failed("decompression of %s", b->path);
        if (ZSTD_isError(z->wanted))
            return fail(why, ERR_INPUT, "%s: cannot be decompressed behind byte %lld of its content: %s",
                        b->path, (long long)b->at, ZSTD_getErrorName(z->wanted));
        if (last && z->wanted && out.pos == 0)
            return fail(why, ERR_INPUT, "%s: the file is cut: its %lld bytes end inside a zstd frame",
                        b->path, (long long)b->file_bytes);
        b->to = (int64_t)out.pos;
    }
    return OK;
}

/* Fills the empty buffer. At the end of the content it stays empty. */
static status fill(byte_stream *b, message *why)
{
    b->from = b->to = 0;
    return b->zstd ? unpack(b, why) : fetch(b, b->buffer, &b->to, why);
}

/* ---- reading ------------------------------------------------------------------------------------------- */

/* Takes `count` bytes; `out` NULL drops them. */
static status take(byte_stream *b, unsigned char *out, int64_t count, message *why)
{
    while (count > 0) {
        if (b->from == b->to) TRY(fill(b, why));
        if (b->from == b->to)
            return fail(why, ERR_INPUT, "%s: the %s ends at byte %lld, %lld more were expected", b->path,
                        b->zstd ? "decompressed content" : "file", (long long)b->at, (long long)count);
        const int64_t n = count < b->to - b->from ? count : b->to - b->from;
        if (out) memcpy(out, b->buffer + b->from, (size_t)n);
        if (out) out += n;
        b->from += n;
        b->at += n;
        count -= n;
    }
    return OK;
}

status byte_stream_read(byte_stream *b, void *out, int64_t count, message *why)
{
    REQUIRE(count >= 0, "%s: %lld bytes", b->path, (long long)count);
    return take(b, out, count, why);
}

status byte_stream_skip(byte_stream *b, int64_t count, message *why)
{
    REQUIRE(count >= 0, "%s: %lld bytes", b->path, (long long)count);
    const int64_t beyond = count - (b->to - b->from); /* the buffer */
    if (b->zstd || beyond <= 0 || beyond > b->file_bytes - b->file_at) return take(b, NULL, count, why);
    b->from = b->to = 0;
    b->file_at += beyond;
    b->at += count;
    return OK;
}

status byte_stream_end(byte_stream *b, message *why)
{
    if (b->from == b->to) TRY(fill(b, why));
    if (b->from == b->to) return OK;
    return fail(why, ERR_INPUT, "%s: the %s was expected to end at byte %lld, but goes on", b->path,
                b->zstd ? "decompressed content" : "file", (long long)b->at);
}
