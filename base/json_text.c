/* Parses JSON in two passes: a scan of the text that bounds depth and number of values, then jansson, which
 * by itself has no such limits. Writes it as a text in memory first, so that the file's hash is the text's.
 */
#include "base/json_text.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/memory.h"
#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* config.json nests three deep, a safetensors header too, tokenizer.json six; a header of 2^20 tensors has
 * less than 2^23 commas. jansson makes an object of every value, so without this count a file of 100 MB could
 * ask for gigabytes. */
enum { MAX_DEPTH = 8, MAX_COMMAS = 1 << 23 };

static void *allocate(size_t bytes) { return memory_check(malloc(bytes), "%zu bytes of JSON", bytes); }

void json_text_start(void) { json_set_alloc_funcs(allocate, free); }

const char *json_text_excess(const char *text, int64_t bytes, int max_depth, int64_t max_commas)
{
    int64_t commas = 0;
    int depth = 0;
    bool quoted = false;
    for (int64_t i = 0; i < bytes; i++) {
        if (quoted) {
            if (text[i] == '\\')
                i++; /* the next character is not the end of the string, whatever it is */
            else
                quoted = text[i] != '"';
            continue;
        }
        switch (text[i]) {
        case '"':
            quoted = true;
            break;
        case '{':
        case '[':
            depth++;
            break;
        case '}':
        case ']':
            depth--;
            break;
        case ',':
            commas++;
            break;
        default:
            break;
        }
        if (depth > max_depth) return "is nested too deeply";
        if (commas > max_commas) return "has too many values";
    }
    return NULL;
}

status json_text_parse(json_t **out, const char *text, int64_t bytes, const char *path, message *why)
{
    *out = NULL;
    const char *too_much = json_text_excess(text, bytes, MAX_DEPTH, MAX_COMMAS);
    if (too_much) return fail(why, ERR_INPUT, "%s: its JSON %s", path, too_much);
    json_error_t error;
    json_t *json = json_loadb(text, (size_t)bytes, JSON_REJECT_DUPLICATES, &error);
    if (!json)
        return fail(why, ERR_INPUT, "%s: broken JSON: %s (line %d, column %d)", path, error.text, error.line,
                    error.column);
    if (!json_is_object(json)) {
        json_decref(json);
        return fail(why, ERR_INPUT, "%s: its JSON is not an object", path);
    }
    *out = json;
    return OK;
}

status json_text_read(json_t **out, const char *path, int64_t limit, message *why)
{
    char *text;
    int64_t bytes;
    *out = NULL;
    TRY(file_read_text(path, limit, &text, &bytes, why));
    const status s = json_text_parse(out, text, bytes, path, why);
    free(text);
    return s;
}

/* The caller frees. */
static char *text_of(json_t *json, size_t layout, const char *what)
{
    memory_check(json, "%s", what);
    char *text = memory_check(json_dumps(json, layout), "%s", what);
    json_decref(json);
    return text;
}

status json_text_write(json_t *json, size_t layout, const char *path, written_files *written, message *why)
{
    char *text = text_of(json, layout, path);
    const status s = written_text(written, path, text, why);
    free(text);
    return s;
}

void json_text_print(json_t *json, size_t layout)
{
    char *text = text_of(json, layout, "the JSON to print");
    puts(text);
    free(text);
}

json_t *json_text_string(const char *text)
{
    json_t *whole = json_string(text);
    if (whole) return whole;
    char *ascii = memory_check(strdup(text), "a text");
    for (char *c = ascii; *c; c++)
        if ((unsigned char)*c >= 0x80) *c = '?';
    json_t *string = json_string(ascii);
    free(ascii);
    return string;
}

json_t *json_text_stringn(const char *text, int64_t bytes)
{
    return json_stringn(bytes ? text : "", (size_t)bytes);
}

json_t *json_text_real(double value) { return isfinite(value) ? json_real(value) : json_null(); }

double json_text_real_at(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

const char *json_text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "?";
}

long long json_text_whole_at(const json_t *object, const char *key)
{
    return (long long)json_integer_value(json_object_get(object, key));
}

json_t *json_text_hash(uint64_t hash)
{
    char text[HASH_TEXT];
    hash_text(text, hash);
    return json_string(text);
}
