/* Every rank hashes its own copy, a chunk at a time in host memory. Between ranks only the hashes travel, and
 * units that a pass would gather, too. */
#include "train/weights_hash.h"
#include "base/hash.h"
#include "base/memory.h"
#include <inttypes.h>
#include <stdlib.h>

enum { CHUNK = 1 << 20 }; /* weights that are in host memory at a time */

static uint64_t hash_of(const model *m)
{
    float *chunk = memory_new(CHUNK, sizeof *chunk, "%d weights on the host", CHUNK);
    hash_state *hash = hash_start();
    for (int u = 0; u < m->table.num_units; u++) {
        const tensor flat = units_acquire(&m->units, u);
        const int64_t numel = m->table.unit_numel[u]; /* without padding, which depends on the ranks */
        for (int64_t from = 0; from < numel; from += CHUNK) {
            const int64_t count = numel - from < CHUNK ? numel - from : CHUNK;
            const tensor rows = tensor_rows(&flat, from, count);
            m->k->download(chunk, &rows, m->k->stream);
            hash_update(hash, chunk, (int64_t)sizeof *chunk * count);
        }
        units_release(&m->units, u);
    }
    free(chunk);
    return hash_finish(hash);
}

status weights_hash(const model *m, const comm *c, uint64_t *hash, message *why)
{
    uint64_t first = *hash = hash_of(m);
    comm_broadcast(c, &first, sizeof first, 0);
    return comm_agree(c,
                      first == *hash ? OK
                                     : fail(why, ERR_DEVICE,
                                            "the weights of rank %d (%016" PRIx64
                                            ") are not those of rank 0 (%016" PRIx64
                                            "): a fault of memory or network; go on from the last checkpoint",
                                            c->rank, *hash, first),
                      why);
}
