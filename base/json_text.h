/* JSON of files that a person gave us, parsed with limits: jansson alone would take any depth and any
 * number of values. */
#ifndef REMLA_BASE_JSON_TEXT_H
#define REMLA_BASE_JSON_TEXT_H
#include "base/status.h"
#include <stdint.h>

typedef struct json_t json_t;

/* Parses a JSON object; duplicate keys, deep nesting and too many values are an ERR_INPUT that names
 * `path`. The caller ends with json_decref. */
status json_text_parse(json_t **out, const char *text, int64_t bytes, const char *path, message *why);

#endif
