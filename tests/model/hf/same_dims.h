/* Whether two shapes are the same model's. What the other kind of attention has may differ: dims of a
 * converted model keep the sizes of the GQA model that they were made from. */
#ifndef REMLA_TESTS_SAME_DIMS_H
#define REMLA_TESTS_SAME_DIMS_H
#include "model/dims.h"

static inline bool same_attention(const dims *a, const dims *b)
{
    if (a->kind == ATTENTION_GQA) return a->G == b->G && a->D == b->D && a->v_bias == b->v_bias;
    return a->Dn == b->Dn && a->Dr == b->Dr && a->Dv == b->Dv && a->R == b->R && a->Rq == b->Rq &&
           a->latent_norm == b->latent_norm && a->q_a_bias == b->q_a_bias && a->o_bias == b->o_bias;
}

static inline bool same_dims(const dims *a, const dims *b)
{
    return a->kind == b->kind && same_attention(a, b) && a->L == b->L && a->V == b->V && a->C == b->C &&
           a->F == b->F && a->H == b->H && a->q_bias == b->q_bias && a->k_bias == b->k_bias &&
           a->tied == b->tied && a->norm_eps == b->norm_eps && a->window == b->window &&
           a->rope.theta == b->rope.theta && a->rope.llama3 == b->rope.llama3 &&
           a->rope.factor == b->rope.factor && a->rope.low_freq_factor == b->rope.low_freq_factor &&
           a->rope.high_freq_factor == b->rope.high_freq_factor &&
           a->rope.original_max_position == b->rope.original_max_position;
}

#endif
