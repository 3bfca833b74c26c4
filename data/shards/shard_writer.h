/* Writes a shard: X.ds (raw ids) or X.ds.zst (the same bytes in frames that can be read at any place), as its
 * name says, with X.ds.index and X.ds.metadata beside it. docs/FORMATS.md has the bytes. Tokens stream
 * through bounded memory. Files get their names when they are whole; on any failure, and when abandoned,
 * nothing of the new shard is left under a final name. An old shard of that name is replaced at the end, by
 * renaming. */
#ifndef REMLA_DATA_SHARDS_SHARD_WRITER_H
#define REMLA_DATA_SHARDS_SHARD_WRITER_H
#include "data/shards/shard_identity.h"

typedef struct shard_writer
    shard_writer; /* opaque; owned by the caller from shard_writer_create to finish or abandon */

/* A finished shard, as dataset.json lists it. */
typedef struct shard_summary {
    char name[256]; /* file name without folder */
    int64_t tokens, documents;
    int64_t bytes;                 /* of the data file */
    char xxh3_128[33], sha256[65]; /* of the data file; lower-case hexadecimal */
    char index_sha256[65];         /* of X.ds.index */
} shard_summary;

/* path: FOLDER/X.ds or FOLDER/X.ds.zst; the folder exists. On failure *w is NULL. */
status shard_writer_create(shard_writer **w, const char *path, const shard_identity *identity, message *why);
/* ERR_INPUT when an id does not fit the token size or the vocabulary, or the disk is full. On a failure of
 * any function the caller ends with shard_writer_abandon. */
status shard_writer_append(shard_writer *w, const uint32_t *ids, int64_t count, message *why);
/* Ends the document after the tokens so far; an empty one is not recorded. */
status shard_writer_end_document(shard_writer *w, message *why);
/* Ends the last document, makes all files durable and gives them their names, the data file last. Frees w on
 * success. ERR_INPUT: no tokens; X.ds is there beside X.ds.zst (or the other way round) and the two, which
 * share their index, hold different documents. */
status shard_writer_finish(shard_writer *w, shard_summary *summary, message *why);
void shard_writer_abandon(shard_writer *w); /* NULL is fine */
/* Removes a finished shard, with its index and metadata where no other shard shares them. */
void shard_writer_remove(const char *path);

#endif
