/* Mistral: a sliding window by default, and no biases. */
#include "model/hf/family/attention.h"

static status mistral_read(const config_file *f, dims *d)
{
    TRY(attention_window_read(f, d, true));
    TRY(attention_grouped_read(f, d));
    return attention_bias_check(f, false, "but Mistral models have no biases");
}

const family family_mistral = {
    .architectures = {"MistralForCausalLM"},
    .model_type = "mistral",
    .attention = ATTENTION_GQA,
    .defaults = {{"sliding_window", "4096"}},
    .key_value_heads = 8,
    .read = mistral_read,
};
