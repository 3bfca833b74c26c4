/* Hashes by the names that Python's hashlib and xxhash give them. */
#ifndef REMLA_DATA_PREPARE_NAMED_HASH_H
#define REMLA_DATA_PREPARE_NAMED_HASH_H
#include <stddef.h>

enum { NAMED_HASH_TEXT = 129 };

typedef struct named_hash named_hash; /* running; owned by the caller from start to finish */

named_hash *named_hash_start(const char *name); /* NULL: this hash is not known here */
void named_hash_update(named_hash *h, const void *data, size_t bytes);
/* Lower-case hexadecimal, the most significant byte first. Frees h. */
void named_hash_finish(named_hash *h, char out[NAMED_HASH_TEXT]);

#endif
