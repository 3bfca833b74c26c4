/* Reads X.ds.metadata, which describes X.ds: line 1 "TOKENIZER|TOKEN_SIZE", line 2 the number of tokens, line
 * 3 the same number in readable form. */
#ifndef REMLA_DATA_SHARDS_SHARD_METADATA_H
#define REMLA_DATA_SHARDS_SHARD_METADATA_H
#include "base/status.h"
#include <stdint.h>

typedef struct shard_metadata {
    char tokenizer[128]; /* as shard_identity_name makes it */
    int token_bytes;     /* 2 or 4 */
    int64_t tokens;
} shard_metadata;

status shard_metadata_read(shard_metadata *m, const char *path, message *why);

#endif
