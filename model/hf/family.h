/* A model family: how its config.json is recognised, the keys that it has beside those of every model, and
 * functions that read the shape of its attention and, for a family that models are converted to, write it.
 * Each is a row in a file of its own (model/hf/family/NAME.c); the model itself knows features (dims), no
 * families. Private to model/hf. */
#ifndef REMLA_MODEL_HF_FAMILY_H
#define REMLA_MODEL_HF_FAMILY_H
#include "model/hf/config.h"
#include "model/hf/config_file.h"
#include <stddef.h>

/* The most in a list of a row. One more does not compile. */
enum { FAMILY_VALUES = 4 };

/* A key and a value as JSON text. */
typedef struct key_value {
    const char *key, *json;
} key_value;

struct family {
    const char *architectures[FAMILY_VALUES]; /* names of `architectures`; another family may have them too */
    const char *model_type;                   /* the `model_type` that goes with them */
    const char *own_model_type; /* NULL, or what remla writes instead; read where `mark` is there, too */
    const char *mark;           /* NULL, or a key that just this family's files have */
    attention_kind attention;
    const char *const *keys;           /* known beside config_keys.c's; ends with NULL, may be NULL */
    key_value fixed[FAMILY_VALUES];    /* keys of which one value is supported (and null) */
    key_value defaults[FAMILY_VALUES]; /* transformers' defaults beside those of config_defaults.c */
    int key_value_heads;               /* transformers' default for num_key_value_heads, as a number that
                                          only some models have; 0: it is num_attention_heads */

    /* Reads attention and the family's other own keys into `d`, in which the common ones are set. ERR_INPUT
     * with a sentence. */
    status (*read)(const config_file *f, dims *d);

    /* Makes the config.json in `layout` of the MLA model `d` that was converted from `source`. The caller
     * owns it. NULL for a family that remla does not write. */
    json_t *(*write)(const model_config *source, const dims *d, dtype storage);
    config_layout layout;
};

/* The rows, each in its own file, and all of them; NULL ends them. */
extern const family family_llama, family_qwen2, family_mistral, family_transmla, family_deepseek;
extern const family *const families[];

/* Returns the family of a config.json whose architecture is `name`. Of two families that have the name, the
 * one whose mark is in `json` counts, or else the one without a mark. NULL: remla knows no such architecture.
 */
const family *family_of(const char *name, const json_t *json);
bool family_is_marked(const family *m, const json_t *json);

/* Returns the family that remla writes in this layout. */
const family *family_of_layout(config_layout layout);

/* Tells whether `key` is among those of a family with latent attention. */
bool family_latent_key(const char *key);

/* Writes "A, B and C": every supported architecture, once. */
void family_list(char *text, size_t size);

#endif
