/* Reads and checks single values of a config.json; null counts as missing. */
#include "model/hf/config_file.h"
#include "base/memory.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

const json_t *config_get(const config_file *f, const char *key)
{
    const json_t *value = json_object_get(f->json, key);
    return json_is_null(value) ? NULL : value;
}

/* Returns a value as text for a message. The caller frees it. */
static char *value_text(const json_t *value)
{
    char *text = memory_check(json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(9)),
                              "a value of config.json");
    if (strlen(text) > 80) memcpy(text + 77, "...", 4);
    return text;
}

status config_wrong(const config_file *f, const char *key, const json_t *value, const char *expected)
{
    char *text = value_text(value);
    fail(f->why, ERR_INPUT, "%s: %.200s is %s, %s", f->path, key, text, expected);
    free(text);
    return ERR_INPUT;
}

status config_missing(const config_file *f, const char *key)
{
    return fail(f->why, ERR_INPUT, "%s: key '%s' is %s", f->path, key,
                json_object_get(f->json, key) ? "null" : "missing");
}

status config_get_integer(const config_file *f, const char *key, int64_t least, int64_t most, int64_t *out)
{
    const json_t *value = config_get(f, key);
    char expected[96];
    if (!value) return config_missing(f, key);
    *out = json_integer_value(value);
    snprintf(expected, sizeof expected, "expected a whole number in %lld to %lld", (long long)least,
             (long long)most);
    return json_is_integer(value) && *out >= least && *out <= most ? OK
                                                                   : config_wrong(f, key, value, expected);
}

status config_get_bool(const config_file *f, const char *key, bool default_value, bool *out)
{
    const json_t *value = config_get(f, key);
    *out = value ? json_is_true(value) : default_value;
    return !value || json_is_boolean(value) ? OK : config_wrong(f, key, value, "expected true or false");
}

status config_get_number(const config_file *f, const json_t *object, const char *key, const char *name,
                         double above, double most, double *out)
{
    const json_t *value = json_object_get(object, key);
    char expected[96];
    if (!value || json_is_null(value)) return config_missing(f, name);
    *out = json_number_value(value);
    snprintf(expected, sizeof expected, "expected a number above %g and at most %g", above, most);
    return json_is_number(value) && *out > above && *out <= most ? OK
                                                                 : config_wrong(f, name, value, expected);
}

static bool same_value(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b)) return json_number_value(a) == json_number_value(b);
    return json_equal(a, b);
}

status config_check_only(const config_file *f, const char *key, const json_t *value, const char *only)
{
    if (json_is_null(value)) return OK;
    json_t *supported = json_loads(only, JSON_DECODE_ANY, NULL);
    REQUIRE(supported, "the value %s of key %s is not JSON", only, key);
    const bool same = same_value(value, supported);
    json_decref(supported);
    char expected[96];
    snprintf(expected, sizeof expected, "only %s is supported", only);
    return same ? OK : config_wrong(f, key, value, expected);
}
