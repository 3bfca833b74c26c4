/* A table of keys, and two whose default is computed: num_key_value_heads and the type of the weights. The
 * values are those of LlamaConfig, Qwen2Config, MistralConfig and DeepseekV3Config, the same from the first
 * transformers that has the class to 5.x. */
#include "model/hf/config_defaults.h"
#include "base/log.h"
#include "model/hf/config_put.h"
#include "model/hf/safetensors.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { OF_LLAMA = 1 << LLAMA, OF_MISTRAL = 1 << MISTRAL, OF_DEEPSEEK = 1 << DEEPSEEK, OF_ALL = 15 };

static const struct default_row {
    const char *key;
    int kinds;
    const char *value, *origin; /* JSON; NULL: computed */
} rows[] = {
    {"rope_theta", OF_ALL, "10000.0", "transformers' default"},
    {"num_key_value_heads", OF_ALL, NULL, "transformers' default"},
    {"hidden_act", OF_ALL, "\"silu\"", "transformers' default"},
    {"rms_norm_eps", OF_ALL, "1e-06", "transformers' default"},
    {"tie_word_embeddings", OF_ALL, "false", "transformers' default"},
    {"attention_bias", OF_LLAMA | OF_DEEPSEEK, "false", "transformers' default"},
    {"sliding_window", OF_MISTRAL, "4096", "transformers' default"},
    {"torch_dtype", OF_ALL, NULL, "the type of its first tensor"},
};
enum { ROWS = sizeof rows / sizeof rows[0], KEY_VALUE_HEADS = 1, STORAGE = ROWS - 1 };

int config_default_key_value_heads(model_kind kind)
{
    static const int heads[] = {[QWEN2] = 32, [MISTRAL] = 8, [DEEPSEEK] = 128};
    return heads[kind];
}

static bool missing(const json_t *object, const char *key) { return !json_object_get(object, key); }

static bool missing_or_null(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return !value || json_is_null(value);
}

/* Where a missing key belongs; NULL: it is not missing. */
static json_t *place_of(json_t *json, const char *key)
{
    if (!missing(json, key)) return NULL;
    /* TransMLA's attention_bias means other biases than transformers', and has no default. */
    if (strcmp(key, "attention_bias") == 0 && !missing(json, "qk_latent_layernorm")) return NULL;
    json_t *parameters = json_object_get(json, "rope_parameters");
    if (strcmp(key, "rope_theta") != 0 || !json_is_object(parameters)) return json;
    return missing(parameters, "rope_theta") ? parameters : NULL;
}

static void take_values(config_defaults *taken, json_t *json, model_kind kind)
{
    for (int i = 0; i < ROWS; i++) {
        json_t *place = rows[i].value && rows[i].kinds >> kind & 1 ? place_of(json, rows[i].key) : NULL;
        if (!place) continue;
        config_put(place, rows[i].key, json_loads(rows[i].value, JSON_DECODE_ANY, NULL));
        taken->missing |= 1u << i;
    }
}

static void note(config_defaults *taken, const json_t *json, int row)
{
    *(missing(json, rows[row].key) ? &taken->missing : &taken->null) |= 1u << row;
}

/* null means num_attention_heads everywhere. A missing key means that for Llama only; the others have
 * numbers, which would be guesses about the shape. */
static void take_key_value_heads(config_defaults *taken, json_t *json, model_kind kind)
{
    const char *key = rows[KEY_VALUE_HEADS].key;
    json_t *heads = json_object_get(json, "num_attention_heads");
    if (!missing_or_null(json, key) || (missing(json, key) && kind != LLAMA) || !json_is_integer(heads))
        return;
    note(taken, json, KEY_VALUE_HEADS);
    config_put(json, key, json_integer(json_integer_value(heads)));
}

/* Of the tensor that comes first in the first file. */
static dtype first_type(const safetensors *s)
{
    const safetensors_entry *first = &s->entry[0];
    for (int i = 1; i < s->count; i++) {
        const safetensors_entry *e = &s->entry[i];
        if (e->file < first->file || (e->file == first->file && e->begin < first->begin)) first = e;
    }
    return first->type;
}

static status take_storage(config_defaults *taken, json_t *json, const char *folder, const char *path,
                           message *why)
{
    static const char *const names[] = {[F32] = "float32", [F16] = "float16", [BF16] = "bfloat16"};
    safetensors s;
    message reason;
    if (!missing_or_null(json, "torch_dtype") || !missing_or_null(json, "dtype")) return OK;
    if (safetensors_open(&s, folder, &reason) != OK)
        return fail(why, ERR_INPUT,
                    "%s: key 'torch_dtype' is missing, and no tensor tells the type of the weights: %.500s",
                    path, reason.text);
    if (s.count) {
        note(taken, json, STORAGE);
        config_put(json, "torch_dtype", json_string(names[first_type(&s)]));
    }
    safetensors_close(&s);
    return OK;
}

status config_defaults_take(config_defaults *taken, json_t *json, model_kind kind, const char *folder,
                            const char *path, message *why)
{
    *taken = (config_defaults){0};
    take_values(taken, json, kind);
    take_key_value_heads(taken, json, kind);
    return take_storage(taken, json, folder, path, why);
}

static void say(const struct default_row *row, bool was_null, const json_t *value)
{
    char number[40] = "false"; /* the only truth value that is a default */
    if (json_is_number(value)) snprintf(number, sizeof number, "%g", json_number_value(value));
    log_line("%s is %s config.json: %s, %s", row->key, was_null ? "null in" : "not in",
             json_is_string(value) ? json_string_value(value) : number, row->origin);
}

void config_defaults_say(const config_defaults *taken, const json_t *json)
{
    static uint32_t said;
    for (int i = 0; i < ROWS; i++) {
        if (!((taken->missing | taken->null) & ~said & 1u << i)) continue;
        said |= 1u << i;
        const json_t *value = json_object_get(json, rows[i].key);
        if (!value) value = json_object_get(json_object_get(json, "rope_parameters"), rows[i].key);
        say(&rows[i], taken->null >> i & 1, value);
    }
}
