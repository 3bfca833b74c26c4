/* Reads and writes the keys of latent attention in config.json. */
#include "model/hf/family/latent.h"
#include "model/hf/config_put.h"
#include "model/hf/family/attention.h"
#include <jansson.h>

enum { MAX_RANK = 1 << 18 }; /* beyond it is nonsense */

/* Keys of experts have no effect if every layer is dense, which is checked. Layers that predict more tokens
 * (mtp) do not change the prediction of the next one; their tensors, if there are any, are refused by name.
 */
/* clang-format off */
const char *const latent_keys[] = {
    "kv_lora_rank", "q_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "qk_head_dim", "v_head_dim",
    "qk_latent_layernorm", "rope_interleave", "num_nextn_predict_layers", "num_mtp_layers",
    "first_k_dense_replace", "n_routed_experts", "n_shared_experts", "num_experts_per_tok",
    "num_local_experts", "moe_intermediate_size", "moe_layer_freq", "n_group", "topk_group", "topk_method",
    "scoring_func", "norm_topk_prob", "routed_scaling_factor", "aux_loss_alpha", "seq_aux", "ep_size",
    "output_router_logits", NULL,
};
/* clang-format on */

status latent_check_dense(const config_file *f, const dims *d)
{
    int64_t dense;
    TRY(config_get_integer(f, "first_k_dense_replace", 0, INT32_MAX, &dense));
    if (dense < d->L)
        return fail(f->why, ERR_INPUT,
                    "%s: first_k_dense_replace is %lld, so layers from there on have experts: only models "
                    "whose %lld layers are all dense are supported",
                    f->path, (long long)dense, (long long)d->L);
    return OK;
}

status latent_read(const config_file *f, dims *d)
{
    int64_t number;
    TRY(attention_window_read(f, d, true));
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
    return attention_key_value_heads_read(f, d->H, d->H, &number);
}

void latent_put(json_t *json, const dims *d)
{
    config_put_integer(json, "num_key_value_heads", d->H);
    /* transformers computes the rotary frequencies from head_dim, which must be that of the shared rotary
     * part. */
    config_put_integer(json, "head_dim", d->Dr);
    config_put_bool(json, "attention_bias", d->k_bias);
    config_put_integer(json, "qk_rope_head_dim", d->Dr);
    config_put_integer(json, "qk_nope_head_dim", d->Dn);
    config_put_integer(json, "v_head_dim", d->Dv);
    config_put(json, "q_lora_rank", d->Rq ? json_integer(d->Rq) : json_null());
    config_put_integer(json, "kv_lora_rank", d->R);
}
