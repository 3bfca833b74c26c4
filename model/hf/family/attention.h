/* Reads keys of attention that several families have. Each function returns ERR_INPUT with a sentence. */
#ifndef REMLA_MODEL_HF_FAMILY_ATTENTION_H
#define REMLA_MODEL_HF_FAMILY_ATTENTION_H
#include "model/hf/family.h"

enum { MAX_HEAD_WIDTH = 1 << 12 }; /* beyond it is nonsense */

/* Reads sliding_window into d->window. `used` is the default of use_sliding_window. */
status attention_window_read(const config_file *f, dims *d, bool used);

/* Reads num_key_value_heads, which must be there and in [least, most]. */
status attention_key_value_heads_read(const config_file *f, int64_t least, int64_t most, int64_t *out);

/* Reads the key/value heads of a GQA model and the width of a head: d->G and d->D. */
status attention_grouped_read(const config_file *f, dims *d);

/* Refuses attention_bias unless it is `expected`, which is also the value where the key is missing: "PATH:
 * attention_bias is FOUND, REMEDY". */
status attention_bias_check(const config_file *f, bool expected, const char *remedy);

#endif
