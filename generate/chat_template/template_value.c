/* Truth values are numbers, as in Python: true == 1. */
#include "generate/chat_template/template_value.h"
#include "data/tokenizer/unicode.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

json_t template_undefined = {.type = JSON_NULL, .refcount = (size_t)-1};

json_int_t value_whole(const json_t *v)
{
    return json_is_boolean(v) ? json_is_true(v) : json_integer_value(v);
}

double value_real(const json_t *v) { return json_is_real(v) ? json_real_value(v) : (double)value_whole(v); }

bool value_is_true(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return json_object_size(v) > 0;
    case JSON_ARRAY:
        return json_array_size(v) > 0;
    case JSON_STRING:
        return json_string_length(v) > 0;
    case JSON_INTEGER:
        return json_integer_value(v) != 0;
    case JSON_REAL:
        return json_real_value(v) < 0 || json_real_value(v) > 0;
    case JSON_TRUE:
        return true;
    case JSON_FALSE:
    case JSON_NULL:
        return false;
    }
    return false;
}

static int order_of(double a, double b) { return a < b ? -1 : a > b; }

static int string_order(const json_t *a, const json_t *b)
{
    const size_t n = json_string_length(a), m = json_string_length(b);
    const int order = memcmp(json_string_value(a), json_string_value(b), n < m ? n : m);
    return order ? (order < 0 ? -1 : 1) : order_of((double)n, (double)m);
}

bool value_order(const json_t *a, const json_t *b, int *order)
{
    if (json_is_string(a) && json_is_string(b)) return *order = string_order(a, b), true;
    if (!value_is_number(a) || !value_is_number(b)) return false;
    if (value_is_whole(a) && value_is_whole(b)) {
        const json_int_t x = value_whole(a), y = value_whole(b);
        *order = x < y ? -1 : x > y;
    } else
        *order = order_of(value_real(a), value_real(b));
    return true;
}

static bool objects_equal(const json_t *a, const json_t *b)
{
    const char *key;
    json_t *value;
    if (json_object_size(a) != json_object_size(b)) return false;
    json_object_foreach((json_t *)a, key, value)
    {
        const json_t *other = json_object_get(b, key);
        if (!other || !value_equal(value, other)) return false;
    }
    return true;
}

static bool arrays_equal(const json_t *a, const json_t *b)
{
    if (json_array_size(a) != json_array_size(b)) return false;
    for (size_t i = 0; i < json_array_size(a); i++)
        if (!value_equal(json_array_get(a, i), json_array_get(b, i))) return false;
    return true;
}

bool value_equal(const json_t *a, const json_t *b)
{
    int order;
    if (a == b) return true;
    if (value_order(a, b, &order)) return order == 0;
    if (json_is_object(a) && json_is_object(b)) return objects_equal(a, b);
    return json_is_array(a) && json_is_array(b) && arrays_equal(a, b);
}

bool value_contains(const json_t *all, const json_t *item, bool *possible)
{
    *possible = true;
    if (json_is_array(all)) {
        for (size_t i = 0; i < json_array_size(all); i++)
            if (value_equal(json_array_get(all, i), item)) return true;
        return false;
    }
    if (json_is_object(all)) return json_is_string(item) && json_object_get(all, json_string_value(item));
    if (json_is_string(all) && json_is_string(item))
        return memmem(json_string_value(all), json_string_length(all), json_string_value(item),
                      json_string_length(item)) != NULL;
    *possible = all == UNDEFINED;
    return false;
}

int64_t value_length(const json_t *v)
{
    if (json_is_string(v)) return utf8_length(json_string_value(v), (int64_t)json_string_length(v));
    if (json_is_array(v)) return (int64_t)json_array_size(v);
    if (json_is_object(v)) return (int64_t)json_object_size(v);
    return v == UNDEFINED ? 0 : -1;
}

const char *value_type(const json_t *v)
{
    if (v == UNDEFINED) return "undefined";
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a truth value";
    case JSON_NULL:
        return "none";
    }
    return "none";
}

int value_depth(const json_t *v, int most, int64_t *visited)
{
    int deepest = 0;
    const char *key;
    json_t *element;
    size_t i;
    ++*visited;
    if (!json_is_array(v) && !json_is_object(v)) return 0;
    if (most <= 1) return 1;
    if (json_is_array(v)) json_array_foreach((json_t *)v, i, element)
        {
            const int depth = value_depth(element, most - 1, visited);
            deepest = depth > deepest ? depth : deepest;
        }
    else
        json_object_foreach((json_t *)v, key, element)
        {
            const int depth = value_depth(element, most - 1, visited);
            deepest = depth > deepest ? depth : deepest;
        }
    return deepest + 1;
}

/* ---- text ---------------------------------------------------------------------------------------------- */

static void put(text_buffer *out, const char *text) { text_buffer_append(out, text, (int64_t)strlen(text)); }

/* As Python prints a float: the fewest digits that are read back as it. */
static void put_real(double x, text_buffer *out)
{
    char text[64];
    if (!isfinite(x)) return put(out, isnan(x) ? "nan" : x < 0 ? "-inf" : "inf");
    int digits = 1;
    for (; digits < 17; digits++) {
        snprintf(text, sizeof text, "%.*e", digits - 1, x);
        if (!(strtod(text, NULL) < x) && !(strtod(text, NULL) > x)) break;
    }
    snprintf(text, sizeof text, "%.*e", digits - 1, x);
    const int exponent = atoi(strchr(text, 'e') + 1);
    if (exponent >= -4 && exponent < 16) {
        const int decimals = digits - 1 - exponent;
        snprintf(text, sizeof text, "%.*f", decimals > 1 ? decimals : 1, x);
    }
    put(out, text);
}

static void put_quoted(const json_t *v, text_buffer *out)
{
    const char *text = json_string_value(v);
    const size_t bytes = json_string_length(v);
    const char quote = memchr(text, '\'', bytes) && !memchr(text, '"', bytes) ? '"' : '\'';
    text_buffer_append(out, &quote, 1);
    for (size_t i = 0; i < bytes; i++) {
        char escaped[8] = {text[i], 0};
        if (text[i] == '\n')
            strcpy(escaped, "\\n");
        else if (text[i] == '\r')
            strcpy(escaped, "\\r");
        else if (text[i] == '\t')
            strcpy(escaped, "\\t");
        else if (text[i] == quote || text[i] == '\\')
            snprintf(escaped, sizeof escaped, "\\%c", text[i]);
        else if ((uint8_t)text[i] < 0x20 || text[i] == 0x7f)
            snprintf(escaped, sizeof escaped, "\\x%02x", (uint8_t)text[i]);
        put(out, escaped);
    }
    text_buffer_append(out, &quote, 1);
}

static void put_list(const json_t *v, text_buffer *out)
{
    put(out, "[");
    for (size_t i = 0; i < json_array_size(v); i++) {
        if (i) put(out, ", ");
        value_text(json_array_get(v, i), true, out);
    }
    put(out, "]");
}

static void put_object(const json_t *v, text_buffer *out)
{
    const char *key;
    json_t *value;
    bool first = true;
    put(out, "{");
    json_object_foreach((json_t *)v, key, value)
    {
        json_t *name = json_string(key);
        if (!first) put(out, ", ");
        put_quoted(name, out);
        put(out, ": ");
        value_text(value, true, out);
        json_decref(name);
        first = false;
    }
    put(out, "}");
}

void value_text(const json_t *v, bool quoted, text_buffer *out)
{
    char number[32];
    if (v == UNDEFINED) return put(out, quoted ? "Undefined" : "");
    switch (json_typeof(v)) {
    case JSON_STRING:
        if (quoted) return put_quoted(v, out);
        return text_buffer_append(out, json_string_value(v), (int64_t)json_string_length(v));
    case JSON_INTEGER:
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(v));
        return put(out, number);
    case JSON_REAL:
        return put_real(json_real_value(v), out);
    case JSON_TRUE:
        return put(out, "True");
    case JSON_FALSE:
        return put(out, "False");
    case JSON_NULL:
        return put(out, "None");
    case JSON_ARRAY:
        return put_list(v, out);
    case JSON_OBJECT:
        return put_object(v, out);
    }
}

int64_t text_offset(const char *text, int64_t bytes, int64_t index)
{
    int64_t at = 0;
    for (; index > 0 && at < bytes; index--) at += utf8_bytes(text[at]);
    return at < bytes ? at : bytes;
}
