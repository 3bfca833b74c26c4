/* Writing config.json for the models that remla makes. */
#include "model/hf/config.h"
#include "model/hf/config_put.h"
#include "model/hf/config_rope.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

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
    config_put_integer(json, "num_key_value_heads", d->H);
    config_put_integer(json, "head_dim",
                       d->Dr); /* so transformers computes the rotary frequencies of the shared rotary part */
    config_put_bool(json, "attention_bias", d->k_bias);
    config_put_integer(json, "qk_rope_head_dim", d->Dr);
    config_put_integer(json, "qk_nope_head_dim", d->Dn);
    config_put_integer(json, "v_head_dim", d->Dv);
    config_put(json, "q_lora_rank", d->Rq ? json_integer(d->Rq) : json_null());
    config_put_integer(json, "kv_lora_rank", d->R);
}

/* What TransMLA's converter does: the source's keys stay, those of latent attention are added. */
static json_t *transmla(const model_config *source, const dims *d, dtype storage)
{
    json_t *json = json_deep_copy(source->json);
    if (!json) die(ERR_DEVICE, "no memory for config.json");
    config_put(json, "architectures", json_pack("[s]", "LlamaMLAForCausalLM"));
    config_put_string(json, "model_type", TRANSMLA_MODEL_TYPE);
    config_put(json, "auto_map",
               json_pack("{s:s, s:s, s:s}", "AutoConfig", "configuration_llamamla.LlamaMLAConfig",
                         "AutoModel", "modeling_llamamla.LlamaMLAModel", "AutoModelForCausalLM",
                         "modeling_llamamla.LlamaMLAForCausalLM"));
    set_shape(json, d);
    config_put_bool(json, "qk_latent_layernorm", d->latent_norm);
    config_put_storage(json, "torch_dtype", storage);
    if (json_object_get(json, "dtype")) config_put_storage(json, "dtype", storage);
    /* A source by transformers 5 has rope_parameters only, which TransMLA's code does not read. */
    const json_t *theta = json_object_get(json, "rope_theta");
    if (!theta || json_is_null(theta)) config_rope_put(json, &d->rope);
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
    config_put(json, "architectures", json_pack("[s]", "DeepseekV3ForCausalLM"));
    config_put_string(json, "model_type", "deepseek_v3");
    config_put_integer(json, "vocab_size", d->V);
    config_put_integer(json, "hidden_size", d->C);
    config_put_integer(json, "intermediate_size", d->F);
    config_put_integer(json, "num_hidden_layers", d->L);
    config_put_integer(json, "num_attention_heads", d->H);
    set_shape(json, d);
    config_put_string(json, "hidden_act", "silu");
    for (size_t i = 0; i < sizeof copied / sizeof copied[0]; i++) {
        json_t *value = json_object_get(source->json, copied[i]);
        if (value) json_object_set(json, copied[i], value);
    }
    for (size_t i = 0; i < sizeof tokens / sizeof tokens[0];
         i++) { /* absent ones would become DeepSeek's own */
        json_t *value = json_object_get(source->json, tokens[i]);
        config_put(json, tokens[i], value ? json_incref(value) : json_null());
    }
    config_put_bool(json, "tie_word_embeddings", d->tied);
    config_rope_put(json, &d->rope);
    config_rope_put_parameters(json, &d->rope);
    config_put_bool(json, "rope_interleave", true);

    config_put_integer(json, "first_k_dense_replace", d->L);
    config_put_integer(json, "moe_layer_freq", 1);
    config_put_integer(json, "n_routed_experts", 0); /* not null: vLLM adds to it */
    config_put_integer(json, "n_shared_experts", 0);
    config_put_integer(json, "num_experts_per_tok", 0);
    config_put_integer(json, "moe_intermediate_size", d->F);
    config_put_integer(json, "n_group", 1);
    config_put_integer(json, "topk_group", 1);
    config_put_string(json, "topk_method", "noaux_tc");
    config_put_string(json, "scoring_func", "sigmoid");
    config_put_bool(json, "norm_topk_prob", true);
    config_put(json, "routed_scaling_factor", json_real(1.0));
    config_put_integer(json, "num_nextn_predict_layers", 0);
    config_put_storage(json, "torch_dtype", storage);
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
        config_put_string(json, "model_type", TRANSMLA_MODEL_TYPE);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        if (json_object_get(json, keys[i])) config_put_storage(json, keys[i], storage);
    char *text = config_text(json);
    json_decref(json);
    return text;
}
