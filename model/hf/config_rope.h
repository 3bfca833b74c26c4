/* Rotary positions in config.json: rope_theta, rope_scaling and rope_parameters, read and written.
 * transformers 4 writes the first two, transformers 5 the last. Private to model/hf. */
#ifndef REMLA_MODEL_HF_CONFIG_ROPE_H
#define REMLA_MODEL_HF_CONFIG_ROPE_H
#include "model/dims.h"
#include "model/hf/config_file.h"

/* Reads either form. If a file has both, they must agree. */
status config_rope_read(const config_file *f, rope_settings *rope);

/* Puts in transformers 4's keys: rope_theta and rope_scaling. */
void config_rope_put(json_t *json, const rope_settings *r);
/* Puts in transformers 5's key: rope_parameters. */
void config_rope_put_parameters(json_t *json, const rope_settings *r);

#endif
