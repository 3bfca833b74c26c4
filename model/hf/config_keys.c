/* The known keys, as lists: those of transformers 4 and 5 that every family may have, and those that other
 * programs leave in their files. */
#include "model/hf/config_keys.h"
#include "model/hf/family.h"
#include <string.h>

/* clang-format off */

/* Keys with one supported value, given as JSON (null is always allowed). */
static const key_value fixed_keys[] = {
    {"hidden_act", "\"silu\""},
    {"mlp_bias", "false"},
    {"partial_rotary_factor", "1.0"},
    {"rope_interleaved", "false"},
    {"use_mrope", "false"},
    {"is_encoder_decoder", "false"},
    {"add_cross_attention", "false"},
    {"cross_attention_hidden_size", "null"},
    {"pruned_heads", "{}"},
};

/* All others: read, or without influence on what we compute. */
static const char *const common_keys[] = {
    /* read by config.c and the families */
    "architectures", "model_type", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
    "num_attention_heads", "num_key_value_heads", "head_dim", "attention_bias", "rms_norm_eps",
    "tie_word_embeddings", "rope_theta", "rope_scaling", "rope_parameters", "sliding_window",
    "use_sliding_window", "max_window_layers", "layer_types", "torch_dtype", "dtype", "eos_token_id",
    "quantization_config",
    /* bookkeeping of transformers and others */
    "_name_or_path", "name_or_path", "_commit_hash", "transformers_version", "_from_model_config", "auto_map", "custom_pipelines",
    "tokenizer_class", "finetuning_task", "task_specific_params", "problem_type", "id2label", "label2id",
    "num_labels", "_num_labels", "prefix", "is_llama_config", "transformers.js_config", "unsloth_version",
    "unsloth_fixed", "_attn_implementation", "_attn_implementation_autoset",
    "_attn_implementation_internal", "attn_implementation", "_flash_attn_2_enabled",
    "_experts_implementation", "base_model_tp_plan", "is_decoder", "bos_token_id", "pad_token_id",
    "sep_token_id", "decoder_start_token_id", "max_position_embeddings", "max_sequence_length",
    "model_max_length", "pretraining_tp", "use_cache", "output_hidden_states", "output_attentions",
    "return_dict", "use_return_dict", "torchscript", "use_bfloat16", "tf_legacy_loss",
    "chunk_size_feed_forward", "tie_encoder_decoder", "tie_last_hidden_states",
    /* training */
    "initializer_range", "attention_dropout", "attn_pdrop", "embd_pdrop", "resid_pdrop", "neftune_noise_alpha",
    "gradient_checkpointing",
    /* generation */
    "max_length", "min_length", "max_new_tokens", "do_sample", "early_stopping", "num_beams",
    "num_beam_groups", "diversity_penalty", "temperature", "top_k", "top_p", "typical_p",
    "repetition_penalty", "length_penalty", "no_repeat_ngram_size", "encoder_no_repeat_ngram_size",
    "bad_words_ids", "num_return_sequences", "output_scores", "return_dict_in_generate",
    "forced_bos_token_id", "forced_eos_token_id", "remove_invalid_values",
    "exponential_decay_length_penalty", "suppress_tokens", "begin_suppress_tokens", "generation_config",
    NULL,
};
/* clang-format on */

static bool listed(const char *const *list, const char *key)
{
    while (list && *list && strcmp(*list, key) != 0) list++;
    return list && *list;
}

static const char *value_in(const key_value *list, int count, const char *key)
{
    for (int i = 0; i < count && list[i].key; i++)
        if (strcmp(list[i].key, key) == 0) return list[i].json;
    return NULL;
}

const char *config_key_only(const family *m, const char *key)
{
    const char *own = value_in(m->fixed, FAMILY_VALUES, key);
    return own ? own : value_in(fixed_keys, sizeof fixed_keys / sizeof fixed_keys[0], key);
}

bool config_key_known(const family *m, const char *key)
{
    return listed(m->keys, key) || listed(common_keys, key) || config_key_only(m, key);
}
