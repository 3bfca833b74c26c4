/* The identity of token ids: their vocabulary, special ids and tokenizer. Part of every shard that this
 * program writes. */
#ifndef REMLA_DATA_SHARDS_SHARD_IDENTITY_H
#define REMLA_DATA_SHARDS_SHARD_IDENTITY_H
#include "base/status.h"
#include <stddef.h>
#include <stdint.h>

/* Unknown numbers are -1, unknown texts empty. */
typedef struct shard_identity {
    int token_bytes;           /* 2 or 4 */
    int64_t vocabulary;        /* ids are below it */
    int64_t eos, bos, pad;     /* ids */
    char tokenizer[128];       /* a name for people: goes to .metadata */
    char tokenizer_sha256[65]; /* of tokenizer.json, lower-case hexadecimal */
} shard_identity;

struct tokenizer;
/* Returns the identity of ids that this tokenizer made, with `eos` (-1: none) at the ends of documents. */
shard_identity shard_identity_of(const struct tokenizer *t, int64_t eos);

/* Copies a name into `out` (`size` bytes with the zero). Invalid UTF-8 and control characters become "?"; a
 * name that is too long is cut between two characters. */
void shard_identity_name(char *out, size_t size, const char *name, size_t length);

#endif
