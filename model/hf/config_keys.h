/* Which keys a config.json may have: those that config.c reads, and those that change nothing we compute.
 * Any other key may be a feature that remla does not have, so it is refused. */
#ifndef REMLA_MODEL_CONFIG_KEYS_H
#define REMLA_MODEL_CONFIG_KEYS_H

typedef enum config_key_kind {
    KEY_UNKNOWN,
    KEY_COMMON,
    KEY_LATENT /* only in models with latent attention */
} config_key_kind;
config_key_kind config_key_kind_of(const char *name);

/* The one supported value of a key as JSON text (null is supported beside it), NULL when any value will do
 * here. */
const char *config_key_only(const char *name);

#endif
