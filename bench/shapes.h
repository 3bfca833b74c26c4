/* Shapes of the models whose speed is measured. */
#ifndef REMLA_BENCH_SHAPES_H
#define REMLA_BENCH_SHAPES_H
#include "model/dims.h"

/* Llama-2-7B as TransMLA converts it. */
static const dims llama2_7b = {.kind = ATTENTION_MLA,
                               .L = 32,
                               .V = 32000,
                               .C = 4096,
                               .F = 11008,
                               .H = 32,
                               .Dn = 128,
                               .Dr = 64,
                               .Dv = 128,
                               .R = 512,
                               .norm_eps = 1e-5,
                               .rope = {.theta = 10000}};

#endif
