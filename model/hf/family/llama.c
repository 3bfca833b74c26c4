/* Llama, and models that use its class: no biases, and as many key/value heads as query heads by default. */
#include "model/hf/family/attention.h"

static status llama_read(const config_file *f, dims *d)
{
    TRY(attention_window_read(f, d, true));
    TRY(attention_grouped_read(f, d));
    return attention_bias_check(f, false, "which gives o_proj a bias too: not supported");
}

const family family_llama = {
    .architectures = {"LlamaForCausalLM"},
    .model_type = "llama",
    .attention = ATTENTION_GQA,
    .defaults = {{"attention_bias", "false"}},
    .read = llama_read,
};
