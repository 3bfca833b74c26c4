/* Defaults for keys that are missing in a config.json. The defaults of transformers' classes are part of the
 * format, provided that all versions agree on them and the tensors do not depend on them. Private to
 * model/hf. */
#ifndef REMLA_MODEL_HF_CONFIG_DEFAULTS_H
#define REMLA_MODEL_HF_CONFIG_DEFAULTS_H
#include "model/hf/config_file.h"

/* The defaults that were taken: bit i stands for row i of the table in config_defaults.c. */
typedef struct config_defaults {
    uint32_t missing, null;
} config_defaults;

/* Puts the defaults of the file's family into its JSON, so that files written from it later have them. The
 * type of the weights is that of the first tensor in the safetensors files of `folder`: ERR_INPUT if the file
 * names no type and the tensors cannot be read. */
status config_defaults_take(config_defaults *taken, const config_file *f, const char *folder);

/* Logs the defaults that were taken, a line for each key, once in the life of the program. */
void config_defaults_say(const config_defaults *taken, const config_file *f);

#endif
