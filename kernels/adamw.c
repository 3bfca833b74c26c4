/* AdamW in one pass over weight, moments and gradient. The operations are PyTorch's (torch/optim/adamw.py,
 * one tensor at a time), so that curves can be compared; what depends on the step alone is computed once,
 * in double. */
#include "kernels/cpu/cpu.h"

enum {
    BLOCK = 4096
}; /* fixed, so that vector and leftover elements are the same ones with any number of threads */

static void update(real *weight, real *master, real *m, real *v, const real *grad, int64_t n, double factor,
                   const adamw_scalars *a)
{
    const double correction1 = 1 - pow(a->beta1, (double)a->step),
                 correction2 = 1 - pow(a->beta2, (double)a->step);
    const real scale = (real)factor, kept = (real)(1 - a->rate * a->decay), eps = (real)a->eps;
    const real beta2 = (real)a->beta2, part1 = (real)(1 - a->beta1), part2 = (real)(1 - a->beta2);
    const real step_size = (real)(a->rate / correction1), root2 = (real)sqrt(correction2);
#pragma omp parallel for schedule(static)
    for (int64_t from = 0; from < n; from += BLOCK) {
        const int64_t to = n - from < BLOCK ? n : from + BLOCK;
#pragma omp simd
        for (int64_t i = from; i < to; i++) {
            const real g = grad[i] * scale;
            const real first = m[i] + part1 * (g - m[i]); /* beta1 m + (1 - beta1) g, as lerp_ computes it */
            const real second = beta2 * v[i] + part2 * (g * g);
            const real updated = master[i] * kept - step_size * (first / (REAL(sqrt)(second) / root2 + eps));
            weight[i] = master[i] = updated; /* one number, or two of the same type */
            m[i] = first;
            v[i] = second;
        }
    }
}

void CPU(adamw_update)(tensor *weight, tensor *master, tensor *m, tensor *v, const tensor *grad,
                       const tensor *factor, const adamw_scalars *a, stream *s)
{
    (void)s;
    const tensor *all[] = {weight, master, m, v, grad};
    for (int i = 0; i < 5; i++) {
        tensor_require_shape(__func__, all[i], REAL_TYPE, weight->rank, weight->dim);
        REQUIRE_CONTIGUOUS(all[i]);
    }
    REQUIRE_SHAPE(factor, F64, 1);
    REQUIRE(a->step >= 1, "step %lld, expected 1 or more", (long long)a->step);
    const double scale = *(const double *)factor->data;
    if (isnan(scale)) return;
    update(weight->data, master->data, m->data, v->data, grad->data, tensor_numel(weight), scale, a);
}
