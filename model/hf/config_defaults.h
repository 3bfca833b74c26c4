/* Keys that a config.json may lack, because transformers gives them a default: its classes' defaults, which
 * are part of the format, where all versions agree on them and the tensors do not depend on them. Private to
 * model/hf. */
#ifndef REMLA_MODEL_HF_CONFIG_DEFAULTS_H
#define REMLA_MODEL_HF_CONFIG_DEFAULTS_H
#include "model/hf/config_file.h"

/* What was taken: bit i stands for row i of the table in config_defaults.c. */
typedef struct config_defaults {
    uint32_t missing, null;
} config_defaults;

/* Puts the defaults of the file's family into its JSON, so that what is written from it later has them. The
 * type of the weights is that of the first tensor in the safetensors files of `folder`: ERR_INPUT where the
 * file names none and there is no tensor to ask. */
status config_defaults_take(config_defaults *taken, const config_file *f, const char *folder);

/* Says what was taken, a line for each key, once in the life of the program. */
void config_defaults_say(const config_defaults *taken, const config_file *f);

#endif
