/* MANIFEST.json of a checkpoint: {"format", "files": [{"name", "bytes", "xxh3_64"}], "self"}. "self" is the
 * XXH3-64 of the JSON text of everything before it, so that damage to the manifest itself is seen. */
#ifndef REMLA_TRAIN_MANIFEST_H
#define REMLA_TRAIN_MANIFEST_H
#include "base/status.h"

/* Hashes every file of `folder` and writes the manifest, durable. */
status manifest_write(const char *folder, message *why);
/* ERR_INPUT says which file is missing, has another size, another hash, or is not listed. */
status manifest_verify(const char *folder, message *why);

#endif
