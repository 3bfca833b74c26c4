/* `remla export`: a model folder from a checkpoint, or from the mean of several. */
#ifndef REMLA_TRAIN_EXPORT_EXPORT_H
#define REMLA_TRAIN_EXPORT_EXPORT_H
#include "base/tensor.h"
#include "train/export/choice.h"
#include "train/options/options.h"

typedef struct json_t json_t;

/* Makes the model folder `target` of `from`: config.json, the tokenizer's files and generation_config.json,
 * the model files in `storage`, export.json (docs/FORMATS.md), and the record of the conversion, where the
 * folder `base` has one. It is written beside, read back, compared with what was meant, and renamed: it
 * appears whole or not at all. ERR_INPUT: the target exists, cannot be written, or a weight does not fit into
 * `storage`. ERR_DEVICE: what was read back is not what was written. *record (not NULL): the contents of
 * export.json; the caller ends with json_decref. */
status export_write(const export_choice *from, const char *base, dtype storage, const char *target,
                    json_t **record, message *why);

#endif
