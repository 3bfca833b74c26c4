/* Reads token files of other programs as a stream of ids with document ends: datatrove's shards, llm.c's
 * .bin, Megatron's .bin with .idx, raw ids as nanoGPT writes them, folders of MosaicML Streaming (MDS).
 * Memory is bounded whatever the files hold, and every number in them is checked. docs/FORMATS.md,
 * "Importing". */
#ifndef REMLA_DATA_PREPARE_IMPORT_H
#define REMLA_DATA_PREPARE_IMPORT_H
#include "data/shards/shard_writer.h"
#include "base/file.h"

typedef enum import_format {
    IMPORT_AUTO,
    IMPORT_DATATROVE,
    IMPORT_LLMC,
    IMPORT_MEGATRON,
    IMPORT_NANOGPT,
    IMPORT_MDS
} import_format;

/* No model has as many tokens; 2-byte ids read as 4-byte ones nearly always are beyond it. */
enum { IMPORT_VOCABULARY = 1 << 24 };

typedef struct import_settings {
    import_format format;
    int token_bytes;    /* of raw ids: 2 or 4; 0: not given */
    int64_t vocabulary; /* ids are below it, at most 2^31; 0: not known, then below IMPORT_VOCABULARY */
    int64_t eos;        /* ends documents where the source does not say; -1: not given */
    bool blocks;        /* of MDS: samples are pieces of one stream, which eos cuts; false: documents */
    const char *column; /* of MDS; empty: tokens, else input_ids */
} import_settings;

typedef struct import_source {
    char path[PATH_BYTES];
    const char *format;        /* the word of import.format */
    char tokenizer[128];       /* as the source names it; empty: it does not */
    int token_bytes;           /* 2 or 4: what the ids of this source fit in */
    int64_t tokens, documents; /* -1: not known before all is read */
    bool keeps_documents;      /* the source says where they end */
    int64_t bytes, done;       /* of its content, for a progress line */
    int64_t eos, eos_seen;     /* how often it was in what import_step handed on */
    shard_identity known;      /* of the ids, from the header of a shard of this program; else unknown */
    const struct import_reader *reader; /* data/prepare/import_reader.h */
    void *state;
} import_source;

/* ERR_USAGE: a setting that this source needs is missing. On failure nothing is open. */
status import_open(import_source *s, const char *path, const import_settings *settings, message *why);
void import_close(import_source *s);
/* Reads up to `capacity` ids of one document; *ends: the document ends behind them. At the end of the source
 * *count is 0 and *ends false. An id outside the vocabulary is an ERR_INPUT that gives its place. */
status import_next(import_source *s, uint32_t *ids, int64_t capacity, int64_t *count, bool *ends,
                   message *why);
/* Hands the next ids to the writer, with document ends from the source or found by eos. *more is false when
 * there were none. */
status import_step(import_source *s, shard_writer *w, bool *more, message *why);

#endif
