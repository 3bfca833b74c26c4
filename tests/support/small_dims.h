/* Initialisers of shapes so small that every weight's gradient can be checked. */
#ifndef REMLA_TESTS_SUPPORT_SMALL_DIMS_H
#define REMLA_TESTS_SUPPORT_SMALL_DIMS_H
#include "model/dims.h"

/* clang-format off */
#define SMALL_DIMS .L = 2, .V = 11, .C = 8, .F = 10, .norm_eps = 1e-5, .rope = {.theta = 100}
#define SMALL_GQA { .kind = ATTENTION_GQA, SMALL_DIMS, .H = 4, .G = 2, .D = 4 }
#define SMALL_MLA { .kind = ATTENTION_MLA, SMALL_DIMS, .H = 2, .Dn = 4, .Dr = 2, .Dv = 3, .R = 5 }
/* clang-format on */

#endif
