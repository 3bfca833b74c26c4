/* TransMLA's layout: the source's config.json with the keys of latent attention added. TransMLA calls the
 * result deepseek_v3, and in its DeepSeek style gives it that architecture, too; the key qk_latent_layernorm
 * marks its files. attention_bias means other biases than in transformers' DeepSeek-V3 and has no default. */
#include "base/memory.h"
#include "model/hf/config_put.h"
#include "model/hf/config_rope.h"
#include "model/hf/family/latent.h"
#include <jansson.h>

/* TransMLA's own code makes experts only if one of these keys is set. */
static bool may_have_experts(const config_file *f)
{
    return config_get(f, "first_k_dense_replace") || json_number_value(config_get(f, "n_routed_experts")) > 0;
}

static status transmla_read(const config_file *f, dims *d)
{
    bool bias;
    TRY(latent_read(f, d));
    if (may_have_experts(f)) TRY(latent_check_dense(f, d));
    if (!config_get(f, "attention_bias")) return config_missing(f, "attention_bias");
    if (!config_get(f, "qk_latent_layernorm")) return config_missing(f, "qk_latent_layernorm");
    TRY(config_get_bool(f, "attention_bias", false, &bias));
    d->q_bias = d->k_bias = bias;
    return config_get_bool(f, "qk_latent_layernorm", true, &d->latent_norm);
}

/* Writes as TransMLA's converter does: the source's keys stay, those of latent attention are added. */
static json_t *transmla_write(const model_config *source, const dims *d, dtype storage)
{
    json_t *json = memory_check(json_deep_copy(source->json), "config.json");
    config_put(json, "architectures", json_pack("[s]", "LlamaMLAForCausalLM"));
    config_put_string(json, "model_type", TRANSMLA_MODEL_TYPE);
    config_put(json, "auto_map",
               json_pack("{s:s, s:s, s:s}", "AutoConfig", "configuration_llamamla.LlamaMLAConfig",
                         "AutoModel", "modeling_llamamla.LlamaMLAModel", "AutoModelForCausalLM",
                         "modeling_llamamla.LlamaMLAForCausalLM"));
    latent_put(json, d);
    config_put_bool(json, "qk_latent_layernorm", d->latent_norm);
    config_put_storage(json, "torch_dtype", storage);
    if (json_object_get(json, "dtype")) config_put_storage(json, "dtype", storage);
    /* A source by transformers 5 has rope_parameters only, which TransMLA's code does not read. */
    const json_t *theta = json_object_get(json, "rope_theta");
    if (!theta || json_is_null(theta)) config_rope_put(json, &d->rope);
    return json;
}

const family family_transmla = {
    .architectures = {"LlamaMLAForCausalLM", "DeepseekV3ForCausalLM"},
    .model_type = "deepseek_v3",
    .own_model_type = TRANSMLA_MODEL_TYPE,
    .mark = "qk_latent_layernorm",
    .attention = ATTENTION_MLA,
    .keys = latent_keys,
    .fixed = {LATENT_ROPE_ORDER},
    .key_value_heads = LATENT_KEY_VALUE_HEADS,
    .read = transmla_read,
    .write = transmla_write,
    .layout = LAYOUT_TRANSMLA,
};
