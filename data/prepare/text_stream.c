/* The bytes of a text file. A compressed one passes through two buffers: `in`, refilled from the file, and
 * the caller's, filled by zlib or zstd. Files may be several gzip members or zstd frames one after another; a
 * file that ends inside one is cut. */
#include "data/prepare/text_stream.h"
#include "base/memory.h"
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

enum { IN_BYTES = 1 << 17, WINDOW_LOG = 27 };

/* The state of a compressed file: one of the two decoders, and bytes of the file that it has not taken yet.
 */
struct packed {
    z_stream gzip;
    ZSTD_DCtx *zstd;   /* NULL: gzip */
    unsigned char *in; /* (IN_BYTES) */
    int64_t at, end;
    bool inside; /* a member or frame has begun and not ended */
};

/* ---- names -------------------------------------------------------------------------------------------- */

static bool ends_with(const char *path, const char *suffix)
{
    const size_t length = strlen(path), n = strlen(suffix);
    return length > n && !strcasecmp(path + length - n, suffix);
}

bool text_stream_is_packed(const char *path) { return ends_with(path, ".gz") || ends_with(path, ".zst"); }

int text_stream_name_length(const char *path)
{
    return (int)(strlen(path) - (ends_with(path, ".gz") ? 3 : ends_with(path, ".zst") ? 4 : 0));
}

/* ---- compressed files --------------------------------------------------------------------------------- */

static struct packed *packed_new(const char *path)
{
    struct packed *p = memory_new(1, sizeof *p, "decompression of %s", path);
    p->in = memory_new(IN_BYTES, 1, "decompression of %s", path);
    if (ends_with(path, ".zst")) {
        p->zstd = memory_check(ZSTD_createDCtx(), "decompression of %s", path);
        ZSTD_DCtx_setParameter(p->zstd, ZSTD_d_windowLogMax, WINDOW_LOG);
    } else if (inflateInit2(&p->gzip, MAX_WBITS + 16) != Z_OK) { /* 16: gzip's header, not zlib's */
        memory_failed("decompression of %s", path);
    }
    return p;
}

static void packed_free(struct packed *p)
{
    if (!p) return;
    if (p->zstd)
        ZSTD_freeDCtx(p->zstd);
    else
        inflateEnd(&p->gzip);
    free(p->in);
    free(p);
}

/* Returns the decoder's position in the file. */
static long long place(const text_stream *s) { return (long long)(s->at - (s->unpack->end - s->unpack->at)); }

static status refill(text_stream *s, message *why)
{
    struct packed *p = s->unpack;
    const int64_t left = s->bytes - s->at;
    p->at = 0;
    p->end = left < IN_BYTES ? left : IN_BYTES;
    TRY(file_read_at(s->fd, s->path, p->in, p->end, s->at, why));
    s->at += p->end;
    return OK;
}

static status read_gzip(text_stream *s, void *out, int64_t bytes, int64_t *got, message *why)
{
    struct packed *p = s->unpack;
    z_stream *z = &p->gzip;
    const long long from = place(s);
    if (!p->inside && inflateReset(z) != Z_OK) die(ERR_DEVICE, "%s: zlib cannot be reset", s->path);
    p->inside = true;
    z->next_in = p->in + p->at;
    z->avail_in = (uInt)(p->end - p->at);
    z->next_out = out;
    z->avail_out = (uInt)bytes;
    const int result = inflate(z, Z_NO_FLUSH);
    p->at = p->end - z->avail_in;
    *got = bytes - z->avail_out;
    if (result == Z_STREAM_END) p->inside = false;
    if (result == Z_OK || result == Z_STREAM_END || result == Z_BUF_ERROR) return OK;
    if (result == Z_MEM_ERROR) memory_failed("decompression of %s", s->path);
    return fail(why, ERR_INPUT, "%s: is damaged or not gzip after byte %lld: %s", s->path, from,
                z->msg ? z->msg : "it needs a dictionary");
}

static status read_zstd(text_stream *s, void *out, int64_t bytes, int64_t *got, message *why)
{
    struct packed *p = s->unpack;
    const long long from = place(s);
    ZSTD_outBuffer to = {out, (size_t)bytes, 0};
    ZSTD_inBuffer in = {p->in, (size_t)p->end, (size_t)p->at};
    const size_t result = ZSTD_decompressStream(p->zstd, &to, &in);
    p->at = (int64_t)in.pos;
    *got = (int64_t)to.pos;
    if (!ZSTD_isError(result)) {
        p->inside = result != 0;
        return OK;
    }
    const ZSTD_ErrorCode code = ZSTD_getErrorCode(result);
    if (code == ZSTD_error_memory_allocation) memory_failed("decompression of %s", s->path);
    if (code == ZSTD_error_frameParameter_windowTooLarge)
        return fail(
            why, ERR_INPUT,
            "%s: the frame at byte %lld needs a window of more than %d MiB: compress it again without "
            "--long=28 or more",
            s->path, from, 1 << (WINDOW_LOG - 20));
    return fail(why, ERR_INPUT, "%s: is damaged or not zstd after byte %lld: %s", s->path, from,
                ZSTD_getErrorName(result));
}

/* Decodes until there are bytes or the file ends: a decoder may take bytes without giving any. */
static status read_packed(text_stream *s, void *out, int64_t bytes, int64_t *got, message *why)
{
    struct packed *p = s->unpack;
    for (*got = 0; *got == 0;) {
        if (p->at == p->end && s->at < s->bytes) TRY(refill(s, why));
        /* At the end of the file a decoder may still hold bytes that did not fit into `out` before. */
        const bool ended = p->at == p->end;
        if (ended && !p->inside) return OK;
        TRY(p->zstd ? read_zstd(s, out, bytes, got, why) : read_gzip(s, out, bytes, got, why));
        if (ended && *got == 0 && p->inside)
            return fail(why, ERR_INPUT, "%s: is cut: its %lld bytes end inside compressed data", s->path,
                        (long long)s->bytes);
    }
    return OK;
}

/* ---- both --------------------------------------------------------------------------------------------- */

status text_stream_open(text_stream *s, const char *path, int64_t from, message *why)
{
    *s = (text_stream){.fd = -1, .at = from};
    TRY(path_print(s->path, why, "%s", path));
    TRY(file_open(path, &s->fd, &s->bytes, why));
    REQUIRE(from == 0 || !text_stream_is_packed(path), "%s: read from byte %lld", path, (long long)from);
    if (!text_stream_is_packed(path)) return OK;
    if (s->bytes == 0)
        return fail(why, ERR_INPUT, "%s: is empty, not even compressed nothing: is it cut?", path);
    s->unpack = packed_new(path);
    return OK;
}

status text_stream_read(text_stream *s, void *out, int64_t bytes, int64_t *got, message *why)
{
    REQUIRE(bytes > 0 && bytes <= INT32_MAX, "%s: %lld bytes", s->path, (long long)bytes);
    if (s->unpack) return read_packed(s, out, bytes, got, why);
    const int64_t left = s->bytes - s->at;
    *got = left <= 0 ? 0 : left < bytes ? left : bytes;
    TRY(file_read_at(s->fd, s->path, out, *got, s->at, why));
    s->at += *got;
    return OK;
}

void text_stream_close(text_stream *s)
{
    packed_free(s->unpack);
    if (s->fd >= 0) close(s->fd);
    *s = (text_stream){.fd = -1};
}
