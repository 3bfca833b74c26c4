/* Reads index.json of an MDS folder (MosaicML Streaming, version 2): the files, the columns of their samples,
 * and the column that holds the ids. */
#ifndef REMLA_DATA_PREPARE_MDS_INDEX_H
#define REMLA_DATA_PREPARE_MDS_INDEX_H
#include "data/prepare/import_reader.h"
#include <jansson.h>

enum { MDS_COLUMNS = 256, MDS_HASHES = 16 };

typedef struct mds_file {
    const char *name; /* NULL: there is none. Joined with the folder it fits PATH_BYTES */
    int64_t bytes;
    struct {
        const char *algorithm, *text;
    } hash[MDS_HASHES];
    int hashes;
} mds_file;

/* One entry of index.json; texts are borrowed from the index. */
typedef struct mds_shard {
    mds_file raw, zip; /* a zip is by zstd */
    int64_t samples;
    int columns, chosen;       /* the column of the ids */
    int64_t size[MDS_COLUMNS]; /* of each column in bytes; -1: every sample says */
    const char *column;        /* its name */
    id_type type;
    bool shaped;       /* ids are behind their shape */
    int64_t fixed_ids; /* in every sample; -1: that differs */
} mds_shard;

typedef struct mds_index {
    char path[PATH_BYTES];
    json_t *json;
    int64_t shards;
    int64_t samples, bytes; /* of all shards, uncompressed */
    int64_t tokens;         /* -1: not known without reading the shards */
    int token_bytes;        /* 2 or 4: what all their ids fit in */
} mds_index;

/* All entries are checked. column: empty for tokens, else input_ids. */
status mds_index_read(mds_index *index, const char *folder, const char *column, message *why);
void mds_index_free(mds_index *index);
status mds_index_shard(const mds_index *index, int64_t number, const char *column, mds_shard *out,
                       message *why);

#endif
