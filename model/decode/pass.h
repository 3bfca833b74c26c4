/* Private to model/decode: the memory of a decoder, and what a pass over it is made of. */
#ifndef REMLA_MODEL_DECODE_PASS_H
#define REMLA_MODEL_DECODE_PASS_H
#include "model/decode/decoder.h"
#include "model/decode/pages.h"
#include "model/parts.h"

/* Holds what the rows of a pass are computed in: laid out for settings.rows of them, seen as the N of a pass
 * (pass_rows_first). What the model does not need has rank 0. It holds tensors alone. */
typedef struct pass_rows {
    tensor x;            /* (N,C) the residual stream */
    tensor h;            /* (N,C) a norm's output */
    tensor delta;        /* (N,C) what a sub-layer adds */
    tensor q;            /* (N,H*(Dn+Dr)) or (N,H*D) */
    tensor q_latent;     /* MLA with Rq: (N,Rq) */
    tensor kv_a;         /* MLA: (N,R+Dr) the latent, then the rotary key */
    tensor k, v;         /* GQA: (N,G*D) */
    tensor latent_heads; /* MLA: (N,H*R) queries in the latent space, then what attention gives there */
    tensor latent_q;     /* MLA: (N,H*(R+Dr)) those queries, the rotary part beside them */
    tensor heads;        /* (N,H*Dv) output of attention before o_proj */
    tensor gate, up;     /* (N,F) */
    tensor act;          /* (N,F) */
    tensor rstd;         /* (N) of all norms; nobody reads it */
    tensor hidden;       /* (N,C) behind the final norm */
} pass_rows;

/* A span whose keys and values are expanded: rows from..from+r.N-1 of the pass. */
typedef struct expanded_span {
    int64_t from;
    ragged r;     /* of this span alone, over expanded keys, where position p is row p */
    tensor slots; /* (length) i32: rows of the cache in which the sequence's positions lie */
} expanded_span;

/* What a pass computes: first the rows of spans that attend over the cache itself, then expanded spans. */
typedef struct pass {
    int64_t N;
    tensor tokens;           /* (N) i32 */
    tensor position;         /* (1,N) i32 */
    tensor slot;             /* (N) i32: rows of the cache in which the rows' own positions lie */
    ragged r;                /* of the first r.N rows */
    expanded_span *expanded; /* (num_expanded) */
    int num_expanded;
    tensor copy_to, copy_from; /* (num_copied) i32: rows of the cache that are copied before it is written */
    int64_t num_copied;
    int32_t *row; /* (N) which of these rows the caller's row is, who counts in the order of the spans */
} pass;

struct decoder_parts {
    pages pages;
    page_copy *copy; /* (sequences) of the spans of a pass */
    int64_t *seen;   /* (sequences) the number of the pass in which each was last */
    int64_t num_passes;

    cached *k, *v; /* (L) MLA: the latent behind its norm and the rotary key are in k; nothing is in v */
    tensor cosine, sine; /* (longest,width/2) */

    pass_rows rows;
    tensor scratch; /* of attention over the cache */

    /* With settings.materialise, for MLA: keys and values of one sequence, and pieces on their way there. */
    cached keys, values;      /* H*(Dn+Dr) and H*Dv wide; row p is position p */
    tensor piece, piece_nope; /* (EXPANDED_ROWS,R+Dr), (EXPANDED_ROWS,H*Dn) */

    pass now;       /* the last pass */
    tensor numbers; /* i32: all that is uploaded for a pass, in one piece; the tensors of `now` are views */
    int32_t *host_numbers;
    int64_t num_numbers; /* used */

    tensor picks, targets; /* (rows) i32: rows that the head looks at */
    tensor picked;         /* (rows,C) their hidden states */
    tensor scores;         /* (rows,3) f64 */
    tensor logits;         /* (some rows,V) real */
    int32_t *host_picks;   /* (rows) */
    double *host_scores;   /* (rows,3) */
    arena memory;
};

enum { EXPANDED_ROWS = 256 }; /* positions that are expanded at a time */

/* The first N rows of everything. */
pass_rows pass_rows_first(const pass_rows *rows, int64_t N);
/* (N,H*D) seen as (N,H,D); rows may be strided. */
tensor pass_heads(const tensor *t, int64_t heads);
/* (N,H,D) seen as (1,N,H,D), as ops on sequences want it. */
tensor pass_as_sequence(const tensor *t);

/* Returns whether this span's keys and values are expanded. */
static inline bool pass_expands(const decoder *x, const span *s)
{
    return s->materialised && x->m->d.kind == ATTENTION_MLA;
}

/* Returns the most numbers that a pass uploads. */
int64_t pass_numbers(const dims *d, const decoder_settings *s);
/* Appends the spans' positions to their sequences, for which there must be pages, and uploads what the pass
 * is: x->parts->now. */
void pass_plan(decoder *x, const span *spans, int count);

/* Attention of a layer, r.h to r.heads; writes the rows' keys and values to the cache. */
void pass_mla(decoder *x, const layer_weights *w, int layer, pass_rows *r);
void pass_gqa(decoder *x, const layer_weights *w, int layer, pass_rows *r);

#endif
