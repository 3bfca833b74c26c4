/* The header of X.ds.zst: a zstd skippable frame at the start of the file, which decompressors skip. It holds
 * the identity of the ids and their number. docs/FORMATS.md has its bytes. Works on memory; no state. */
#ifndef REMLA_DATA_SHARDS_SHARD_HEADER_H
#define REMLA_DATA_SHARDS_SHARD_HEADER_H
#include "data/shards/shard_identity.h"

enum { SHARD_HEADER_BYTES = 104 }; /* of the whole frame */

/* identity->tokenizer is not part of it. */
void shard_header_pack(uint8_t out[SHARD_HEADER_BYTES], const shard_identity *identity, int64_t tokens);
/* Returns 1 if a file that begins with these bytes has our header, whole or damaged. */
int shard_header_present(const uint8_t *data, int64_t bytes);
/* Reads a header that is present. identity->tokenizer is left empty. A header that is cut, damaged, or of a
 * later version is an ERR_INPUT naming `path`. */
status shard_header_parse(const char *path, const uint8_t *data, int64_t bytes, shard_identity *identity,
                          int64_t *tokens, message *why);

#endif
