/* Puts keys into a config.json that is being written; running out of memory stops the job. Private to
 * model/hf. */
#ifndef REMLA_MODEL_HF_CONFIG_PUT_H
#define REMLA_MODEL_HF_CONFIG_PUT_H
#include "base/tensor.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct json_t json_t;

/* Takes ownership of `value`. */
void config_put(json_t *json, const char *key, json_t *value);
void config_put_integer(json_t *json, const char *key, int64_t value);
void config_put_bool(json_t *json, const char *key, bool value);
void config_put_string(json_t *json, const char *key, const char *value);
/* The name of a type of weight files, as torch_dtype or dtype. */
void config_put_storage(json_t *json, const char *key, dtype storage);

#endif
