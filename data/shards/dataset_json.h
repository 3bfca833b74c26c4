/* FOLDER/dataset.json lists the shards of a folder, with hashes of every file, so that damage, a missing
 * shard or another tokenizer's ids are detected. docs/FORMATS.md has the keys. */
#ifndef REMLA_DATA_SHARDS_DATASET_JSON_H
#define REMLA_DATA_SHARDS_DATASET_JSON_H
#include "base/file.h"
#include "base/digest.h"
#include "data/shards/shard_writer.h"

#define DATASET_JSON "dataset.json"

typedef struct dataset_manifest {
    shard_identity identity;
    shard_summary *shard; /* in order of name */
    int64_t count;
    char fingerprint[SHA256_TEXT]; /* SHA-256 over everything above but the tokenizer's name */
} dataset_manifest;

/* `path` names the file. ERR_INPUT when it is malformed or its fingerprint is not that of its contents. */
status dataset_manifest_read(dataset_manifest *m, const char *path, message *why);
/* Does the same from memory; `path` is for messages. */
status dataset_manifest_parse(dataset_manifest *m, const char *path, const char *text, int64_t bytes,
                              message *why);
void dataset_manifest_free(dataset_manifest *m);
/* Names the first difference of two identities, for messages ("vocabulary"); NULL if only the tokenizer's
 * name may differ. */
const char *shard_identity_difference(const shard_identity *a, const shard_identity *b);
/* Finds the entry for a file name; NULL if there is none. */
const shard_summary *dataset_manifest_find(const dataset_manifest *m, const char *name);

/* Writes FOLDER/dataset.json (docs/FORMATS.md): identity, shards in order of name, hashes, fingerprint.
 * Shards that an older dataset.json there lists stay listed while their files exist. A folder has one
 * identity: ERR_INPUT when this one differs from the older manifest's. */
status dataset_manifest_write(const char *folder, const shard_identity *identity, const shard_summary *shard,
                              int64_t count, message *why);
/* ERR_INPUT if dataset_manifest_write would refuse shards of this identity; call it before making them. */
status dataset_manifest_check(const char *folder, const shard_identity *identity, message *why);

#endif
