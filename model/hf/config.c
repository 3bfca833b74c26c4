/* Reads config.json in four passes:
 *
 *     1  find the family (family.h), by architecture and marks
 *     2  check every key of the file: it must be known, and have a supported value
 *     3  add transformers' defaults for missing keys (config_defaults.h)
 *     4  read the shape: keys of every model here, the family's own in its file
 *
 * The second pass makes an unknown feature an error instead of a wrong model. */
#include "model/hf/config.h"
#include "base/file.h"
#include "base/json_text.h"
#include "model/hf/config_defaults.h"
#include "model/hf/config_file.h"
#include "model/hf/config_keys.h"
#include "model/hf/config_rope.h"
#include "model/hf/family.h"
#include "model/hf/folder_check.h"
#include <jansson.h>
#include <string.h>

enum { MAX_CONFIG_BYTES = 16 << 20 };

/* Sizes beyond these are nonsense; they also keep every product of sizes far from overflow. */
enum {
    MAX_LAYERS = 1 << 10,
    MAX_WIDTH = 1 << 18,
    MAX_FFN = 1 << 20,
    MAX_VOCABULARY = 1 << 24,
    MAX_HEADS = 1 << 12
};

/* ---- which keys there may be --------------------------------------------------------------------------- */

/* Refuses quantised weights, naming the method as the file does: gptq, awq, fp8, bitsandbytes, ... */
static status check_quantisation(const config_file *f)
{
    const json_t *value = config_get(f, "quantization_config");
    const char *method = json_string_value(json_object_get(value, "quant_method"));
    if (!value) return OK;
    return fail(f->why, ERR_INPUT,
                "%s: quantization_config says that the weights are quantised (%.60s); remla reads float32, "
                "bfloat16 and float16: take the checkpoint that this one was made from",
                f->path, method ? method : "it names no quant_method");
}

static status unknown_key(const config_file *f, const char *key)
{
    if (f->family->attention != ATTENTION_MLA && family_latent_key(key))
        return fail(f->why, ERR_INPUT,
                    "%s: key '%s' belongs to models with latent attention, which %s is not", f->path, key,
                    json_string_value(config_get(f, "model_type")));
    return fail(f->why, ERR_INPUT,
                "%s: key '%.200s' is not one that remla knows: it may change what the model computes",
                f->path, key);
}

static status check_keys(const config_file *f)
{
    const char *key;
    json_t *value;
    json_object_foreach(f->json, key, value)
    {
        const char *only = config_key_only(f->family, key);
        if (!config_key_known(f->family, key)) return unknown_key(f, key);
        if (only) TRY(config_check_only(f, key, value, only));
    }
    return OK;
}

/* ---- family -------------------------------------------------------------------------------------------- */

static status read_family(config_file *f)
{
    const json_t *list = config_get(f, "architectures"), *type = config_get(f, "model_type");
    char expected[512], supported[480];
    if (!list) return config_missing(f, "architectures");
    if (!type) return config_missing(f, "model_type");
    const char *name = json_array_size(list) == 1 ? json_string_value(json_array_get(list, 0)) : NULL;
    if (!name) return config_wrong(f, "architectures", list, "expected a list of one name");
    const family *m = family_of(name, f->json);
    if (!m) {
        family_list(supported, sizeof supported);
        snprintf(expected, sizeof expected, "supported are %s", supported);
        return config_wrong(f, "architectures", list, expected);
    }
    const bool marked = family_is_marked(m, f->json);
    const bool known =
        json_is_string(type) &&
        (strcmp(json_string_value(type), m->model_type) == 0 ||
         (marked && m->own_model_type && strcmp(json_string_value(type), m->own_model_type) == 0));
    if (!known) {
        snprintf(expected, sizeof expected, "expected \"%s\" for %s", m->model_type, name);
        return config_wrong(f, "model_type", type, expected);
    }
    f->family = m;
    return m->mark && !marked ? config_missing(f, m->mark) : OK;
}

/* ---- shape --------------------------------------------------------------------------------------------- */

static status read_shape(const config_file *f, dims *d)
{
    d->kind = f->family->attention;
    TRY(config_get_integer(f, "num_hidden_layers", 1, MAX_LAYERS, &d->L));
    TRY(config_get_integer(f, "vocab_size", 1, MAX_VOCABULARY, &d->V));
    TRY(config_get_integer(f, "hidden_size", 1, MAX_WIDTH, &d->C));
    TRY(config_get_integer(f, "intermediate_size", 1, MAX_FFN, &d->F));
    TRY(config_get_integer(f, "num_attention_heads", 1, MAX_HEADS, &d->H));
    if (!config_get(f, "hidden_act")) return config_missing(f, "hidden_act");
    TRY(config_get_number(f, f->json, "rms_norm_eps", "rms_norm_eps", 0, 1, &d->norm_eps));
    TRY(config_get_bool(f, "tie_word_embeddings", false, &d->tied));
    TRY(config_rope_read(f, &d->rope));
    return f->family->read(f, d);
}

/* ---- the rest ------------------------------------------------------------------------------------------ */

static status read_storage(const config_file *f, dtype *out)
{
    static const struct {
        const char *text;
        dtype type;
    } types[] = {{"float32", F32}, {"bfloat16", BF16}, {"float16", F16}};
    const json_t *old_key = config_get(f, "torch_dtype"), *new_key = config_get(f, "dtype");
    if (old_key && new_key && !json_equal(old_key, new_key))
        return config_wrong(f, "torch_dtype", old_key, "but dtype says otherwise");
    const json_t *value = new_key ? new_key : old_key;
    if (!value) return config_missing(f, "torch_dtype");
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (json_is_string(value) && strcmp(json_string_value(value), types[i].text) == 0) {
            *out = types[i].type;
            return OK;
        }
    return config_wrong(f, new_key ? "dtype" : "torch_dtype", value,
                        "supported are \"float32\", \"bfloat16\" and \"float16\"");
}

static status read_eos(const config_file *f, int64_t *out)
{
    const json_t *value = config_get(f, "eos_token_id");
    const json_t *first = json_is_array(value) ? json_array_get(value, 0) : value;
    *out = first ? json_integer_value(first) : -1;
    return !first || (json_is_integer(first) && *out >= 0)
               ? OK
               : config_wrong(f, "eos_token_id", value, "expected a token id or a list of token ids");
}

static status config_parse(model_config *c, config_file *f, const char *folder)
{
    config_defaults taken;
    TRY(read_family(f));
    TRY(check_quantisation(f));
    TRY(check_keys(f));
    TRY(config_defaults_take(&taken, f, folder));
    TRY(read_shape(f, &c->d));
    c->layout = f->family->layout;
    TRY(read_storage(f, &c->storage));
    TRY(read_eos(f, &c->eos));
    c->positions = json_integer_value(config_get(f, "max_position_embeddings"));
    config_defaults_say(&taken, f);
    return OK;
}

status config_read(model_config *c, const char *folder, message *why)
{
    config_file f = {.why = why};
    *c = (model_config){0};
    TRY(model_folder_check(folder, why));
    path_join(f.path, folder, "config.json");
    status s = json_text_read(&f.json, f.path, MAX_CONFIG_BYTES, why);
    c->json = f.json;
    if (s == OK) s = config_parse(c, &f, folder);
    if (s != OK) config_free(c);
    return s;
}

void config_free(model_config *c)
{
    json_decref(c->json);
    *c = (model_config){0};
}
