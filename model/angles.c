/* The angles are products of a position and a frequency in double, rounded once, as float. */
#include "model/angles.h"
#include "base/memory.h"
#include <math.h>
#include <stdlib.h>

static int64_t rotary_width(const dims *d) { return d->kind == ATTENTION_MLA ? d->Dr : d->D; }

void angles_layout(tensor *cosine, tensor *sine, const dims *d, const ops *k, int64_t positions, arena *a)
{
    *cosine = arena_tensor(a, k->real, "cosine", positions, rotary_width(d) / 2);
    *sine = arena_tensor(a, k->real, "sine", positions, rotary_width(d) / 2);
}

void angles_upload(tensor *cosine, tensor *sine, const dims *d, const ops *k)
{
    const int64_t positions = cosine->dim[0], half = cosine->dim[1];
    double *frequency = memory_new(half, sizeof *frequency, "frequencies");
    float *c = memory_new(2 * positions * half, sizeof *c, "angles"), *s = c + positions * half;
    rope_frequencies(&d->rope, 2 * half, frequency);
    for (int64_t t = 0; t < positions; t++)
        for (int64_t i = 0; i < half; i++) {
            c[t * half + i] = (float)cos((double)t * frequency[i]);
            s[t * half + i] = (float)sin((double)t * frequency[i]);
        }
    k->upload(cosine, c, k->stream);
    k->upload(sine, s, k->stream);
    free(frequency);
    free(c);
}
