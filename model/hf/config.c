/* Reading config.json. Four passes: which kind of model it is, then every key it has (is it known, and has it
 * a value that we can compute?), then the keys that it lacks and transformers has a default for
 * (config_defaults.h), then the keys that give the shape. */
#include "model/hf/config.h"
#include "base/file.h"
#include "base/json_text.h"
#include "model/hf/config_defaults.h"
#include "model/hf/config_file.h"
#include "model/hf/config_keys.h"
#include "model/hf/config_rope.h"
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

/* ---- which keys there may be --------------------------------------------------------------------------- */

/* The method, as the file calls it: gptq, awq, fp8, bitsandbytes, ... */
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
                        json_string_value(config_get(f, "model_type")));
        if (only) TRY(config_check_only(f, key, value, only));
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
    const json_t *list = config_get(f, "architectures"), *type = config_get(f, "model_type");
    if (!list) return config_missing(f, "architectures");
    if (!type) return config_missing(f, "model_type");
    const char *name = json_array_size(list) == 1 ? json_string_value(json_array_get(list, 0)) : NULL;
    if (!name) return config_wrong(f, "architectures", list, "expected a list of one name");
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
                return config_wrong(f, "model_type", type, expected);
            }
            f->kind = kinds[i].kind;
            f->transmla = transmla;
            if (f->kind == DEEPSEEK && !f->transmla && strcmp(name, "DeepseekV3ForCausalLM") != 0)
                return config_missing(f, "qk_latent_layernorm");
            return OK;
        }
    return config_wrong(
        f, "architectures", list,
        "supported are LlamaForCausalLM, Qwen2ForCausalLM, MistralForCausalLM, LlamaMLAForCausalLM "
        "and DeepseekV3ForCausalLM");
}

/* ---- shape --------------------------------------------------------------------------------------------- */

static status read_window(const config_file *f, dims *d)
{
    const json_t *value = config_get(f, "sliding_window");
    bool used;
    /* Qwen2 has a size that it does not use unless told; the others use it when it is there. */
    TRY(config_get_bool(f, "use_sliding_window", f->kind != QWEN2, &used));
    if (value) {
        TRY(config_get_integer(f, "sliding_window", 1, INT32_MAX, &d->window));
        if (!used) d->window = 0;
    }
    const json_t *types = config_get(f, "layer_types");
    if (!types) return OK;
    if ((int64_t)json_array_size(types) != d->L)
        return config_wrong(f, "layer_types", types, "expected a list with one name for each layer");
    for (size_t i = 0; i < json_array_size(types); i++) {
        const char *type = json_string_value(json_array_get(types, i));
        if (!type ||
            (strcmp(type, "full_attention") != 0 && !(d->window && strcmp(type, "sliding_attention") == 0)))
            return config_wrong(f, "layer_types", types,
                                "only \"full_attention\" is supported, and \"sliding_attention\" where "
                                "sliding_window is used");
    }
    return OK;
}

/* Present in every file: a default of the class would be a guess about the shape. */
static status check_key_value_heads(const config_file *f)
{
    if (config_get(f, "num_key_value_heads")) return OK;
    const char *type = json_string_value(config_get(f, "model_type"));
    return fail(f->why, ERR_INPUT,
                "%s: key 'num_key_value_heads' is missing; transformers would take %d for any %s model: add "
                "the model's own number to the file",
                f->path, config_default_key_value_heads(f->kind), type);
}

static status read_gqa(const config_file *f, dims *d)
{
    bool bias;
    TRY(check_key_value_heads(f));
    TRY(config_get_integer(f, "num_key_value_heads", 1, d->H, &d->G));
    if (d->H % d->G)
        return fail(f->why, ERR_INPUT,
                    "%s: num_attention_heads %lld is not a multiple of num_key_value_heads %lld", f->path,
                    (long long)d->H, (long long)d->G);
    if (config_get(f, "head_dim")) {
        TRY(config_get_integer(f, "head_dim", 2, MAX_HEAD_WIDTH, &d->D));
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
    TRY(config_get_bool(f, "attention_bias", f->kind == QWEN2, &bias));
    if (f->kind == LLAMA && bias)
        return config_wrong(f, "attention_bias", config_get(f, "attention_bias"),
                            "which gives o_proj a bias too: not supported");
    if (f->kind == MISTRAL && bias)
        return config_wrong(f, "attention_bias", config_get(f, "attention_bias"),
                            "but Mistral models have no biases");
    if (f->kind == QWEN2 && !bias)
        return config_wrong(f, "attention_bias", config_get(f, "attention_bias"),
                            "but Qwen2 models have biases");
    d->q_bias = d->k_bias = d->v_bias = bias;
    return OK;
}

/* Every layer has a dense MLP. TransMLA's own code knows no experts unless it is told of them. */
static status check_dense(const config_file *f, const dims *d)
{
    const json_t *experts = config_get(f, "n_routed_experts");
    int64_t dense;
    if (!config_get(f, "first_k_dense_replace") && f->transmla && !(json_number_value(experts) > 0))
        return OK;
    TRY(config_get_integer(f, "first_k_dense_replace", 0, INT32_MAX, &dense));
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
    TRY(config_get_integer(f, "kv_lora_rank", 1, MAX_RANK, &d->R));
    if (!json_object_get(f->json, "q_lora_rank"))
        return config_missing(f, "q_lora_rank"); /* null is a value here: queries are not factored */
    if (config_get(f, "q_lora_rank")) TRY(config_get_integer(f, "q_lora_rank", 1, MAX_RANK, &d->Rq));
    TRY(config_get_integer(f, "qk_nope_head_dim", 1, MAX_HEAD_WIDTH, &d->Dn));
    TRY(config_get_integer(f, "qk_rope_head_dim", 2, MAX_HEAD_WIDTH, &d->Dr));
    TRY(config_get_integer(f, "v_head_dim", 1, MAX_HEAD_WIDTH, &d->Dv));
    if (d->Dr % 2)
        return fail(f->why, ERR_INPUT, "%s: qk_rope_head_dim is %lld, rotary positions need an even number",
                    f->path, (long long)d->Dr);
    if (config_get(f, "head_dim")) TRY(config_get_integer(f, "head_dim", d->Dr, d->Dr, &number));
    if (config_get(f, "qk_head_dim"))
        TRY(config_get_integer(f, "qk_head_dim", d->Dn + d->Dr, d->Dn + d->Dr, &number));
    TRY(check_key_value_heads(f));
    TRY(config_get_integer(f, "num_key_value_heads", d->H, d->H, &number));
    TRY(check_dense(f, d));

    if (f->transmla && !config_get(f, "attention_bias")) return config_missing(f, "attention_bias");
    if (f->transmla && !config_get(f, "qk_latent_layernorm")) return config_missing(f, "qk_latent_layernorm");
    TRY(config_get_bool(f, "attention_bias", false, &bias));
    d->k_bias = bias;
    d->q_bias = bias && f->transmla;
    d->o_bias = bias && !f->transmla;
    d->q_a_bias = d->o_bias && d->Rq;
    return config_get_bool(f, "qk_latent_layernorm", true, &d->latent_norm);
}

static status read_shape(const config_file *f, dims *d)
{
    d->kind = f->kind == DEEPSEEK ? ATTENTION_MLA : ATTENTION_GQA;
    TRY(config_get_integer(f, "num_hidden_layers", 1, MAX_LAYERS, &d->L));
    TRY(config_get_integer(f, "vocab_size", 1, MAX_VOCABULARY, &d->V));
    TRY(config_get_integer(f, "hidden_size", 1, MAX_WIDTH, &d->C));
    TRY(config_get_integer(f, "intermediate_size", 1, MAX_FFN, &d->F));
    TRY(config_get_integer(f, "num_attention_heads", 1, MAX_HEADS, &d->H));
    if (!config_get(f, "hidden_act")) return config_missing(f, "hidden_act");
    TRY(config_get_number(f, f->json, "rms_norm_eps", "rms_norm_eps", 0, 1, &d->norm_eps));
    TRY(config_get_bool(f, "tie_word_embeddings", false, &d->tied));
    TRY(config_rope_read(f, &d->rope));
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
