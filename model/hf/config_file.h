/* A config.json that is being read: single values, each checked. Private to model/hf. Every function that
 * fails returns ERR_INPUT with a message that names file and key. */
#ifndef REMLA_MODEL_HF_CONFIG_FILE_H
#define REMLA_MODEL_HF_CONFIG_FILE_H
#include "base/file.h"
#include "base/status.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct json_t json_t;
typedef struct family family;

typedef struct config_file {
    char path[PATH_BYTES];
    json_t *json;
    const family *family; /* model/hf/family.h */
    message *why;
} config_file;

/* Returns the value of a key; NULL when it is missing or null. */
const json_t *config_get(const config_file *f, const char *key);

status config_get_integer(const config_file *f, const char *key, int64_t least, int64_t most, int64_t *out);
status config_get_bool(const config_file *f, const char *key, bool default_value, bool *out);
/* A number in (above, most]. `object` is the file itself or one of its objects; messages call its key `name`.
 */
status config_get_number(const config_file *f, const json_t *object, const char *key, const char *name,
                         double above, double most, double *out);

/* ERR_INPUT unless `value` is null or equal to the JSON text `only`; numbers are compared as numbers. */
status config_check_only(const config_file *f, const char *key, const json_t *value, const char *only);

/* "PATH: KEY is FOUND, EXPECTED" */
status config_wrong(const config_file *f, const char *key, const json_t *value, const char *expected);
/* "PATH: key 'KEY' is missing", or null. */
status config_missing(const config_file *f, const char *key);

#endif
