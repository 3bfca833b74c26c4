/* Tokenizes text files into a folder of shards. The documents keep their order: files as they are named,
 * documents as they lie in the files. docs/FORMATS.md, "From text", describes the output; its bytes depend on
 * the text, the tokenizer and the settings, not on the number of ranks or threads. */
#ifndef REMLA_DATA_PREPARE_TOKENIZE_H
#define REMLA_DATA_PREPARE_TOKENIZE_H
#include "base/comm.h"
#include "data/shards/shard_writer.h"
#include "data/tokenizer/tokenizer.h"

typedef struct tokenize_job {
    const char *const *source; /* files, shell patterns, folders */
    int sources;
    const char *column; /* of JSON lines */
    const tokenizer *tokenizer;
    int64_t eos;          /* the id that ends every document; -1: none */
    const char *out;      /* the folder to make; no slash at its end */
    int64_t shard_tokens; /* about: data/shards/shard_join.h */
    bool compress;        /* X.ds.zst, not X.ds */
    int threads;          /* of this rank */
} tokenize_job;

typedef struct tokenize_result {
    int64_t files, bytes; /* of text, as it lies on the disk */
    int64_t shards, documents, tokens;
    int64_t made;  /* tokens of this run: not those that an earlier one had left */
    int64_t empty; /* documents of this run without text: they are left out */
} tokenize_result;

/* Works in OUT.part, which becomes OUT at the end. A signal (base/stop.h) ends in STOPPED; after that, a
 * failure or a kill, the same job finds in OUT.part the pieces that were whole and goes on. MPI: collective;
 * the ranks share the folders. */
status tokenize_text(const tokenize_job *j, const comm *c, tokenize_result *r, message *why);

#endif
