/* MANIFEST.json of a checkpoint: {"format", "files": [{"name", "bytes", "xxh3_64"}], "self"}. "self" is the
 * XXH3-64 of the JSON text of "files", so that damage to the manifest itself is seen. */
#ifndef REMLA_TRAIN_MANIFEST_H
#define REMLA_TRAIN_MANIFEST_H
#include "base/status.h"
#include "base/written.h"
#include <stdbool.h>

/* True when the folder has one. Does not look into it. */
bool manifest_exists(const char *folder);
/* Writes the manifest of these files and makes it durable. Sorts them by name; does not read them. */
status manifest_write(const char *folder, written_files *files, message *why);
/* Checks that the manifest itself is there and whole. Reads no file that it lists. */
status manifest_check(const char *folder, message *why);
/* Checks the manifest, then the files of share `share` of `shares` against it: all shares together are all
 * files, and each has about as many bytes to read. ERR_INPUT names the first file that is missing, has
 * another size or another hash, or would be read as part of the checkpoint without being listed. */
status manifest_verify_share(const char *folder, int share, int shares, message *why);
/* Checks that nothing is in the folder but what its manifest lists. ERR_INPUT names the first other thing. */
status manifest_lists_all(const char *folder, message *why);

#endif
