/* XXH3-64, the hash that finds damage: of files while they are written or read, of checkpoints' weights, of
 * what data are. base/digest.h has the two of dataset.json. */
#ifndef REMLA_BASE_HASH_H
#define REMLA_BASE_HASH_H
#include <stdbool.h>
#include <stdint.h>

/* A running hash; the caller owns it until hash_finish. NULL stands for none: hash_update does nothing, and
 * value and finish give 0. */
typedef struct XXH3_state_s hash_state;

hash_state *hash_start(void);
void hash_update(hash_state *h, const void *data, int64_t bytes);
uint64_t hash_value(const hash_state *h); /* of what has come so far */
uint64_t hash_finish(hash_state *h);      /* the value; frees h */

/* As text: 16 lower-case hexadecimal digits, as all files have it. hash_parse takes nothing else. */
enum { HASH_TEXT = 17 };
void hash_text(char out[HASH_TEXT], uint64_t hash);
bool hash_parse(const char *text, uint64_t *hash);

#endif
