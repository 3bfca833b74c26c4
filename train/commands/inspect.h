/* Private to the inspect files of train/commands: what `remla inspect` prints of each kind of folder.
 * `folder` is short enough for path_join with any name of a file in it. */
#ifndef REMLA_TRAIN_COMMANDS_INSPECT_H
#define REMLA_TRAIN_COMMANDS_INSPECT_H
#include "base/status.h"
#include "model/hf/config.h"
#include <stdbool.h>

typedef struct json_t json_t;

enum { INSPECT_TEXT = 160 };
/* "MLA, 9 heads of 64+32, latent of 128 with its norm" */
const char *inspect_attention(const dims *d, char *text);
/* "1.61 GB", "82.3 kB" */
const char *inspect_bytes(int64_t bytes, char *text);
/* A row of a table, "  trained     40 steps", on standard output. */
void inspect_row(const char *name, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Prints an array of texts, separated by `between`, as many on a line as there is room for. The lines begin
 * with `first` and, from the second on, with `next`. */
void inspect_items(const char *first, const char *next, const char *between, const json_t *items);
/* The keys of a model: attention, layers ... */
status inspect_model_json(json_t **out, const char *folder, const model_config *c, int64_t parameters,
                          message *why);

/* Both print, and return ERR_INPUT with the sentence when the folder is not whole. */
status inspect_checkpoint(const char *folder, bool json, message *why);
status inspect_run(const char *folder, bool json, message *why);

#endif
