/* Private to data/prepare/tokenize.c: the first half of the work. Every rank tokenizes its pieces of the
 * text, a shard each, with all its threads. */
#ifndef REMLA_DATA_PREPARE_TOKENIZE_PIECES_H
#define REMLA_DATA_PREPARE_TOKENIZE_PIECES_H
#include "data/prepare/text_pieces.h"
#include "data/prepare/tokenize.h"

typedef struct piece_work {
    const tokenize_job *job;
    const shard_identity *identity;
    const text_pieces *text;
    const char *folder; /* of the pieces' shards */
} piece_work;

/* Makes the path of a piece's shard. A piece without tokens has no shard. */
char *tokenize_piece_path(char *out, const piece_work *w, const text_piece *p);

/* Makes the pieces of this rank that are not there yet, and counts its tokens in r->made, and documents
 * without text in r->empty. A rank that fails leaves a file in the folder; the others see it and return OK
 * early. */
status tokenize_pieces(const piece_work *w, const comm *c, tokenize_result *r, message *why);
/* Removes that file. */
status tokenize_pieces_clear_failure(const char *folder, message *why);

#endif
