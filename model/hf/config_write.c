/* Writing config.json for the models that remla makes. */
#include "model/hf/config.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static void set(json_t *json, const char *key, json_t *value)
{
    if (json_object_set_new(json, key, value) != 0)
        die(ERR_DEVICE, "no memory for key %s of config.json", key);
}

static void set_integer(json_t *json, const char *key, int64_t value) { set(json, key, json_integer(value)); }
static void set_bool(json_t *json, const char *key, bool value) { set(json, key, json_boolean(value)); }
static void set_string(json_t *json, const char *key, const char *value)
{
    set(json, key, json_string(value));
}

static void set_storage(json_t *json, const char *key, dtype storage)
{
    REQUIRE(storage == F32 || storage == F16 || storage == BF16, "%s is no type of weight files",
            dtype_name(storage));
    set_string(json, key, storage == F32 ? "float32" : storage == F16 ? "float16" : "bfloat16");
}

/* Numbers with 15 digits look as a person wrote them (0.02); where that would change one, all of them get
 * 17. */
static char *config_text(const json_t *json)
{
    const size_t layout = JSON_INDENT(2);
    char *text = json_dumps(json, layout | JSON_REAL_PRECISION(15));
    json_t *again = text ? json_loads(text, 0, NULL) : NULL;
    const bool same = again && json_equal(json, again);
    json_decref(again);
    if (!same) {
        free(text);
        text = json_dumps(json, layout | JSON_REAL_PRECISION(17));
    }
    char *line = text ? realloc(text, strlen(text) + 2) : NULL;
    if (!line) die(ERR_DEVICE, "no memory for config.json");
    return strcat(line, "\n");
}

static void set_shape(json_t *json, const dims *d)
{
    set_integer(json, "num_key_value_heads", d->H);
    set_integer(json, "head_dim",
                d->Dr); /* so transformers computes the rotary frequencies of the shared rotary part */
    set_bool(json, "attention_bias", d->k_bias);
    set_integer(json, "qk_rope_head_dim", d->Dr);
    set_integer(json, "qk_nope_head_dim", d->Dn);
    set_integer(json, "v_head_dim", d->Dv);
    set(json, "q_lora_rank", d->Rq ? json_integer(d->Rq) : json_null());
    set_integer(json, "kv_lora_rank", d->R);
}

/* An object for rope_scaling (null where frequencies are not bent) or rope_parameters. */
static json_t *rope_object(const rope_settings *r)
{
    json_t *rope = json_object();
    set_string(rope, "rope_type", r->llama3 ? "llama3" : "default");
    if (r->llama3) {
        set(rope, "factor", json_real(r->factor));
        set(rope, "low_freq_factor", json_real(r->low_freq_factor));
        set(rope, "high_freq_factor", json_real(r->high_freq_factor));
        set_integer(rope, "original_max_position_embeddings", (int64_t)r->original_max_position);
    }
    return rope;
}

static void set_rope(json_t *json, const rope_settings *r)
{
    set(json, "rope_theta", json_real(r->theta));
    set(json, "rope_scaling", r->llama3 ? rope_object(r) : json_null());
}

/* What TransMLA's converter does: the source's keys stay, those of latent attention are added. */
static json_t *transmla(const model_config *source, const dims *d, dtype storage)
{
    json_t *json = json_deep_copy(source->json);
    if (!json) die(ERR_DEVICE, "no memory for config.json");
    set(json, "architectures", json_pack("[s]", "LlamaMLAForCausalLM"));
    set_string(json, "model_type", TRANSMLA_MODEL_TYPE);
    set(json, "auto_map",
        json_pack("{s:s, s:s, s:s}", "AutoConfig", "configuration_llamamla.LlamaMLAConfig", "AutoModel",
                  "modeling_llamamla.LlamaMLAModel", "AutoModelForCausalLM",
                  "modeling_llamamla.LlamaMLAForCausalLM"));
    set_shape(json, d);
    set_bool(json, "qk_latent_layernorm", d->latent_norm);
    set_storage(json, "torch_dtype", storage);
    if (json_object_get(json, "dtype")) set_storage(json, "dtype", storage);
    /* A source by transformers 5 has rope_parameters only, which TransMLA's code does not read. */
    const json_t *theta = json_object_get(json, "rope_theta");
    if (!theta || json_is_null(theta)) set_rope(json, &d->rope);
    return json;
}

/* A stock dense DeepSeek-V3 model. Keys whose default in transformers would mean another model are all
 * written: it would make experts from the fourth layer on. */
static json_t *deepseek(const model_config *source, const dims *d, dtype storage)
{
    static const char *const copied[] = {
        "max_position_embeddings", "initializer_range", "rms_norm_eps",
        "attention_dropout",       "use_cache",         "transformers_version"};
    static const char *const tokens[] = {"bos_token_id", "eos_token_id", "pad_token_id"};
    json_t *json = json_object();
    set(json, "architectures", json_pack("[s]", "DeepseekV3ForCausalLM"));
    set_string(json, "model_type", "deepseek_v3");
    set_integer(json, "vocab_size", d->V);
    set_integer(json, "hidden_size", d->C);
    set_integer(json, "intermediate_size", d->F);
    set_integer(json, "num_hidden_layers", d->L);
    set_integer(json, "num_attention_heads", d->H);
    set_shape(json, d);
    set_string(json, "hidden_act", "silu");
    for (size_t i = 0; i < sizeof copied / sizeof copied[0]; i++) {
        json_t *value = json_object_get(source->json, copied[i]);
        if (value) json_object_set(json, copied[i], value);
    }
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0];
         i++) { /* absent ones would become DeepSeek's own */
        json_t *value = json_object_get(source->json, tokens[i]);
        set(json, tokens[i], value ? json_incref(value) : json_null());
    }
    set_bool(json, "tie_word_embeddings", d->tied);
    set_rope(json, &d->rope);
    json_t *parameters = rope_object(&d->rope);
    set(parameters, "rope_theta", json_real(d->rope.theta));
    set(json, "rope_parameters", parameters);
    set_bool(json, "rope_interleave", true);

    set_integer(json, "first_k_dense_replace", d->L);
    set_integer(json, "moe_layer_freq", 1);
    set_integer(json, "n_routed_experts", 0); /* not null: vLLM adds to it */
    set_integer(json, "n_shared_experts", 0);
    set_integer(json, "num_experts_per_tok", 0);
    set_integer(json, "moe_intermediate_size", d->F);
    set_integer(json, "n_group", 1);
    set_integer(json, "topk_group", 1);
    set_string(json, "topk_method", "noaux_tc");
    set_string(json, "scoring_func", "sigmoid");
    set_bool(json, "norm_topk_prob", true);
    set(json, "routed_scaling_factor", json_real(1.0));
    set_integer(json, "num_nextn_predict_layers", 0);
    set_storage(json, "torch_dtype", storage);
    return json;
}

char *config_converted(const model_config *source, const dims *d, config_layout layout, dtype storage)
{
    REQUIRE(source->d.kind == ATTENTION_GQA && d->kind == ATTENTION_MLA,
            "only a GQA model is converted, and only to an MLA model");
    REQUIRE(layout != LAYOUT_DEEPSEEK || (d->latent_norm && !d->q_bias && d->k_bias == d->o_bias && !d->tied),
            "a stock DeepSeek model has latent norms, a head of its own, and biases in its own places");
    json_t *json = layout == LAYOUT_DEEPSEEK ? deepseek(source, d, storage) : transmla(source, d, storage);
    char *text = config_text(json);
    json_decref(json);
    return text;
}

char *config_with_storage(const model_config *c, dtype storage)
{
    static const char *const keys[] = {"torch_dtype", "dtype"};
    json_t *json = json_deep_copy(c->json);
    if (!json) die(ERR_DEVICE, "no memory for config.json");
    if (c->d.kind == ATTENTION_MLA && c->layout == LAYOUT_TRANSMLA)
        set_string(json, "model_type", TRANSMLA_MODEL_TYPE);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (json_object_get(json, keys[i])) set_storage(json, keys[i], storage);
    char *text = config_text(json);
    json_decref(json);
    return text;
}
