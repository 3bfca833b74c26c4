/* Reads and writes files of JSON. Files that the user gave are parsed with limits: jansson alone would take
 * any depth and any number of values. */
#ifndef REMLA_BASE_JSON_TEXT_H
#define REMLA_BASE_JSON_TEXT_H
#include "base/status.h"
#include "base/written.h"
#include <stddef.h>
#include <stdint.h>

typedef struct json_t json_t;

/* Makes jansson stop the job when memory runs out (ERR_DEVICE, as memory_new does). jansson itself returns
 * NULL for that as for a text that is not JSON or not UTF-8, and nobody could tell them apart. main calls it
 * before any other function of jansson. */
void json_text_start(void);

/* Returns NULL if the text is within the limits, else the end of a sentence that begins with "its JSON".
 * jansson takes some 50 bytes for a value and 250 for an object, which in the text take two or three. */
const char *json_text_excess(const char *text, int64_t bytes, int max_depth, int64_t max_commas);

/* Parses a JSON object; duplicate keys, deep nesting and too many values are an ERR_INPUT that names
 * `path`. The caller ends with json_decref. */
status json_text_parse(json_t **out, const char *text, int64_t bytes, const char *path, message *why);
/* The same from a file of at most `limit` bytes. */
status json_text_read(json_t **out, const char *path, int64_t limit, message *why);

/* Writes `json` as a file, and adds that to `written` (NULL: to none). `layout`: jansson's flags. Takes
 * `json` over, which is NULL when there was no memory to make it. */
status json_text_write(json_t *json, size_t layout, const char *path, written_files *written, message *why);

/* Prints `json` and the end of the line on standard output. Takes it over, as json_text_write does. */
void json_text_print(json_t *json, size_t layout);

/* Makes a JSON string of a path or a sentence. If the text is not UTF-8, which JSON cannot hold, question
 * marks replace all that is not ASCII. The caller owns the string. */
json_t *json_text_string(const char *text);

/* Makes a JSON string of `bytes` bytes, zeros among them or not; text may be NULL where there are none.
 * Returns NULL if they are not UTF-8. The caller owns the string. */
json_t *json_text_stringn(const char *text, int64_t bytes);

/* Makes a JSON number, or null of NaN and infinity, for which JSON has no word. The caller owns it. */
json_t *json_text_real(double value);
/* Returns the number under `key`; NaN if there is none. */
double json_text_real_at(const json_t *object, const char *key);

/* For printing: the string under `key`, "?" if there is none; the whole number, 0 if there is none. */
const char *json_text_at(const json_t *object, const char *key);
long long json_text_whole_at(const json_t *object, const char *key);

/* Makes a JSON string of a hash as all files have it (base/hash.h). The caller owns it. */
json_t *json_text_hash(uint64_t hash);

#endif
