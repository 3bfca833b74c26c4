/* Reads fields of JSON objects by type. All functions end in `wrong` when a field is not as expected, so that
 * all messages have one form. */
#include "data/tokenizer/json_fields.h"
#include "base/memory.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static status wrong(const json_t *value, const char *key, const char *path, const char *where,
                    const char *expected, message *why)
{
    const char *dot = where[0] ? "." : "";
    if (!value) return fail(why, ERR_INPUT, "%s: %s%s%s is missing", path, where, dot, key);
    if (json_is_object(value) || json_is_array(value))
        return fail(why, ERR_INPUT, "%s: %s%s%s is not %s", path, where, dot, key, expected);
    char *text = memory_check(json_dumps(value, JSON_ENCODE_ANY), "a value of %s", path);
    fail(why, ERR_INPUT, "%s: %s%s%s is %.80s, expected %s", path, where, dot, key, text, expected);
    free(text);
    return ERR_INPUT;
}

status json_field_object(const json_t *object, const char *key, const char *path, const char *where,
                         const json_t **out, message *why)
{
    *out = json_object_get(object, key);
    return json_is_object(*out) ? OK : wrong(*out, key, path, where, "an object", why);
}

status json_field_array(const json_t *object, const char *key, const char *path, const char *where,
                        const json_t **out, message *why)
{
    *out = json_object_get(object, key);
    return json_is_array(*out) ? OK : wrong(*out, key, path, where, "a list", why);
}

status json_field_text(const json_t *object, const char *key, const char *path, const char *where,
                       const char **out, int64_t *bytes, message *why)
{
    const json_t *value = json_object_get(object, key);
    if (!value || json_is_null(value)) return OK;
    if (!json_is_string(value)) return wrong(value, key, path, where, "a text", why);
    *out = json_string_value(value);
    *bytes = (int64_t)json_string_length(value);
    return OK;
}

status json_field_bool(const json_t *object, const char *key, bool otherwise, const char *path,
                       const char *where, bool *out, message *why)
{
    const json_t *value = json_object_get(object, key);
    const bool given = value && !json_is_null(value);
    *out = given ? json_is_true(value) : otherwise;
    return !given || json_is_boolean(value) ? OK : wrong(value, key, path, where, "true or false", why);
}

status json_field_count(const json_t *object, const char *key, int64_t most, const char *path,
                        const char *where, int64_t *out, message *why)
{
    const json_t *value = json_object_get(object, key);
    *out = json_integer_value(value);
    return json_is_integer(value) && *out >= 0 && *out <= most
               ? OK
               : wrong(value, key, path, where, "a small whole number", why);
}

status json_field_replace(const json_t *object, const char *path, const char *where, text_buffer *from,
                          text_buffer *to, message *why)
{
    const json_t *pattern;
    const char *old = NULL, *new = "";
    int64_t old_bytes = 0, new_bytes = 0;
    char inside[32];
    snprintf(inside, sizeof inside, "%s.pattern", where);
    TRY(json_field_object(object, "pattern", path, where, &pattern, why));
    TRY(json_field_text(pattern, "String", path, inside, &old, &old_bytes, why));
    TRY(json_field_text(object, "content", path, where, &new, &new_bytes, why));
    if (!old_bytes)
        return fail(why, ERR_INPUT,
                    "%s: %s Replace is supported for a pattern {\"String\": ...} that is not empty, and "
                    "no other",
                    path, where);
    text_buffer_append(from, old, old_bytes);
    text_buffer_append(to, new, new_bytes);
    return OK;
}
