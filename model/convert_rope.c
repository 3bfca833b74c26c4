/* RoRoPE and FreqFold: a rotation of the keys of all groups that gathers what depends on position in few
 * dimensions. Keys of frequency i are complex numbers k[g][i] + j k[g][i+D/2], one per group. Rotating the
 * groups of one frequency among each other, real and imaginary parts alike, commutes with RoPE, so the
 * logits stay as they are. FreqFold takes `freqfold` adjacent frequencies together, as if they were equal.
 * The strongest principal components of each set keep their rotation: Dr/2 pairs over all sets; the others
 * lose it. TransMLA adds 1 % of the mean diagonal to each Gram matrix before it takes eigenvectors; that
 * moves no eigenvector, and is left out here. */
#include "model/convert_parts.h"
#include "kernels/blas.h"
#include <stdlib.h>

double *rope_rotation(const dims *d, int64_t rope, int64_t freqfold, const double *key_gram)
{
    const int64_t n = d->G * d->D, half = d->D / 2, collapse = d->D / rope;
    const int64_t sets = half / freqfold, kept = freqfold / collapse, features = d->G * freqfold;
    double *u = matrix_new(n, n), *gram = matrix_new(features, features), *values = matrix_new(1, features);
    int64_t rest = rope; /* the next row without rotation */
    for (int64_t set = 0; set < sets; set++) {
        /* Feature a of this set is frequency set*freqfold + a%freqfold of group a/freqfold. */
        for (int64_t a = 0; a < features; a++)
            for (int64_t b = 0; b < features; b++) {
                const int64_t row = a / freqfold * d->D + set * freqfold + a % freqfold;
                const int64_t column = b / freqfold * d->D + set * freqfold + b % freqfold;
                gram[a * features + b] =
                    key_gram[row * n + column] + key_gram[(row + half) * n + column + half];
            }
        eigen_symmetric(features, gram, values);

        /* Component c of the set becomes a pair of rows. The first `kept` are rotary: pair set*kept+c will
         * turn with the frequency of index (set*kept+c)*collapse, which lies in this set. */
        for (int64_t c = 0; c < features; c++) {
            int64_t at;
            if (c < kept) {
                at = 2 * (set * kept + c);
            } else {
                at = rest;
                rest += 2;
            }
            for (int64_t a = 0; a < features; a++) {
                const int64_t column = a / freqfold * d->D + set * freqfold + a % freqfold;
                u[at * n + column] = gram[c * features + a];
                u[(at + 1) * n + column + half] = gram[c * features + a];
            }
        }
    }
    free(gram);
    free(values);
    return u;
}
