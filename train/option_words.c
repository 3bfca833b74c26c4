/* Words of options become enums of the folders below, which do not know the options. A switch names
 * every word and has no default, so that the compiler reports a new one; the word that breaks returns behind
 * the switch, so that every path does. */
#include "train/option_words.h"

static compute_kind compute_kind_of(option_device_kind word)
{
    switch (word) {
    case OPTION_device_kind_cpu:
        return COMPUTE_CPU;
    case OPTION_device_kind_cuda:
        return COMPUTE_CUDA;
    case OPTION_device_kind_auto:
        break;
    }
    return COMPUTE_AUTO;
}

static dtype storage_of(option_device_storage word)
{
    switch (word) {
    case OPTION_device_storage_bf16:
        return BF16;
    case OPTION_device_storage_f32:
        break;
    }
    return F32;
}

static attention_choice attention_of(option_device_attention word)
{
    switch (word) {
    case OPTION_device_attention_cudnn:
        return ATTENTION_CUDNN;
    case OPTION_device_attention_flash:
        return ATTENTION_FLASH;
    case OPTION_device_attention_unfused:
        return ATTENTION_UNFUSED;
    case OPTION_device_attention_auto:
        break;
    }
    return ATTENTION_AUTO;
}

compute_settings compute_settings_of(const options *o)
{
    return (compute_settings){.kind = compute_kind_of(o->device_kind),
                              .act = storage_of(o->device_storage),
                              .attention = attention_of(o->device_attention)};
}

static bool pairwise_of(option_parallel_sum word)
{
    switch (word) {
    case OPTION_parallel_sum_exact:
        return true;
    case OPTION_parallel_sum_fast:
        break;
    }
    return false;
}

static dtype sent_as(option_parallel_reduce_type word)
{
    switch (word) {
    case OPTION_parallel_reduce_type_bf16:
        return BF16;
    case OPTION_parallel_reduce_type_f32:
        break;
    }
    return F32;
}

shards_settings shards_settings_of(const options *o, int ranks)
{
    return (shards_settings){
        .stage = (int)o->parallel_zero,
        .how = {.sent = sent_as(o->parallel_reduce_type), .pairwise = pairwise_of(o->parallel_sum)},
        .micro_batches = o->train_batch_tokens / (o->train_seq_len * o->train_micro_batch * ranks)};
}

schedule_kind schedule_kind_of(option_optim_schedule word)
{
    switch (word) {
    case OPTION_optim_schedule_linear:
        return SCHEDULE_LINEAR;
    case OPTION_optim_schedule_constant:
        return SCHEDULE_CONSTANT;
    case OPTION_optim_schedule_one_minus_sqrt:
        return SCHEDULE_ONE_MINUS_SQRT;
    case OPTION_optim_schedule_cosine:
        break;
    }
    return SCHEDULE_COSINE;
}

packing packing_of(option_data_packing word)
{
    switch (word) {
    case OPTION_data_packing_transmla:
        return PACKING_TRANSMLA;
    case OPTION_data_packing_best_fit:
        return PACKING_BEST_FIT;
    case OPTION_data_packing_concat:
        break;
    }
    return PACKING_CONCAT;
}

dtype cache_of(option_decode_cache word)
{
    switch (word) {
    case OPTION_decode_cache_bf16:
        return BF16;
    case OPTION_decode_cache_f8:
        return F8;
    case OPTION_decode_cache_f32:
        break;
    }
    return F32;
}

dtype checkpoint_weights_of(const options *o, dtype act)
{
    switch (o->checkpoint_weights) {
    case OPTION_checkpoint_weights_f32:
        return F32;
    case OPTION_checkpoint_weights_bf16:
        return BF16;
    case OPTION_checkpoint_weights_auto:
        break;
    }
    return act;
}

recompute recompute_of(option_train_recompute word)
{
    switch (word) {
    case OPTION_train_recompute_none:
        return RECOMPUTE_NONE;
    case OPTION_train_recompute_layer:
        return RECOMPUTE_LAYER;
    case OPTION_train_recompute_light:
        break;
    }
    return RECOMPUTE_LIGHT;
}
