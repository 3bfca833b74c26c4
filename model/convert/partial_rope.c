/* RoRoPE and FreqFold: a rotation of the keys of all groups that gathers what depends on position in few
 * dimensions. Keys of frequency i are complex numbers k[g][i] + j k[g][i+D/2], one for each of G groups.
 * Mixing the groups of one frequency by a rotation, real and imaginary parts alike, commutes with RoPE, so
 * the logits stay as they are. The axes are eigenvectors of these numbers' Gram matrix: the first component
 * then has as much of the keys' energy as one can have. FreqFold takes sets of adjacent frequencies together,
 * as if they were equal. The strongest components of each set keep their rotation, Dr/2 pairs over all sets;
 * the others lose it. TransMLA adds 1 % of the mean diagonal to each Gram matrix before it takes
 * eigenvectors; that moves no eigenvector, and is left out here. */
#include "model/convert/pieces.h"
#include "base/memory.h"
#include <stdlib.h>

void rope_set_gram(double *out, const dims *d, rope_set set, const double *gram)
{
    const int64_t n = d->G * d->D, half = d->D / 2, features = d->G * set.count;
    for (int64_t a = 0; a < features; a++)
        for (int64_t b = 0; b < features; b++) {
            const int64_t row = rope_feature(d, set, a), column = rope_feature(d, set, b);
            out[a * features + b] = gram[row * n + column] + gram[(row + half) * n + column + half];
        }
}

rope_division rope_uniform(const dims *d, int64_t freqfold)
{
    rope_division division = {.sets = d->D / 2 / freqfold};
    division.set =
        memory_new(division.sets, sizeof *division.set, "%lld sets of frequencies", (long long)division.sets);
    for (int64_t i = 0; i < division.sets; i++) division.set[i] = (rope_set){i * freqfold, freqfold};
    return division;
}

void rope_division_free(rope_division *division)
{
    free(division->set);
    *division = (rope_division){0};
}

/* The first of the two rows that component c of a set becomes. The rotary ones come first: pair j turns with
 * the frequency of index j*collapse, which lies in the set. */
static int64_t row_of(const dims *d, int64_t rope, rope_set set, int64_t c)
{
    const int64_t before = set.from / (d->D / rope), kept = rope_kept(d, rope, set);
    return c < kept ? 2 * (before + c) : rope + 2 * (d->G * set.from - before + c - kept);
}

static void rotate_set(double *u, const dims *d, int64_t rope, rope_set set, const double *key_gram)
{
    const int64_t n = d->G * d->D, half = d->D / 2, features = d->G * set.count;
    double *gram = matrix_new(features, features), *values = matrix_new(1, features);
    rope_set_gram(gram, d, set, key_gram);
    blas_eigen_symmetric(features, gram, values);
    for (int64_t c = 0; c < features; c++) {
        const int64_t at = row_of(d, rope, set, c);
        for (int64_t a = 0; a < features; a++) {
            const int64_t column = rope_feature(d, set, a);
            u[at * n + column] = u[(at + 1) * n + column + half] = gram[c * features + a];
        }
    }
    free(gram);
    free(values);
}

double *rope_rotation(const dims *d, int64_t rope, const rope_division *division, const double *key_gram)
{
    double *u = matrix_new(d->G * d->D, d->G * d->D);
    for (int64_t i = 0; i < division->sets; i++) rotate_set(u, d, rope, division->set[i], key_gram);
    return u;
}
