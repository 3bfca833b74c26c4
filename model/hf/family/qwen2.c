/* Qwen2: biases on queries, keys and values, and a sliding window that is off by default. */
#include "model/hf/family/attention.h"

static status qwen2_read(const config_file *f, dims *d)
{
    TRY(attention_window_read(f, d, false));
    TRY(attention_grouped_read(f, d));
    TRY(attention_bias_check(f, true, "but Qwen2 models have biases"));
    d->q_bias = d->k_bias = d->v_bias = true;
    return OK;
}

const family family_qwen2 = {
    .architectures = {"Qwen2ForCausalLM"},
    .model_type = "qwen2",
    .attention = ATTENTION_GQA,
    .key_value_heads = 32,
    .read = qwen2_read,
};
