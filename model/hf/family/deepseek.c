/* Stock DeepSeek-V3 whose layers are all dense: norms on the latents and, with attention_bias, biases on the
 * projections into the latents and out of attention. */
#include "model/hf/config_put.h"
#include "model/hf/config_rope.h"
#include "model/hf/family/latent.h"
#include <jansson.h>

static status deepseek_read(const config_file *f, dims *d)
{
    bool bias;
    TRY(latent_read(f, d));
    TRY(latent_check_dense(f, d));
    TRY(config_get_bool(f, "attention_bias", false, &bias));
    d->k_bias = d->o_bias = bias;
    d->q_a_bias = bias && d->Rq;
    d->latent_norm = true;
    return OK;
}

/* Writes a stock dense DeepSeek-V3 model. All keys are written whose default in transformers would mean a
 * different model: by default there are experts from the fourth layer on. */
static json_t *deepseek_write(const model_config *source, const dims *d, dtype storage)
{
    static const char *const copied[] = {
        "max_position_embeddings", "initializer_range", "rms_norm_eps",
        "attention_dropout",       "use_cache",         "transformers_version"};
    static const char *const tokens[] = {"bos_token_id", "eos_token_id", "pad_token_id"};
    REQUIRE(d->latent_norm && !d->q_bias && d->k_bias == d->o_bias && !d->tied,
            "a stock DeepSeek model has latent norms, a head of its own, and biases in its own places");
    json_t *json = json_object();
    config_put(json, "architectures", json_pack("[s]", "DeepseekV3ForCausalLM"));
    config_put_string(json, "model_type", "deepseek_v3");
    config_put_integer(json, "vocab_size", d->V);
    config_put_integer(json, "hidden_size", d->C);
    config_put_integer(json, "intermediate_size", d->F);
    config_put_integer(json, "num_hidden_layers", d->L);
    config_put_integer(json, "num_attention_heads", d->H);
    latent_put(json, d);
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

const family family_deepseek = {
    .architectures = {"DeepseekV3ForCausalLM"},
    .model_type = "deepseek_v3",
    .attention = ATTENTION_MLA,
    .keys = latent_keys,
    .fixed = {LATENT_ROPE_ORDER},
    .defaults = {{"attention_bias", "false"}},
    .key_value_heads = LATENT_KEY_VALUE_HEADS,
    .read = deepseek_read,
    .write = deepseek_write,
    .layout = LAYOUT_DEEPSEEK,
};
