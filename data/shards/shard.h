/* A shard of tokens as datatrove writes it: X.ds (raw u16 or u32 ids), X.ds.index (u64 document ends, in
 * tokens) and X.ds.metadata ("tokenizer|token_size", token count); or X.ds.zst, the same ids compressed in
 * frames, with the same files beside it. docs/FORMATS.md has the bytes. */
#ifndef REMLA_DATA_SHARDS_SHARD_H
#define REMLA_DATA_SHARDS_SHARD_H
#include "base/file.h"
#include "data/shards/seekable.h"
#include "data/shards/shard_identity.h"

typedef struct shard {
    char path[PATH_BYTES]; /* opened for each read, so that thousands of shards need no descriptors */
    int token_bytes;       /* 2 or 4 */
    int64_t tokens;
    int64_t *document_end; /* rising, the last is `tokens`; one document when there is no index */
    int64_t documents;
    bool indexed;            /* there is an index */
    shard_identity identity; /* from the header of X.ds.zst; without one only token size and tokenizer's name
                                are known */
    uint64_t content;        /* a hash of the ids, from the seek table's checksums; 0: none is known */
    uint64_t number;         /* X.ds.zst: of data/shards/frame_cache.h; 0: the file is raw */
    seekable frames;         /* of X.ds.zst */
} shard;

/* Opens and checks size, metadata and index against each other. An empty shard is an ERR_INPUT. X.ds without
 * .metadata is read as u16, with a warning (X.ds.zst has a header); without .index the file is one document.
 */
status shard_open(shard *s, const char *path, message *why);
void shard_close(shard *s);
#define ANY_TOKEN ((int64_t)1 << 32) /* a vocabulary that has every id */
/* Reads tokens [from, from+count). An id that is not below `vocabulary` is an ERR_INPUT naming file, place
 * and id; so is a damaged frame. Threads may share s. */
status shard_read(const shard *s, int64_t from, int64_t count, int64_t vocabulary, int32_t *out,
                  message *why);
/* Tells whether a file's name is a shard's: X.ds or X.ds.zst. */
bool shard_named(const char *name);
/* Makes the path of X.ds.index (suffix ".index") or X.ds.metadata of X.ds or X.ds.zst. `out` has PATH_BYTES.
 */
status shard_beside(char *out, const char *path, const char *suffix, message *why);
/* Returns the index of the document that holds `token`. */
int64_t shard_document(const shard *s, int64_t token);

#endif
