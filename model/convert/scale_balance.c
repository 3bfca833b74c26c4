/* The scale between the factors of a converted layer is free: a latent dimension may be large and the column
 * that reads it small, or the other way round, and the product is the same. Likewise a rotary pair of the
 * key and the same pair of every query. Both factors get the same root mean square here, because Adam moves
 * all elements by about the same amount, and would destroy the smaller factor. */
#include "model/convert/pieces.h"
#include <math.h>
#include <stddef.h>

/* Elements (rows,columns) of a matrix with rows of `ld`, one part of a factor; NULL: not there. */
typedef struct part {
    double *at;
    int64_t rows, columns, ld;
} part;

static double square(part p)
{
    double sum = 0;
    for (int64_t i = 0; p.at && i < p.rows; i++)
        for (int64_t j = 0; j < p.columns; j++) sum += p.at[i * p.ld + j] * p.at[i * p.ld + j];
    return sum;
}

static void scale(part p, double by)
{
    for (int64_t i = 0; p.at && i < p.rows; i++)
        for (int64_t j = 0; j < p.columns; j++) p.at[i * p.ld + j] *= by;
}

/* Both get the geometric mean of their root mean squares; a factor of zeros stays as it is. */
static double balancing(double square_a, int64_t count_a, double square_b, int64_t count_b)
{
    const double a = square_a / (double)count_a, b = square_b / (double)count_b;
    return a > 0 && b > 0 ? pow(b / a, 0.25) : 1;
}

/* Latent dimensions: row r of `down` (rank,width) with its bias, column r of `up` (rows,rank). */
static void balance_latent(double *down, double *bias, int64_t width, double *up, int64_t rows, int64_t rank)
{
    for (int64_t r = 0; r < rank; r++) {
        const part in = {down + r * width, 1, width, width}, out = {up + r, rows, 1, rank};
        const double by = balancing(square(in), width, square(out), rows);
        scale(in, by);
        scale(out, 1 / by);
        if (bias) bias[r] *= by;
    }
}

/* A pair of rotary rows of the key, and the same pair of every head's query: a rotation mixes the two. */
static void balance_rotary(mla_layer *l, const dims *d)
{
    double *q = d->Rq ? l->wq_b : l->wq, *q_bias = d->Rq ? l->bq_b : l->bq;
    const int64_t width = d->Rq ? d->Rq : d->C, head = d->Dn + d->Dr;
    for (int64_t pair = 0; pair < d->Dr; pair += 2) {
        const part key = {l->wkv_a + (d->R + pair) * d->C, 2, d->C, d->C};
        double queries = 0;
        for (int64_t h = 0; h < d->H; h++)
            queries += square((part){q + (h * head + d->Dn + pair) * width, 2, width, width});
        const double by = balancing(square(key), 2 * d->C, queries, 2 * width * d->H);
        scale(key, by);
        scale((part){l->bkv_a ? l->bkv_a + d->R + pair : NULL, 2, 1, 1}, by);
        for (int64_t h = 0; h < d->H; h++) {
            const int64_t row = h * head + d->Dn + pair;
            scale((part){q + row * width, 2, width, width}, 1 / by);
            scale((part){q_bias ? q_bias + row : NULL, 2, 1, 1}, 1 / by);
        }
    }
}

void mla_layer_balance(mla_layer *l, const dims *d)
{
    balance_latent(l->wkv_a, l->bkv_a, d->C, l->wkv_b, d->H * (d->Dn + d->Dv), d->R);
    if (d->Rq) balance_latent(l->wq_a, NULL, d->C, l->wq_b, d->H * (d->Dn + d->Dr), d->Rq);
    balance_rotary(l, d);
}
