/* Files of a test: its own, in a folder that is removed when the test program ends, and the fixtures. */
#ifndef REMLA_TESTS_SCRATCH_H
#define REMLA_TESTS_SCRATCH_H
#include <stdint.h>

/* FOLDER/name; the text is good until 16 calls later. */
const char *scratch_path(const char *name);
/* Writes the file, replacing what was there, and returns its path. */
const char *scratch_write(const char *name, const void *data, int64_t bytes);
const char *scratch_text(const char *name, const char *text);
/* X.ds with 2- or 4-byte tokens, its .index (num_ends 0: none) and its .metadata. */
const char *scratch_shard(const char *name, int token_bytes, const uint32_t *token, int64_t tokens,
                          const uint64_t *end, int num_ends);

/* A file or folder of the shared fixtures; NULL where these are not (then the program ends with
 * SKIPPED_CODE unless it has failed). */
const char *fixture_path(const char *name);
enum { SKIPPED_CODE = 77 };

#endif
