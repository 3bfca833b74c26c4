/* AdamW in one pass over weight, master weight, moments and gradient, in float, with the operations of
 * adamw.c. Per element 16 bytes are read and 12 written, and those of `weight` where it is not the master
 * itself (30 in bf16, 28 in f32). A thread takes 4 elements, 16 bytes of each float tensor, and the grid is
 * as long as the tensors. */
#include "kernels/cuda/kernel.h"
#include <math.h>

enum { THREADS = 256, EACH = 4 };

/* What depends on the step alone. */
typedef struct coefficients {
    float kept, step_size, root2, eps, beta2, part1, part2;
} coefficients;

static coefficients coefficients_of(const adamw_scalars *a)
{
    const double correction1 = 1 - pow(a->beta1, (double)a->step),
                 correction2 = 1 - pow(a->beta2, (double)a->step);
    return {(float)(1 - a->rate * a->decay),
            (float)(a->rate / correction1),
            (float)sqrt(correction2),
            (float)a->eps,
            (float)a->beta2,
            (float)(1 - a->beta1),
            (float)(1 - a->beta2)};
}

typedef struct tensors {
    act *weight; /* NULL: the master is all */
    float *master, *m, *v;
    const float *grad;
} tensors;

template <int V>
static __global__ void __launch_bounds__(THREADS)
    update(tensors t, const double *factor, coefficients k, int64_t n)
{
    const int64_t i = thread_index() * V;
    const double exact_scale = *factor;
    if (i >= n || exact_scale != exact_scale) return;
    const float scale = (float)exact_scale;
    float w[V], m[V], v[V], g[V];
    load(w, t.master + i);
    load(m, t.m + i);
    load(v, t.v + i);
    load(g, t.grad + i);
    for (int j = 0; j < V; j++) {
        g[j] *= scale;
        m[j] += k.part1 * (g[j] - m[j]);
        v[j] = k.beta2 * v[j] + k.part2 * (g[j] * g[j]);
        w[j] = w[j] * k.kept - k.step_size * (m[j] / (sqrtf(v[j]) / k.root2 + k.eps));
    }
    store(t.master + i, w);
    store(t.m + i, m);
    store(t.v + i, v);
    if (t.weight) store(t.weight + i, w);
}

void CUDA(adamw_update)(tensor *weight, tensor *master, tensor *m, tensor *v, const tensor *grad,
                        const tensor *factor, const adamw_scalars *a, stream *s)
{
    const tensor *real[] = {master, m, v, grad};
    for (int i = 0; i < 4; i++) {
        tensor_require_shape(__func__, real[i], F32, weight->rank, weight->dim);
        REQUIRE_CONTIGUOUS(real[i]);
    }
    tensor_require_shape(__func__, weight, ACT_TYPE, weight->rank, weight->dim);
    REQUIRE_CONTIGUOUS(weight);
    REQUIRE_SHAPE(factor, F64, 1);
    REQUIRE(a->step >= 1, "step %lld, expected 1 or more", (long long)a->step);
    const coefficients k = coefficients_of(a);
    const int64_t n = tensor_numel(weight);
    tensors t = {weight->data == master->data ? NULL : data<act>(weight), data<float>(master), data<float>(m),
                 data<float>(v), data<float>(grad)};
    const int64_t whole = in_vectors(n, EACH, aligned(t.weight, t.master, t.m, t.v, t.grad));
    LAUNCH(update<EACH>, blocks_for(whole / EACH, THREADS), THREADS, 0, s, t, data<double>(factor), k, whole);
    t = {t.weight ? t.weight + whole : NULL, t.master + whole, t.m + whole, t.v + whole, t.grad + whole};
    LAUNCH(update<1>, blocks_for(n - whole, THREADS), THREADS, 0, s, t, data<double>(factor), k, n - whole);
}
