/* Writes safetensors. All tensors are declared first: that fixes the header and the size of the file, whose
 * blocks are reserved before anything is written, so that a full disk shows at once. Data then follow in the
 * declared order, in parts of any size; `next` and `left` say which tensor they belong to. Elements are
 * checked on the way: a file with an infinity or NaN in it is never finished. */
#include "model/hf/safetensors.h"
#include "base/memory.h"
#include "model/hf/halves.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK = 1 << 15 };

static int64_t numel(const safetensors_spec *spec)
{
    int64_t n = 1;
    for (int i = 0; i < spec->rank; i++) n *= spec->dim[i];
    return n;
}

static const char *type_text(dtype type)
{
    REQUIRE(type == F32 || type == F16 || type == BF16, "%s cannot be stored", dtype_name(type));
    return type == F32 ? "F32" : type == F16 ? "F16" : "BF16";
}

/* Makes the JSON header, padded with spaces so that the data begin at a multiple of 8. The caller frees it.
 */
static char *header_text(const safetensors_spec *spec, int count, int64_t *data_bytes)
{
    json_t *header = json_object();
    json_object_set_new(header, "__metadata__", json_pack("{s:s}", "format", "pt"));
    int64_t at = 0;
    for (int i = 0; i < count; i++) {
        const int64_t end = at + numel(&spec[i]) * dtype_bytes(spec[i].type);
        json_t *shape = json_array();
        for (int axis = 0; axis < spec[i].rank; axis++)
            json_array_append_new(shape, json_integer(spec[i].dim[axis]));
        json_t *entry = json_pack("{s:s, s:o, s:[I, I]}", "dtype", type_text(spec[i].type), "shape", shape,
                                  "data_offsets", (json_int_t)at, (json_int_t)end);
        REQUIRE(entry && !json_object_get(header, spec[i].name), "tensor '%s' is declared twice",
                spec[i].name);
        json_object_set_new(header, spec[i].name, entry);
        at = end;
    }
    char *text = memory_check(json_dumps(header, JSON_COMPACT), "a header of %d tensors", count);
    json_decref(header);
    const size_t length = strlen(text), padded = (length + 7) / 8 * 8;
    text = memory_check(realloc(text, padded + 1), "a header of %d tensors", count);
    memset(text + length, ' ', padded - length);
    text[padded] = '\0';
    *data_bytes = at;
    return text;
}

int64_t safetensors_bytes(const safetensors_spec *spec, int count)
{
    int64_t data_bytes;
    char *text = header_text(spec, count, &data_bytes);
    const int64_t bytes = 8 + (int64_t)strlen(text) + data_bytes;
    free(text);
    return bytes;
}

static void writer_free(safetensors_writer *w)
{
    free(w->spec);
    *w = (safetensors_writer){0};
}

/* Goes on to the next tensor that is not complete; empty ones are skipped. */
static void to_unfinished(safetensors_writer *w)
{
    while (w->left == 0 && w->next < w->count) {
        w->next++;
        if (w->next < w->count) w->left = numel(&w->spec[w->next]);
    }
}

status safetensors_create(safetensors_writer *w, const char *path, const safetensors_spec *spec, int count,
                          message *why)
{
    *w = (safetensors_writer){.count = count, .next = -1};
    w->spec = memory_new(count, sizeof *spec, "the names of %d tensors", count);
    memcpy(w->spec, spec, (size_t)count * sizeof *spec);
    to_unfinished(w);

    int64_t data_bytes;
    char *text = header_text(spec, count, &data_bytes);
    const uint64_t length = strlen(text);
    unsigned char prefix[8];
    for (int i = 0; i < 8; i++) prefix[i] = (unsigned char)(length >> 8 * i);
    status s = file_create(&w->out, path, 8 + (int64_t)length + data_bytes, why);
    if (s == OK) s = file_append(&w->out, prefix, 8, why);
    if (s == OK) s = file_append(&w->out, text, (int64_t)length, why);
    free(text);
    if (s != OK) writer_free(w);
    return s;
}

/* Reports that data[i] cannot be stored, and removes the file. */
static status unstorable(safetensors_writer *w, const float *data, int64_t i, message *why)
{
    const safetensors_spec *spec = &w->spec[w->next];
    fail(why, ERR_INPUT, "%s: tensor '%s': element %lld is %g, which cannot be stored as %s", w->out.path,
         spec->name, (long long)(numel(spec) - w->left + i), (double)data[i], dtype_name(spec->type));
    file_abandon(&w->out);
    return ERR_INPUT;
}

static status append(safetensors_writer *w, const float *data, int64_t count, message *why)
{
    const dtype type = w->spec[w->next].type;
    const int64_t bad = safetensors_nonfinite(data, count);
    if (bad >= 0) return unstorable(w, data, bad, why);
    if (type == F32) return file_append(&w->out, data, count * 4, why);
    uint16_t half[CHUNK];
    for (int64_t done = 0; done < count; done += CHUNK) {
        const int64_t part = count - done < CHUNK ? count - done : CHUNK;
        const int64_t large = halves_narrow(half, data + done, part, type);
        if (large >= 0) return unstorable(w, data, done + large, why);
        TRY(file_append(&w->out, half, part * 2, why));
    }
    return OK;
}

status safetensors_append(safetensors_writer *w, const float *data, int64_t count, message *why)
{
    REQUIRE(w->next < w->count && count <= w->left,
            "%s: %lld elements for tensor %d of %d, of which %lld are left", w->out.path, (long long)count,
            w->next, w->count, (long long)w->left);
    const status s = append(w, data, count, why);
    if (s != OK) {
        writer_free(w);
        return s;
    }
    w->left -= count;
    to_unfinished(w);
    return OK;
}

status safetensors_finish(safetensors_writer *w, uint64_t *hash, int64_t *bytes, message *why)
{
    REQUIRE(w->next == w->count, "%s: %d tensors are written of %d", w->out.path, w->next, w->count);
    *bytes = w->out.bytes;
    const status s = file_finish(&w->out, hash, why);
    writer_free(w);
    return s;
}

void safetensors_abandon(safetensors_writer *w)
{
    file_abandon(&w->out);
    writer_free(w);
}
