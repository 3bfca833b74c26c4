/* What token ids are: part of every shard that this program writes. */
#ifndef REMLA_DATA_SHARD_IDENTITY_H
#define REMLA_DATA_SHARD_IDENTITY_H
#include "base/status.h"
#include <stdint.h>

/* Where token ids come from. Unknown numbers are -1, unknown texts empty. */
typedef struct shard_identity {
    int token_bytes;           /* 2 or 4 */
    int64_t vocabulary;        /* ids are below it */
    int64_t eos, bos, pad;     /* ids */
    char tokenizer[128];       /* a name for people: goes to .metadata */
    char tokenizer_sha256[65]; /* of tokenizer.json, lower-case hexadecimal */
} shard_identity;

#endif
