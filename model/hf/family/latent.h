/* Latent attention in config.json, which DeepSeek's and TransMLA's files describe with the same keys. */
#ifndef REMLA_MODEL_HF_FAMILY_LATENT_H
#define REMLA_MODEL_HF_FAMILY_LATENT_H
#include "model/hf/family.h"

/* Keys that only models with latent attention have. */
extern const char *const latent_keys[];
/* Rotary pairs are neighbours; the other order is not supported. A value of a row's `fixed`. */
#define LATENT_ROPE_ORDER                                                                                    \
    {                                                                                                        \
        "rope_interleave", "true"                                                                            \
    }
/* transformers' number of key/value heads, that of DeepSeek-V3. */
enum { LATENT_KEY_VALUE_HEADS = 128 };

/* Reads ranks, widths of heads and the window: R, Rq, Dn, Dr, Dv, window. ERR_INPUT with a sentence. */
status latent_read(const config_file *f, dims *d);
/* ERR_INPUT unless every layer has a dense MLP: first_k_dense_replace, which must be there, says so. */
status latent_check_dense(const config_file *f, const dims *d);

/* Puts in the keys that latent_read reads, and attention_bias. */
void latent_put(json_t *json, const dims *d);

#endif
