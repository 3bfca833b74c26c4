/* A pack index lists the tokens of a shard that make up each of its samples. It is computed once and kept in
 * a file beside the shard, so that a sample's number means the same in every run. docs/FORMATS.md, "Packing",
 * has the rules and the bytes. The file's name tells shard, rule and length
 * (X.ds.transmla-4096-0123456789abcdef.pack): an index of other documents has another name. */
#ifndef REMLA_DATA_PACK_H
#define REMLA_DATA_PACK_H
#include "data/shards/shard.h"

/* Ways to make samples of documents. */
typedef enum packing { PACKING_CONCAT, PACKING_TRANSMLA, PACKING_BEST_FIT } packing;

/* The settings that, beside a shard's documents, decide its samples. */
typedef struct pack_rule {
    packing mode; /* PACKING_CONCAT needs no index */
    int64_t T;    /* positions of a sample */
    int64_t eos;  /* PACKING_TRANSMLA: the end-of-text token; else -1 */
} pack_rule;

typedef struct pack {
    char path[PATH_BYTES]; /* opened for each read */
    pack_rule rule;
    int64_t samples, pieces;
    uint64_t hash; /* of the file: two indexes with the same one hold the same samples */
} pack;

/* Tokens [from, from+length) of the shard. */
typedef struct pack_piece {
    int64_t from, length;
} pack_piece;

/* Opens the index of a shard in `folder` (empty: the shard's folder) and checks all of it against the shard;
 * builds and writes a missing one first. ERR_INPUT: the index is damaged, belongs to another shard or rule,
 * or cannot be written, or the shard has no sample. Processes may open the same one at the same time. */
status pack_open(pack *p, const shard *s, const pack_rule *rule, const char *folder, message *why);

/* Reads the pieces of a sample, which together with the tokens that the rule adds fit into T positions. The
 * caller frees *piece. Threads may share p. */
status pack_read(const pack *p, const shard *s, int64_t sample, pack_piece **piece, int *pieces,
                 message *why);

/* Checks the bytes of a file as pack_open does; fills p, except its path. `name` is for the message. */
status pack_check(pack *p, const char *name, const void *bytes, int64_t count, const shard *s,
                  const pack_rule *rule, message *why);

#endif
