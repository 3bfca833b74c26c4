/* Private to model/convert/: ridge regression of the output projection, from sums over tokens. */
#ifndef REMLA_MODEL_CONVERT_REFIT_H
#define REMLA_MODEL_CONVERT_REFIT_H
#include "base/comm.h"
#include <stdint.h>

/* X (tokens,width): the heads' outputs; Y (tokens,C): target minus what o_proj makes of them. */
typedef struct refit {
    int64_t width, C;
    double *gram;  /* (width,width) X^T X */
    double *cross; /* (width,C) X^T Y */
    double square; /* |Y|^2 */
} refit;

typedef struct refit_result {
    double *delta; /* (C,width) what o_proj gains; the caller frees */
    double after;  /* |Y - X delta^T|^2 */
} refit_result;

void refit_init(refit *r, int64_t width, int64_t C);
void refit_free(refit *r);
void refit_clear(refit *r);
void refit_add(refit *r, const double *x, const double *y, int64_t tokens);
void refit_sum(refit *r, const comm *c); /* over ranks; collective */
refit_result refit_solve(const refit *r);

#endif
