/* Reads fields of JSON objects of a tokenizer.json. A field that is not as expected is an ERR_INPUT: "PATH:
 * WHERE.KEY is ..., expected ...". `where` is empty for the file itself. */
#ifndef REMLA_DATA_TOKENIZER_JSON_FIELDS_H
#define REMLA_DATA_TOKENIZER_JSON_FIELDS_H
#include "base/status.h"
#include "data/tokenizer/text_buffer.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct json_t json_t;

/* Must be there. Borrowed. */
status json_field_object(const json_t *object, const char *key, const char *path, const char *where,
                         const json_t **out, message *why);
status json_field_array(const json_t *object, const char *key, const char *path, const char *where,
                        const json_t **out, message *why);
/* May be missing or null: then *out and *bytes stay as they are. Borrowed; ends with a zero. */
status json_field_text(const json_t *object, const char *key, const char *path, const char *where,
                       const char **out, int64_t *bytes, message *why);
/* May be missing or null: then it is `otherwise`. */
status json_field_bool(const json_t *object, const char *key, bool otherwise, const char *path,
                       const char *where, bool *out, message *why);
/* Reads a step Replace of a normalizer or decoder (`where`): appends the text to look for, which is not
 * empty, to `from`, and its replacement to `to`. */
status json_field_replace(const json_t *object, const char *path, const char *where, text_buffer *from,
                          text_buffer *to, message *why);
/* Reads a number of 0 to `most`; must be there. */
status json_field_count(const json_t *object, const char *key, int64_t most, const char *path,
                        const char *where, int64_t *out, message *why);

#endif
