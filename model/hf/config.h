/* config.json of a Hugging Face model folder: read into dims, and written for the models that remla makes.
 * Nothing is guessed: a missing key has transformers' default, or, where that would say something about the
 * shape, is an ERR_INPUT naming it, as is a key with an unsupported value or one not known to be harmless. */
#ifndef REMLA_MODEL_HF_CONFIG_H
#define REMLA_MODEL_HF_CONFIG_H
#include "base/status.h"
#include "base/tensor.h"
#include "model/dims.h"

typedef struct json_t json_t;

typedef enum config_layout { LAYOUT_TRANSMLA, LAYOUT_DEEPSEEK } config_layout;

/* The model_type of what is written for TransMLA's own code. TransMLA writes "deepseek_v3", which is read
 * too: transformers goes by that and loads another model, with norms that were never trained. This one it
 * does not know, and says so; where TransMLA's files lie beside it auto_map counts. */
#define TRANSMLA_MODEL_TYPE "llamamla"

typedef struct model_config {
    dims d;
    dtype storage;        /* torch_dtype (or dtype) of the folder */
    config_layout layout; /* of an MLA model */
    int64_t eos;          /* eos_token_id, the first where it is a list; -1: none */
    json_t *json;         /* the whole file and the defaults taken, owned */
} model_config;

/* Reads FOLDER/config.json. Defaults that are taken are said in the log, once for each key, and are in
 * `json`. A path that is no model folder is an ERR_INPUT that says what to do (model/hf/folder_check.h). */
status config_read(model_config *c, const char *folder, message *why);
void config_free(model_config *c);

/* The config.json text of the MLA model `d` converted from `source` (a GQA config), in the given layout and
 * type: for TransMLA's own code, or of a stock dense DeepSeek-V3 model. The caller frees. */
char *config_converted(const model_config *source, const dims *d, config_layout layout, dtype storage);

/* The config.json text of `c` with another storage type: what a checkpoint carries. The caller frees. */
char *config_with_storage(const model_config *c, dtype storage);

#endif
