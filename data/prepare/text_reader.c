/* Splits text files into records (lines, or whole files), and finds the document in each.
 *
 * A large file of JSON lines is read in parts [from, to), by different ranks. A line belongs to the part in
 * which it begins, so that each line has exactly one reader:
 *
 *     ...a line\n | a long li|ne\n another line\n ...
 *                 from       to     the reader goes on to the end of its last line; the next part, which
 *                                   begins in the middle of that line, skips the rest of it
 *
 * To see whether a line begins at `from`, a reader starts one byte earlier and skips to the first newline. */
#include "data/prepare/text_reader.h"
#include "base/array.h"
#include "base/json_text.h"
#include "base/memory.h"
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include <utf8proc.h>

enum { BUFFER_BYTES = 1 << 17, KEPT_BYTES = 1 << 22 };

bool text_reader_is_lines(const char *path)
{
    static const char *const names[] = {".jsonl", ".ndjson", ".json"};
    const int length = text_stream_name_length(path);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const int n = (int)strlen(names[i]);
        if (length > n && !strncasecmp(path + length - n, names[i], (size_t)n)) return true;
    }
    return false;
}

/* ---- batches ------------------------------------------------------------------------------------------ */

void text_batch_free(text_batch *b)
{
    free(b->text);
    free(b->record);
    *b = (text_batch){0};
}

void text_batch_clear(text_batch *b)
{
    if (b->capacity > KEPT_BYTES) text_batch_free(b);
    b->bytes = b->records = 0;
}

static void batch_append(text_batch *b, const char *text, int64_t bytes)
{
    b->text = array_reserve(b->text, &b->capacity, b->bytes + bytes, 1);
    memcpy(b->text + b->bytes, text, (size_t)bytes);
    b->bytes += bytes;
}

/* Makes a record of the batch's text from `at` on, without the line's end. A line of white space is dropped.
 */
static void batch_end_record(text_batch *b, const text_reader *r, int64_t at)
{
    int64_t end = b->bytes;
    if (r->lines) {
        while (end > at && strchr(" \t\r\n", b->text[end - 1]) && b->text[end - 1]) end--;
        b->bytes = end;
        if (end == at) return;
    }
    b->text = array_reserve(b->text, &b->capacity, b->bytes + 1, 1); /* an empty text has an address too */
    b->record = array_reserve(b->record, &b->record_capacity, b->records + 1, sizeof *b->record);
    b->record[b->records++] = (text_record){at, end - at, r->lines ? r->line : 0, r->from, r->path};
}

/* ---- reading ------------------------------------------------------------------------------------------ */

status text_reader_open(text_reader *r, const char *path, int64_t from, int64_t to, message *why)
{
    *r = (text_reader){.path = path, .from = from, .to = to, .lines = text_reader_is_lines(path)};
    REQUIRE(from == 0 || (r->lines && !text_stream_is_packed(path)), "%s: read from byte %lld", path,
            (long long)from);
    /* The byte before `from` shows whether a line begins there. */
    r->skipping = from > 0;
    r->read = -r->skipping;
    TRY(text_stream_open(&r->stream, path, from - r->skipping, why));
    r->buffer = memory_new(BUFFER_BYTES, 1, "bytes of %s", path);
    return OK;
}

void text_reader_close(text_reader *r)
{
    text_stream_close(&r->stream);
    free(r->buffer);
    *r = (text_reader){0};
    r->stream.fd = -1;
}

int64_t text_reader_consumed(const text_reader *r)
{
    return r->stream.at > r->from ? r->stream.at - r->from : 0;
}

/* *more is false at the end of the file. */
static status refill(text_reader *r, bool *more, message *why)
{
    static const char mark[] = "\xef\xbb\xbf";
    const bool first = r->read == 0 && r->from == 0;
    int64_t got;
    r->at = r->end = 0;
    do {
        TRY(text_stream_read(&r->stream, r->buffer + r->end, BUFFER_BYTES - r->end, &got, why));
        r->end += got;
    } while (first && got > 0 && r->end < 3);
    if (first && r->end >= 3 && !memcmp(r->buffer, mark, 3)) {
        r->at = 3;
        if (!r->lines) r->from = 3;
    }
    r->read += r->end;
    *more = r->end > 0;
    return OK;
}

static status too_long(const text_reader *r, message *why)
{
    if (!r->lines)
        return fail(
            why, ERR_INPUT,
            "%s: a file like this is one document, and that may have at most %d bytes: cut it, or make "
            "lines of JSON of it",
            r->path, TEXT_FILE_LIMIT);
    const text_record here = {.line = r->line, .from = r->from, .path = r->path};
    char place[RECORD_PLACE_BYTES];
    return fail(why, ERR_INPUT, "%s: the line is longer than %d bytes", text_record_place(&here, place),
                TEXT_LINE_LIMIT);
}

/* Appends the rest of the line that `at` is in, or of the file, to `b` (NULL: skips it). *ended: the file had
 * ended already. */
static status take_record(text_reader *r, text_batch *b, bool *ended, message *why)
{
    const int64_t start = b ? b->bytes : 0, limit = r->lines ? TEXT_LINE_LIMIT : TEXT_FILE_LIMIT;
    bool any = !r->lines && r->line == 1; /* an empty file is an empty document */
    for (;;) {
        if (r->at == r->end) {
            bool more;
            TRY(refill(r, &more, why));
            if (!more) break;
            continue; /* there may be nothing but a mark */
        }
        any = true;
        const char *from = r->buffer + r->at;
        const char *newline = r->lines ? memchr(from, '\n', (size_t)(r->end - r->at)) : NULL;
        const int64_t bytes = newline ? newline + 1 - from : r->end - r->at;
        if (b && b->bytes - start + bytes > limit) return too_long(r, why);
        if (b) batch_append(b, from, bytes);
        r->at += bytes;
        if (newline) break;
    }
    *ended = !any;
    if (b && any) batch_end_record(b, r, start);
    return OK;
}

status text_reader_fill(text_reader *r, text_batch *b, int64_t bytes, bool *ended, message *why)
{
    *ended = false;
    if (r->skipping) TRY(take_record(r, NULL, ended, why));
    r->skipping = false;
    while (!*ended && b->bytes < bytes) {
        /* The place where the next line begins, counted from `from`, decides. */
        *ended = r->lines && r->to - r->from <= r->read - (r->end - r->at);
        r->line++;
        if (!*ended) TRY(take_record(r, b, ended, why));
    }
    return OK;
}

/* ---- documents ---------------------------------------------------------------------------------------- */

/* Returns the number of a line in its file. Where the reader began in the middle, the lines before it are
 * counted only now, for the message. 0 when the file cannot be read any more. */
static int64_t line_number(const text_record *r)
{
    int64_t before = 0, bytes, at = 0;
    if (r->from == 0) return r->line;
    int fd;
    message ignored;
    char *chunk = memory_new(BUFFER_BYTES, 1, "bytes of %s", r->path);
    status s = file_open(r->path, &fd, &bytes, &ignored);
    for (; s == OK && at < r->from;) {
        const int64_t n = r->from - at < BUFFER_BYTES ? r->from - at : BUFFER_BYTES;
        s = file_read_at(fd, r->path, chunk, n, at, &ignored);
        for (int64_t i = 0; s == OK && i < n; i++) before += chunk[i] == '\n';
        at += n;
        /* Line 1 of the reader is the first that begins at `from` or behind it. */
        if (s == OK && at == r->from && chunk[n - 1] != '\n') before++;
    }
    if (fd >= 0) close(fd);
    free(chunk);
    return s == OK ? before + r->line : 0;
}

const char *text_record_place(const text_record *r, char *buffer)
{
    if (r->line)
        snprintf(buffer, RECORD_PLACE_BYTES, "%s:%lld", r->path, (long long)line_number(r));
    else
        snprintf(buffer, RECORD_PLACE_BYTES, "%s", r->path);
    return buffer;
}

/* Byte of the first character that is not UTF-8, or -1. */
static int64_t first_bad(const char *text, int64_t bytes)
{
    for (int64_t i = 0; i < bytes;) {
        if (!(text[i] & 0x80)) {
            i++;
            continue;
        }
        utf8proc_int32_t character;
        const int64_t n = utf8proc_iterate((const utf8proc_uint8_t *)text + i, bytes - i, &character);
        if (n < 0) return i;
        i += n;
    }
    return -1;
}

static status column_missing(const char *place, const json_t *object, const char *column, message *why)
{
    char names[256] = "";
    size_t n = 0;
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        if (n < sizeof names) n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", n ? ", " : "", key);
    }
    return fail(why, ERR_INPUT, "%s: there is no column \"%s\", only %s; tokenize.column names it", place,
                column, names[0] ? names : "an empty object");
}

/* `root` is the parsed line. */
static status column_text(const char *place, json_t *root, const char *column, document *d, message *why)
{
    static const char *const types[] = {"an object", "an array", "a string", "a number",
                                        "a number",  "true",     "false",    "null"};
    if (!json_is_object(root))
        return fail(why, ERR_INPUT, "%s: found %s, expected a JSON object on every line", place,
                    types[json_typeof(root)]);
    const json_t *value = json_object_get(root, column);
    if (!value) return column_missing(place, root, column, why);
    if (!json_is_string(value))
        return fail(why, ERR_INPUT, "%s: column \"%s\" is %s, expected a string", place, column,
                    types[json_typeof(value)]);
    *d = (document){json_string_value(value), (int64_t)json_string_length(value), root};
    return OK;
}

static status line_text(const char *place, const char *line, int64_t bytes, const char *column, document *d,
                        message *why)
{
    json_error_t error;
    const char *too_much = json_text_excess(line, bytes, INT_MAX, TEXT_LINE_COMMAS);
    if (too_much)
        return fail(why, ERR_INPUT, "%s: the JSON of the line %s: more than %d commas", place, too_much,
                    TEXT_LINE_COMMAS);
    /* Numbers are not used here: read as reals, none is too large. */
    const size_t flags = JSON_ALLOW_NUL | JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL;
    json_t *root = json_loadb(line, (size_t)bytes, flags, &error);
    if (!root)
        return fail(why, ERR_INPUT, "%s: not JSON at byte %d of the line: %s", place, error.position,
                    error.text);
    const status s = column_text(place, root, column, d, why);
    if (s != OK) json_decref(root);
    return s;
}

status text_record_document(const text_batch *b, const text_record *r, const char *column, document *d,
                            message *why)
{
    const char *text = b->text + r->at;
    char place[RECORD_PLACE_BYTES];
    const int64_t bad = first_bad(text, r->bytes);
    *d = (document){text, r->bytes, NULL};
    if (bad >= 0)
        return fail(why, ERR_INPUT, "%s: byte %lld%s, 0x%02x, is not UTF-8", text_record_place(r, place),
                    (long long)(r->line ? bad : bad + r->from), r->line ? " of the line" : "",
                    (unsigned char)text[bad]);
    if (!r->line) return OK;
    /* The place is made only for an error: it may need to read the file. */
    const status s = line_text("", text, r->bytes, column, d, why);
    if (s == OK) return OK;
    message inner = *why;
    return fail(why, s, "%s%s", text_record_place(r, place), inner.text);
}

void document_free(document *d)
{
    json_decref(d->json);
    *d = (document){0};
}
