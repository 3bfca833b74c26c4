/* Plans which tokens of a shard make up each sample: two ways of packing documents, as pure functions of the
 * ends of documents. docs/FORMATS.md, "Packing", is their definition. */
#ifndef REMLA_DATA_PACK_PLAN_H
#define REMLA_DATA_PACK_PLAN_H
#include <stdint.h>

/* Sample i is the pieces first[i] to first[i+1]-1, in this order; piece j is the tokens from[j] to
 * from[j]+length[j]-1 of the shard. first has an entry more than there are samples. */
typedef struct pack_plan {
    int64_t samples, pieces;
    uint64_t *first, *from;
    uint32_t *length;
} pack_plan;
void pack_plan_free(pack_plan *p);

/* Packs as TransMLA does: the text of a document in chunks of T-1 tokens, each of which takes a position more
 * for the end-of-text token that follows it; next-fit inside batches of 1,024 documents. ends[d]: 1 when
 * document d's last token is the end-of-text token, which is not part of its text, else 0. T is 2 or more. */
void pack_plan_transmla(pack_plan *out, const int64_t *document_end, int64_t documents, const uint8_t *ends,
                        int64_t T);
/* Packs by best fit. A document of n tokens is n-1 inputs with a target each: pieces of T of them, and a
 * rest. Rests go into samples best-fit decreasing, 8,192 documents at a time. */
void pack_plan_best_fit(pack_plan *out, const int64_t *document_end, int64_t documents, int64_t T);

#endif
