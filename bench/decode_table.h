/* The table of bench/decode: what it holds, and a row of it. */
#ifndef REMLA_BENCH_DECODE_TABLE_H
#define REMLA_BENCH_DECODE_TABLE_H
#include "base/device.h"
#include "base/machine.h"
#include "bench/decode_models.h"
#include "kernels/kernels.h"
#include <math.h>
#include <stdio.h>

typedef struct bench {
    const ops *k;
    tensor cold;                   /* half a GiB: far more than a processor's caches hold */
    float *logits;                 /* (MOST_SEQUENCES, most V) */
    double read_speed, peak_flops; /* of this machine, bytes and operations a second */
    const char *only;
    double seconds, gib;
    int64_t longest, sequences;
} bench;

/* Seconds; NaN: does not fit. */
typedef struct point {
    double step, attention;
} point;

static inline void decode_print_head(const bench *b)
{
    printf("# %s; memory is read at %.1f GB/s; %.0f GFLOP/s of multiply-adds\n",
           b->k->device ? device_text(b->k->device) : machine_text(), b->read_speed / 1e9,
           b->peak_flops / 1e9);
    printf("model,numbers_a_token,cache,batch,length,tok_s,weight_mb_a_token,cache_mb_a_token");
    for (int what = 0; what < 2; what++) {
        const char *of = what == 0 ? "step" : "attention";
        printf(",%s_ms,%s_gb_s,%s_share_of_read_speed,%s_share_of_limit,%s_bytes_ratio,%s_gain,%s_reached",
               of, of, of, of, of, of, of);
    }
    printf("\n");
}

/* A step or its attention, beside the original's. */
static inline void decode_print_part(const bench *b, cost mine, cost theirs, double seconds,
                                     double their_seconds)
{
    const double speed = mine.bytes / seconds,
                 limit = fmax(mine.bytes / b->read_speed, mine.flops / b->peak_flops),
                 ratio = theirs.bytes / mine.bytes, gain = their_seconds / seconds;
    printf(",%.4g,%.4g,%.3f,%.3f,%.4g", seconds * 1e3, speed / 1e9, speed / b->read_speed, limit / seconds,
           ratio);
    if (isnan(gain))
        printf(",,");
    else
        printf(",%.4g,%.3f", gain, gain / ratio);
}

static inline void decode_print_point(const bench *b, const decode_model *s, const decode_model *original,
                                      dtype cache, int64_t batch, int64_t length, point mine, point theirs)
{
    const cost matrices = weights_cost(s, b->k->act, batch),
               attention = attention_cost(&s->shape, cache, batch, length),
               their_attention = attention_cost(&original->shape, cache, batch, length),
               their_step = cost_sum(weights_cost(original, b->k->act, batch), their_attention);
    printf("%s,%.0f,%s,%lld,%lld,%.5g,%.5g,%.5g", s->name, cache_numbers(&s->shape), dtype_name(cache),
           (long long)batch, (long long)length, (double)batch / mine.step,
           matrices.bytes / (double)batch / 1e6, attention.bytes / (double)batch / 1e6);
    decode_print_part(b, cost_sum(matrices, attention), their_step, mine.step, theirs.step);
    decode_print_part(b, attention, their_attention, mine.attention, theirs.attention);
    printf("\n");
    fflush(stdout);
}

#endif
