/* Keys that a config.json may lack, because transformers gives them a default: its classes' defaults, which
 * are part of the format, where all versions agree on them and the tensors do not depend on them. */
#ifndef REMLA_MODEL_CONFIG_DEFAULTS_H
#define REMLA_MODEL_CONFIG_DEFAULTS_H
#include "base/status.h"
#include <stdint.h>

typedef struct json_t json_t;

typedef enum model_kind { LLAMA, QWEN2, MISTRAL, DEEPSEEK } model_kind;

/* What was taken: bit i stands for row i of the table in config_defaults.c. */
typedef struct config_defaults {
    uint32_t missing, null;
} config_defaults;

/* Puts the defaults of `kind` into the JSON of FOLDER/config.json, called `path` in messages, so that what is
 * written from it later has them. The type of the weights is that of the first tensor in the folder's
 * safetensors files: ERR_INPUT where the file names none and there is no tensor to ask. */
status config_defaults_take(config_defaults *taken, json_t *json, model_kind kind, const char *folder,
                            const char *path, message *why);

/* Says what was taken, a line for each key, once in the life of the program. */
void config_defaults_say(const config_defaults *taken, const json_t *json);

/* transformers' default for num_key_value_heads: a number that only some models have. */
int config_default_key_value_heads(model_kind kind);

#endif
