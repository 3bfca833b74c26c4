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

/* The model_type of a folder written for TransMLA's own code. TransMLA itself writes "deepseek_v3", which is
 * read too; but by that name transformers loads a different model, with norms that were never trained. It
 * does not know this name, and says so; with TransMLA's code in the folder, auto_map selects that code. */
#define TRANSMLA_MODEL_TYPE "llamamla"

typedef struct model_config {
    dims d;
    dtype storage;        /* torch_dtype (or dtype) of the folder */
    config_layout layout; /* of an MLA model */
    int64_t eos;          /* eos_token_id, the first where it is a list; -1: none */
    int64_t positions;    /* max_position_embeddings; 0: none. Nothing here computes with it */
    json_t *json;         /* the whole file and the defaults taken, owned */
} model_config;

/* Reads FOLDER/config.json. Defaults that are taken are logged, once for each key, and are in `json`. A path
 * that is not a model folder is an ERR_INPUT that gives the remedy (model/hf/folder_check.h). */
status config_read(model_config *c, const char *folder, message *why);
void config_free(model_config *c);

/* Returns the config.json text of the MLA model `d` converted from `source` (a GQA config), in the given
 * layout and type: for TransMLA's own code, or of a stock dense DeepSeek-V3 model. The caller frees it. */
char *config_converted(const model_config *source, const dims *d, config_layout layout, dtype storage);

/* Returns the config.json text of `c` with another storage type, for a checkpoint. The caller frees it. */
char *config_with_storage(const model_config *c, dtype storage);

#endif
