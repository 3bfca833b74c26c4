/* The models of bench/decode, and what a token costs in them on paper: bytes to read, operations. */
#ifndef REMLA_BENCH_DECODE_MODELS_H
#define REMLA_BENCH_DECODE_MODELS_H
#include "model/weights.h"

typedef struct decode_model {
    const char *name;
    dims shape;
    bool whole; /* a step ends with the logits */
} decode_model;

#define SMOLLM2                                                                                              \
    .L = 30, .V = 49152, .C = 576, .F = 1536, .H = 9, .tied = true, .norm_eps = 1e-5,                        \
    .rope = {.theta = 100000}
#define LLAMA2_LAYER                                                                                         \
    .L = 1, .V = 64, .C = 4096, .F = 11008, .H = 32, .tied = true, .norm_eps = 1e-5, .rope = {.theta = 10000}
#define LLAMA2_CONVERTED(numbers)                                                                            \
    {                                                                                                        \
        .kind = ATTENTION_MLA, .Dn = 128, .Dr = 64, .Dv = 128, .R = (numbers)-64, LLAMA2_LAYER               \
    }

/* An original stands before its conversions. Llama-2-7B's caches are those of TransMLA's paper: 68.75, 87.5
 * and 92.97 % smaller. */
static const decode_model decode_models[] = {
    {"smollm2-gqa", {.kind = ATTENTION_GQA, .G = 3, .D = 64, SMOLLM2}, true},
    {"smollm2-mla-128",
     {.kind = ATTENTION_MLA, .Dn = 64, .Dr = 32, .Dv = 64, .R = 96, .latent_norm = true, SMOLLM2},
     true},
    {"llama2-7b-mha", {.kind = ATTENTION_GQA, .G = 32, .D = 128, LLAMA2_LAYER}, false},
    {"llama2-7b-mla-2560", LLAMA2_CONVERTED(2560), false},
    {"llama2-7b-mla-1024", LLAMA2_CONVERTED(1024), false},
    {"llama2-7b-mla-576", LLAMA2_CONVERTED(576), false},
};
enum { DECODE_MODELS = sizeof decode_models / sizeof *decode_models };

/* Numbers that the cache keeps of a token in each layer. */
static inline double cache_numbers(const dims *d)
{
    return (double)(d->kind == ATTENTION_MLA ? d->R + d->Dr : 2 * d->G * d->D);
}

typedef struct cost {
    double bytes, flops;
} cost;

static inline cost cost_sum(cost a, cost b) { return (cost){a.bytes + b.bytes, a.flops + b.flops}; }

/* Attention of a step over the cache alone: each sequence's positions are read once, and every head
 * multiplies them as keys and as values. */
static inline cost attention_cost(const dims *d, dtype cache, int64_t batch, int64_t length)
{
    const double positions = (double)(d->L * length * batch),
                 widths = (double)(d->kind == ATTENTION_MLA ? (d->R + d->Dr) + d->R : 2 * d->D);
    return (cost){positions * cache_numbers(d) * (double)dtype_bytes(cache),
                  positions * 2 * (double)d->H * widths};
}

/* The rest of a step: every weight that multiplies is read once for all sequences. All embeddings here are
 * tied, so the embedding multiplies where there is a head. */
static inline cost weights_cost(const decode_model *x, dtype act, int64_t batch)
{
    param_table t;
    param_table_init(&t, &x->shape);
    const double numbers = (double)param_table_numel(&t) - (x->whole ? 0 : (double)(x->shape.V * x->shape.C));
    param_table_free(&t);
    return (cost){numbers * (double)dtype_bytes(act), 2 * numbers * (double)batch};
}

#endif
