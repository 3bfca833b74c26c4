/* MANIFEST.json of a checkpoint: {"format", "files": [{"name", "bytes", "xxh3_64"}], "self"}. "self" is the
 * XXH3-64 of the JSON text of everything before it, so that damage to the manifest itself is seen. */
#ifndef REMLA_TRAIN_MANIFEST_H
#define REMLA_TRAIN_MANIFEST_H
#include "base/status.h"
#include "base/written.h"
#include <stdbool.h>

/* Whether the folder has one, of whatever content. */
bool manifest_exists(const char *folder);
/* Writes the manifest of these files, durable; puts them in order of name. The files are not read. */
status manifest_write(const char *folder, written_files *files, message *why);
/* Whether the manifest itself is there and whole; reads no file that it lists. */
status manifest_check(const char *folder, message *why);
/* The same, then every file against it. ERR_INPUT says which file is missing, has another size or another
 * hash, or would be read as part of the checkpoint without being listed. */
status manifest_verify(const char *folder, message *why);
/* Whether nothing is in the folder but what its manifest lists; ERR_INPUT names the first other thing. */
status manifest_lists_all(const char *folder, message *why);

#endif
