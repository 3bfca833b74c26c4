/* Reading config.json. Four passes: which kind of model it is, then every key it has (is it known, and has it
 * a value that we can compute?), then the keys that it lacks and transformers has a default for
 * (config_defaults.h), then the keys that give the shape. */
#include "model/hf/config.h"
#include "base/file.h"
#include "base/json_text.h"
#include "model/hf/config_defaults.h"
#include "model/hf/config_keys.h"
#include "model/hf/folder_check.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CONFIG_BYTES = 16 << 20 };

/* Sizes beyond these are nonsense; they also keep every product of sizes far from overflow. */
enum {
    MAX_LAYERS = 1 << 10,
    MAX_WIDTH = 1 << 18,
    MAX_FFN = 1 << 20,
    MAX_VOCABULARY = 1 << 24,
    MAX_HEADS = 1 << 12,
    MAX_HEAD_WIDTH = 1 << 12,
    MAX_RANK = 1 << 18
};

typedef struct config_file {
    char path[PATH_BYTES];
    json_t *json;
    model_kind kind;
    bool transmla; /* an MLA model in TransMLA's layout, not a stock DeepSeek one */
    message *why;
} config_file;

/* ---- single values ------------------------------------------------------------------------------------- */

/* NULL when the key is missing or null. */
static const json_t *value_of(const config_file *f, const char *key)
{
    const json_t *value = json_object_get(f->json, key);
    return json_is_null(value) ? NULL : value;
}

/* A value as text for a message. The caller frees. */
static char *value_text(const json_t *value)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT | JSON_REAL_PRECISION(9));
    if (!text) die(ERR_DEVICE, "no memory for a value of config.json");
    if (strlen(text) > 80) memcpy(text + 77, "...", 4);
    return text;
}

/* "PATH: KEY is FOUND, EXPECTED" */
static status wrong(const config_file *f, const char *key, const json_t *value, const char *expected)
{
    char *text = value_text(value);
    fail(f->why, ERR_INPUT, "%s: %.200s is %s, %s", f->path, key, text, expected);
    free(text);
    return ERR_INPUT;
}

static status missing(const config_file *f, const char *key)
{
    return fail(f->why, ERR_INPUT, "%s: key '%s' is %s", f->path, key,
                json_object_get(f->json, key) ? "null" : "missing");
}

static status get_integer(const config_file *f, const char *key, int64_t least, int64_t most, int64_t *out)
{
    const json_t *value = value_of(f, key);
    char expected[96];
    if (!value) return missing(f, key);
    *out = json_integer_value(value);
    snprintf(expected, sizeof expected, "expected a whole number in %lld to %lld", (long long)least,
             (long long)most);
    return json_is_integer(value) && *out >= least && *out <= most ? OK : wrong(f, key, value, expected);
}

static status get_bool(const config_file *f, const char *key, bool default_value, bool *out)
{
    const json_t *value = value_of(f, key);
    *out = value ? json_is_true(value) : default_value;
    return !value || json_is_boolean(value) ? OK : wrong(f, key, value, "expected true or false");
}

/* A key of `object`, which is the file itself or one of its objects, called `name` in messages. */
static status get_number(const config_file *f, const json_t *object, const char *key, const char *name,
                         double above, double most, double *out)
{
    const json_t *value = json_object_get(object, key);
    char expected[96];
    if (!value || json_is_null(value)) return missing(f, name);
    *out = json_number_value(value);
    snprintf(expected, sizeof expected, "expected a number above %g and at most %g", above, most);
    return json_is_number(value) && *out > above && *out <= most ? OK : wrong(f, name, value, expected);
}

/* ---- which keys there may be --------------------------------------------------------------------------- */

static bool same_value(const json_t *a, const json_t *b)
{
    if (json_is_number(a) && json_is_number(b)) return json_number_value(a) == json_number_value(b);
    return json_equal(a, b);
}

static status check_only(const config_file *f, const char *key, const json_t *value, const char *only)
{
    if (json_is_null(value)) return OK;
    json_t *supported = json_loads(only, JSON_DECODE_ANY, NULL);
    REQUIRE(supported, "the value %s of key %s is not JSON", only, key);
    const bool same = same_value(value, supported);
    json_decref(supported);
    char expected[96];
    snprintf(expected, sizeof expected, "only %s is supported", only);
    return same ? OK : wrong(f, key, value, expected);
}

/* The method, as the file calls it: gptq, awq, fp8, bitsandbytes, ... */
static status check_quantisation(const config_file *f)
{
    const json_t *value = value_of(f, "quantization_config");
    const char *method = json_string_value(json_object_get(value, "quant_method"));
    if (!value) return OK;
    return fail(f->why, ERR_INPUT,
                "%s: quantization_config says that the weights are quantised (%.60s); remla reads float32, "
                "bfloat16 and float16: take the checkpoint that this one was made from",
                f->path, method ? method : "it names no quant_method");
}

static status check_keys(const config_file *f)
{
    const char *key;
    json_t *value;
    json_object_foreach(f->json, key, value)
    {
        const config_key_kind kind = config_key_kind_of(key);
        const char *only = config_key_only(key);
        if (kind == KEY_UNKNOWN)
            return fail(f->why, ERR_INPUT,
                        "%s: key '%.200s' is not one that remla knows: it may change what the model computes",
                        f->path, key);
        if (kind == KEY_LATENT && f->kind != DEEPSEEK)
            return fail(f->why, ERR_INPUT,
                        "%s: key '%s' belongs to models with latent attention, which %s is not", f->path, key,
                        json_string_value(value_of(f, "model_type")));
        if (only) TRY(check_only(f, key, value, only));
    }
    return OK;
}

/* ---- kind of model ------------------------------------------------------------------------------------- */

static status read_kind(config_file *f)
{
    static const struct {
        const char *architecture, *model_type;
        model_kind kind;
    } kinds[] = {
        {"LlamaForCausalLM", "llama", LLAMA},
        {"Qwen2ForCausalLM", "qwen2", QWEN2},
        {"MistralForCausalLM", "mistral", MISTRAL},
        {"LlamaMLAForCausalLM", "deepseek_v3", DEEPSEEK},
        {"DeepseekV3ForCausalLM", "deepseek_v3", DEEPSEEK},
    };
    const json_t *list = value_of(f, "architectures"), *type = value_of(f, "model_type");
    if (!list) return missing(f, "architectures");
    if (!type) return missing(f, "model_type");
    const char *name = json_array_size(list) == 1 ? json_string_value(json_array_get(list, 0)) : NULL;
    if (!name) return wrong(f, "architectures", list, "expected a list of one name");
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(name, kinds[i].architecture) == 0) {
            const bool transmla =
                kinds[i].kind == DEEPSEEK && json_object_get(f->json, "qk_latent_layernorm");
            const bool known = json_is_string(type) &&
                               (strcmp(json_string_value(type), kinds[i].model_type) == 0 ||
                                (transmla && strcmp(json_string_value(type), TRANSMLA_MODEL_TYPE) == 0));
            if (!known) {
                char expected[96];
                snprintf(expected, sizeof expected, "expected \"%s\" for %s", kinds[i].model_type, name);
                return wrong(f, "model_type", type, expected);
            }
            f->kind = kinds[i].kind;
            f->transmla = transmla;
            if (f->kind == DEEPSEEK && !f->transmla && strcmp(name, "DeepseekV3ForCausalLM") != 0)
                return missing(f, "qk_latent_layernorm");
            return OK;
        }
    return wrong(f, "architectures", list,
                 "supported are LlamaForCausalLM, Qwen2ForCausalLM, MistralForCausalLM, LlamaMLAForCausalLM "
                 "and DeepseekV3ForCausalLM");
}

/* ---- rotary positions ---------------------------------------------------------------------------------- */

/* rope_scaling, or rope_parameters, which has rope_theta inside. */
static status read_scaling(const config_file *f, const char *where, json_t *object, rope_settings *rope)
{
    static const char *const bend[] = {"factor", "low_freq_factor", "high_freq_factor",
                                       "original_max_position_embeddings"};
    double *const number[] = {&rope->factor, &rope->low_freq_factor, &rope->high_freq_factor,
                              &rope->original_max_position};
    char name[96];
    if (!json_is_object(object)) return wrong(f, where, object, "expected an object");
    const json_t *new_type = json_object_get(object, "rope_type"),
                 *old_type = json_object_get(object, "type");
    if (new_type && old_type && !json_equal(new_type, old_type))
        return wrong(f, where, object, "its rope_type and type differ");
    const json_t *type = new_type ? new_type : old_type;
    if (!type) {
        snprintf(name, sizeof name, "%s.rope_type", where);
        return missing(f, name);
    }
    const char *kind = json_string_value(type);
    if (!kind || (strcmp(kind, "default") != 0 && strcmp(kind, "llama3") != 0)) {
        snprintf(name, sizeof name, "%s.%s", where, new_type ? "rope_type" : "type");
        return wrong(f, name, type, "supported are \"default\" and \"llama3\"");
    }
    rope->llama3 = strcmp(kind, "llama3") == 0;
    for (int i = 0; rope->llama3 && i < 4; i++) {
        snprintf(name, sizeof name, "%s.%s", where, bend[i]);
        TRY(get_number(f, object, bend[i], name, 0, 1e9, number[i]));
    }
    if (rope->llama3 && !(rope->high_freq_factor > rope->low_freq_factor))
        return wrong(f, where, object, "its high_freq_factor must be above its low_freq_factor");

    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        bool known =
            strcmp(key, "rope_type") == 0 || strcmp(key, "type") == 0 || strcmp(key, "rope_theta") == 0;
        for (int i = 0; rope->llama3 && i < 4; i++) known = known || strcmp(key, bend[i]) == 0;
        snprintf(name, sizeof name, "%s.%.64s", where, key);
        if (strcmp(key, "partial_rotary_factor") == 0)
            TRY(check_only(f, name, value, "1.0"));
        else if (!known)
            return fail(f->why, ERR_INPUT, "%s: key '%s' is not one that remla knows for rope_type '%s'",
                        f->path, name, kind);
    }
    return OK;
}

static bool same_bend(const rope_settings *a, const rope_settings *b)
{
    if (a->llama3 != b->llama3) return false;
    return !a->llama3 || (a->factor == b->factor && a->low_freq_factor == b->low_freq_factor &&
                          a->high_freq_factor == b->high_freq_factor &&
                          a->original_max_position == b->original_max_position);
}

/* transformers 4 writes rope_theta and rope_scaling, transformers 5 rope_parameters. Where both are there
 * they must agree. */
static status read_rope(const config_file *f, rope_settings *rope)
{
    const double most = 1e15;
    const json_t *theta = value_of(f, "rope_theta");
    json_t *scaling = json_object_get(f->json, "rope_scaling"),
           *parameters = json_object_get(f->json, "rope_parameters");
    if (theta) TRY(get_number(f, f->json, "rope_theta", "rope_theta", 1, most, &rope->theta));
    if (scaling && !json_is_null(scaling)) TRY(read_scaling(f, "rope_scaling", scaling, rope));
    if (!parameters || json_is_null(parameters)) return theta ? OK : missing(f, "rope_theta");

    rope_settings newer = {0};
    TRY(read_scaling(f, "rope_parameters", parameters, &newer));
    const json_t *inner = json_object_get(parameters, "rope_theta");
    if (inner || !theta)
        TRY(get_number(f, parameters, "rope_theta", "rope_parameters.rope_theta", 1, most, &newer.theta));
    if (inner && theta && newer.theta != rope->theta)
        return fail(f->why, ERR_INPUT, "%s: rope_theta is %g, but rope_parameters.rope_theta is %g", f->path,
                    rope->theta, newer.theta);
    if (scaling && !json_is_null(scaling) && !same_bend(rope, &newer))
        return wrong(f, "rope_scaling", scaling, "but rope_parameters says otherwise");
    if (!inner) newer.theta = rope->theta;
    *rope = newer;
    return OK;
}

/* ---- shape --------------------------------------------------------------------------------------------- */

static status read_window(const config_file *f, dims *d)
{
    const json_t *value = value_of(f, "sliding_window");
    bool used;
    /* Qwen2 has a size that it does not use unless told; the others use it when it is there. */
    TRY(get_bool(f, "use_sliding_window", f->kind != QWEN2, &used));
    if (value) {
        TRY(get_integer(f, "sliding_window", 1, INT32_MAX, &d->window));
        if (!used) d->window = 0;
    }
    const json_t *types = value_of(f, "layer_types");
    if (!types) return OK;
    if ((int64_t)json_array_size(types) != d->L)
        return wrong(f, "layer_types", types, "expected a list with one name for each layer");
    for (size_t i = 0; i < json_array_size(types); i++) {
        const char *type = json_string_value(json_array_get(types, i));
        if (!type ||
            (strcmp(type, "full_attention") != 0 && !(d->window && strcmp(type, "sliding_attention") == 0)))
            return wrong(f, "layer_types", types,
                         "only \"full_attention\" is supported, and \"sliding_attention\" where "
                         "sliding_window is used");
    }
    return OK;
}

/* Present in every file: a default of the class would be a guess about the shape. */
static status check_key_value_heads(const config_file *f)
{
    if (value_of(f, "num_key_value_heads")) return OK;
    const char *type = json_string_value(value_of(f, "model_type"));
    return fail(f->why, ERR_INPUT,
                "%s: key 'num_key_value_heads' is missing; transformers would take %d for any %s model: add "
                "the model's own number to the file",
                f->path, config_default_key_value_heads(f->kind), type);
}

static status read_gqa(const config_file *f, dims *d)
{
    bool bias;
    TRY(check_key_value_heads(f));
    TRY(get_integer(f, "num_key_value_heads", 1, d->H, &d->G));
    if (d->H % d->G)
        return fail(f->why, ERR_INPUT,
                    "%s: num_attention_heads %lld is not a multiple of num_key_value_heads %lld", f->path,
                    (long long)d->H, (long long)d->G);
    if (value_of(f, "head_dim")) {
        TRY(get_integer(f, "head_dim", 2, MAX_HEAD_WIDTH, &d->D));
    } else {
        if (d->C % d->H)
            return fail(
                f->why, ERR_INPUT,
                "%s: head_dim is missing, and hidden_size %lld is not a multiple of num_attention_heads %lld",
                f->path, (long long)d->C, (long long)d->H);
        d->D = d->C / d->H;
    }
    if (d->D % 2)
        return fail(f->why, ERR_INPUT, "%s: head_dim is %lld, rotary positions need an even number", f->path,
                    (long long)d->D);
    TRY(get_bool(f, "attention_bias", f->kind == QWEN2, &bias));
    if (f->kind == LLAMA && bias)
        return wrong(f, "attention_bias", value_of(f, "attention_bias"),
                     "which gives o_proj a bias too: not supported");
    if (f->kind == MISTRAL && bias)
        return wrong(f, "attention_bias", value_of(f, "attention_bias"), "but Mistral models have no biases");
    if (f->kind == QWEN2 && !bias)
        return wrong(f, "attention_bias", value_of(f, "attention_bias"), "but Qwen2 models have biases");
    d->q_bias = d->k_bias = d->v_bias = bias;
    return OK;
}

/* Every layer has a dense MLP. TransMLA's own code knows no experts unless it is told of them. */
static status check_dense(const config_file *f, const dims *d)
{
    const json_t *experts = value_of(f, "n_routed_experts");
    int64_t dense;
    if (!value_of(f, "first_k_dense_replace") && f->transmla && !(json_number_value(experts) > 0)) return OK;
    TRY(get_integer(f, "first_k_dense_replace", 0, INT32_MAX, &dense));
    if (dense < d->L)
        return fail(f->why, ERR_INPUT,
                    "%s: first_k_dense_replace is %lld, so layers from there on have experts: only models "
                    "whose %lld layers are all dense are supported",
                    f->path, (long long)dense, (long long)d->L);
    return OK;
}

static status read_mla(const config_file *f, dims *d)
{
    int64_t number;
    bool bias;
    TRY(get_integer(f, "kv_lora_rank", 1, MAX_RANK, &d->R));
    if (!json_object_get(f->json, "q_lora_rank"))
        return missing(f, "q_lora_rank"); /* null is a value here: queries are not factored */
    if (value_of(f, "q_lora_rank")) TRY(get_integer(f, "q_lora_rank", 1, MAX_RANK, &d->Rq));
    TRY(get_integer(f, "qk_nope_head_dim", 1, MAX_HEAD_WIDTH, &d->Dn));
    TRY(get_integer(f, "qk_rope_head_dim", 2, MAX_HEAD_WIDTH, &d->Dr));
    TRY(get_integer(f, "v_head_dim", 1, MAX_HEAD_WIDTH, &d->Dv));
    if (d->Dr % 2)
        return fail(f->why, ERR_INPUT, "%s: qk_rope_head_dim is %lld, rotary positions need an even number",
                    f->path, (long long)d->Dr);
    if (value_of(f, "head_dim")) TRY(get_integer(f, "head_dim", d->Dr, d->Dr, &number));
    if (value_of(f, "qk_head_dim")) TRY(get_integer(f, "qk_head_dim", d->Dn + d->Dr, d->Dn + d->Dr, &number));
    TRY(check_key_value_heads(f));
    TRY(get_integer(f, "num_key_value_heads", d->H, d->H, &number));
    TRY(check_dense(f, d));

    if (f->transmla && !value_of(f, "attention_bias")) return missing(f, "attention_bias");
    if (f->transmla && !value_of(f, "qk_latent_layernorm")) return missing(f, "qk_latent_layernorm");
    TRY(get_bool(f, "attention_bias", false, &bias));
    d->k_bias = bias;
    d->q_bias = bias && f->transmla;
    d->o_bias = bias && !f->transmla;
    d->q_a_bias = d->o_bias && d->Rq;
    return get_bool(f, "qk_latent_layernorm", true, &d->latent_norm);
}

static status read_shape(const config_file *f, dims *d)
{
    d->kind = f->kind == DEEPSEEK ? ATTENTION_MLA : ATTENTION_GQA;
    TRY(get_integer(f, "num_hidden_layers", 1, MAX_LAYERS, &d->L));
    TRY(get_integer(f, "vocab_size", 1, MAX_VOCABULARY, &d->V));
    TRY(get_integer(f, "hidden_size", 1, MAX_WIDTH, &d->C));
    TRY(get_integer(f, "intermediate_size", 1, MAX_FFN, &d->F));
    TRY(get_integer(f, "num_attention_heads", 1, MAX_HEADS, &d->H));
    if (!value_of(f, "hidden_act")) return missing(f, "hidden_act");
    TRY(get_number(f, f->json, "rms_norm_eps", "rms_norm_eps", 0, 1, &d->norm_eps));
    TRY(get_bool(f, "tie_word_embeddings", false, &d->tied));
    TRY(read_rope(f, &d->rope));
    TRY(read_window(f, d));
    return f->kind == DEEPSEEK ? read_mla(f, d) : read_gqa(f, d);
}

/* ---- the rest ------------------------------------------------------------------------------------------ */

static status read_storage(const config_file *f, dtype *out)
{
    static const struct {
        const char *text;
        dtype type;
    } types[] = {{"float32", F32}, {"bfloat16", BF16}, {"float16", F16}};
    const json_t *old_key = value_of(f, "torch_dtype"), *new_key = value_of(f, "dtype");
    if (old_key && new_key && !json_equal(old_key, new_key))
        return wrong(f, "torch_dtype", old_key, "but dtype says otherwise");
    const json_t *value = new_key ? new_key : old_key;
    if (!value) return missing(f, "torch_dtype");
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
        if (json_is_string(value) && strcmp(json_string_value(value), types[i].text) == 0) {
            *out = types[i].type;
            return OK;
        }
    return wrong(f, new_key ? "dtype" : "torch_dtype", value,
                 "supported are \"float32\", \"bfloat16\" and \"float16\"");
}

static status read_eos(const config_file *f, int64_t *out)
{
    const json_t *value = value_of(f, "eos_token_id");
    const json_t *first = json_is_array(value) ? json_array_get(value, 0) : value;
    *out = first ? json_integer_value(first) : -1;
    return !first || (json_is_integer(first) && *out >= 0)
               ? OK
               : wrong(f, "eos_token_id", value, "expected a token id or a list of token ids");
}

static status config_parse(model_config *c, config_file *f, const char *folder)
{
    config_defaults taken;
    TRY(read_kind(f));
    TRY(check_quantisation(f));
    TRY(check_keys(f));
    TRY(config_defaults_take(&taken, f->json, f->kind, folder, f->path, f->why));
    TRY(read_shape(f, &c->d));
    c->layout = f->transmla ? LAYOUT_TRANSMLA : LAYOUT_DEEPSEEK;
    TRY(read_storage(f, &c->storage));
    TRY(read_eos(f, &c->eos));
    config_defaults_say(&taken, f->json);
    return OK;
}

status config_read(model_config *c, const char *folder, message *why)
{
    config_file f = {.why = why};
    char *text;
    int64_t bytes;
    *c = (model_config){0};
    TRY(model_folder_check(folder, why));
    path_join(f.path, folder, "config.json");
    TRY(file_read_text(f.path, MAX_CONFIG_BYTES, &text, &bytes, why));
    status s = json_text_parse(&f.json, text, bytes, f.path, why);
    free(text);
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
