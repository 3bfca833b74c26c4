/* Fills in missing keys: those that every family has a default for, those of the family, and two whose
 * default is computed, num_key_value_heads and the type of the weights. The values are those of transformers'
 * classes, the same from the first transformers that has the class to 5.x. A default that would be a guess
 * about the shape is not taken. */
#include "model/hf/config_defaults.h"
#include "base/log.h"
#include "model/hf/config_put.h"
#include "model/hf/family.h"
#include "model/hf/safetensors.h"
#include <jansson.h>
#include <string.h>

/* In the order of the log lines. NULL: the value is computed. */
static const key_value common[] = {
    {"rope_theta", "10000.0"}, {"num_key_value_heads", NULL},    {"hidden_act", "\"silu\""},
    {"rms_norm_eps", "1e-06"}, {"tie_word_embeddings", "false"},
};
enum {
    COMMON = sizeof common / sizeof common[0],
    STORAGE = COMMON + FAMILY_VALUES,
    ROWS,
    KEY_VALUE_HEADS = 1
};

_Static_assert(ROWS <= 32, "config_defaults has a bit for each row");

/* Returns row `i` of the whole table: common rows, the family's (which may have no key), the type of the
 * weights. */
static key_value row(const family *m, int i)
{
    if (i < COMMON) return common[i];
    return i < STORAGE ? m->defaults[i - COMMON] : (key_value){"torch_dtype", NULL};
}

static bool missing(const json_t *object, const char *key) { return !json_object_get(object, key); }

static bool missing_or_null(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return !value || json_is_null(value);
}

/* Returns the object that a missing key belongs to; NULL if it is not missing. */
static json_t *place_of(json_t *json, const char *key)
{
    if (!missing(json, key)) return NULL;
    json_t *parameters = json_object_get(json, "rope_parameters");
    if (strcmp(key, "rope_theta") != 0 || !json_is_object(parameters)) return json;
    return missing(parameters, "rope_theta") ? parameters : NULL;
}

static void take_values(config_defaults *taken, const config_file *f)
{
    for (int i = 0; i < ROWS; i++) {
        const key_value r = row(f->family, i);
        json_t *place = r.json ? place_of(f->json, r.key) : NULL;
        if (!place) continue;
        config_put(place, r.key, json_loads(r.json, JSON_DECODE_ANY, NULL));
        taken->missing |= 1u << i;
    }
}

static void note(config_defaults *taken, const config_file *f, int i)
{
    *(missing(f->json, row(f->family, i).key) ? &taken->missing : &taken->null) |= 1u << i;
}

/* null means num_attention_heads everywhere. A missing key means that for some families only; the others have
 * numbers, which would be guesses about the shape. */
static void take_key_value_heads(config_defaults *taken, const config_file *f)
{
    const char *key = common[KEY_VALUE_HEADS].key;
    json_t *heads = json_object_get(f->json, "num_attention_heads");
    if (!missing_or_null(f->json, key) || (missing(f->json, key) && f->family->key_value_heads) ||
        !json_is_integer(heads))
        return;
    note(taken, f, KEY_VALUE_HEADS);
    config_put(f->json, key, json_integer(json_integer_value(heads)));
}

/* Returns the type of the tensor that comes first in the first file. */
static dtype first_type(const safetensors *s)
{
    const safetensors_entry *first = &s->entry[0];
    for (int i = 1; i < s->count; i++) {
        const safetensors_entry *e = &s->entry[i];
        if (e->file < first->file || (e->file == first->file && e->begin < first->begin)) first = e;
    }
    return first->type;
}

static status take_storage(config_defaults *taken, const config_file *f, const char *folder)
{
    static const char *const names[] = {[F32] = "float32", [F16] = "float16", [BF16] = "bfloat16"};
    safetensors s;
    message reason;
    if (!missing_or_null(f->json, "torch_dtype") || !missing_or_null(f->json, "dtype")) return OK;
    if (safetensors_open(&s, folder, &reason) != OK)
        return fail(f->why, ERR_INPUT,
                    "%s: key 'torch_dtype' is missing, and no tensor tells the type of the weights: %.500s",
                    f->path, reason.text);
    if (s.count) {
        note(taken, f, STORAGE);
        config_put_string(f->json, "torch_dtype", names[first_type(&s)]);
    }
    safetensors_close(&s);
    return OK;
}

status config_defaults_take(config_defaults *taken, const config_file *f, const char *folder)
{
    *taken = (config_defaults){0};
    take_values(taken, f);
    take_key_value_heads(taken, f);
    return take_storage(taken, f, folder);
}

/* As a user would write it: 10000, not JSON's 10000.0. */
static const char *value_text(const json_t *value, char number[40])
{
    if (json_is_string(value)) return json_string_value(value);
    if (!json_is_number(value)) return json_is_true(value) ? "true" : json_is_false(value) ? "false" : "null";
    snprintf(number, 40, "%g", json_number_value(value));
    return number;
}

static void say(const char *key, bool was_null, const json_t *value, const char *origin)
{
    char number[40];
    log_line("%s is %s config.json: %s, %s", key, was_null ? "null in" : "not in", value_text(value, number),
             origin);
}

/* Returns true at the first call for a key, false afterwards. */
static bool said_first(const char *key)
{
    static const char *said[32];
    int i = 0;
    while (said[i] && strcmp(said[i], key) != 0) i++;
    if (said[i]) return false;
    REQUIRE(i + 1 < (int)(sizeof said / sizeof said[0]), "more keys have defaults than were expected");
    said[i] = key;
    return true;
}

void config_defaults_say(const config_defaults *taken, const config_file *f)
{
    for (int i = 0; i < ROWS; i++) {
        const char *key = row(f->family, i).key;
        if (!((taken->missing | taken->null) & 1u << i) || !said_first(key)) continue;
        const json_t *value = json_object_get(f->json, key);
        if (!value) value = json_object_get(json_object_get(f->json, "rope_parameters"), key);
        say(key, taken->null >> i & 1, value,
            i == STORAGE ? "the type of its first tensor" : "transformers' default");
    }
}
