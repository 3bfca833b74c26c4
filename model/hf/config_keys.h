/* The keys that a config.json may have: those that are read, and those without influence on the computation.
 * Any other key may be a feature that remla does not have, so it is refused. Private to model/hf. */
#ifndef REMLA_MODEL_HF_CONFIG_KEYS_H
#define REMLA_MODEL_HF_CONFIG_KEYS_H
#include <stdbool.h>

typedef struct family family;

/* Tells whether a file of this family may have the key. */
bool config_key_known(const family *m, const char *key);

/* Returns the one supported value of a key as JSON text (null is supported too); NULL if any value is
 * allowed. */
const char *config_key_only(const family *m, const char *key);

#endif
