/* Private to model/convert*.c: ridge regression of the output projection towards the original's residual
 * stream, from sums over tokens. */
#ifndef REMLA_MODEL_CONVERT_REFIT_H
#define REMLA_MODEL_CONVERT_REFIT_H
#include "base/comm.h"
#include <stdint.h>

/* Text is cut into so many parts; each is held out once to choose the strength. */
enum { REFIT_FOLDS = 4 };

/* X (tokens,width): the heads' outputs; Y (tokens,C): what the residual stream lacks. */
typedef struct refit {
    int64_t width, C;
    double *gram[REFIT_FOLDS];  /* (width,width) X^T X */
    double *cross[REFIT_FOLDS]; /* (width,C) X^T Y */
    double sums[REFIT_FOLDS][2]; /* |Y|^2, tokens */
} refit;

typedef struct refit_result {
    double *delta;                        /* (C,width) what o_proj gains; owned */
    double ridge;                         /* strength, as a share of the mean diagonal of X^T X */
    double before, after, held_out;       /* |Y|^2, |Y - X delta^T|^2 over all text; the latter with each part
                                             fitted without itself */
} refit_result;

void refit_init(refit *r, int64_t width, int64_t C);
void refit_free(refit *r);
void refit_clear(refit *r);
void refit_add(refit *r, int fold, const double *x, const double *y, int64_t tokens);
/* Sums over ranks; collective. */
void refit_sum(refit *r, const comm *c);
refit_result refit_solve(const refit *r);

#endif
