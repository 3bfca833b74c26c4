/* The vocabulary head and the loss, a chunk of rows at a time: logits of the chunk by one product, softmax
 * and gradient in place, two more products for the gradients. Only the chunk's logits exist. */
#include "kernels/cpu/head.h"
#include "kernels/cpu/vmath.h"
#include <string.h>

/* Of one row of V logits: returns its loss; with `gradient` set the row becomes softmax - onehot(target). */
static real row_loss(real *row, int64_t V, int32_t target, bool gradient)
{
    /* Sums of pieces in `real`, over pieces in double: V is large. A piece also stays in the nearest
     * cache. */
    enum { PIECE = 1024 };
    if (target < 0) {
        if (gradient) memset(row, 0, (size_t)V * sizeof *row);
        return 0;
    }
    const real highest = highest_of(row, V), logit = row[target] - highest;
    double sum = 0;
    for (int64_t from = 0; from < V; from += PIECE) {
        const int64_t to = V - from < PIECE ? V : from + PIECE;
        real part = 0;
#pragma omp simd reduction(+ : part)
        for (int64_t v = from; v < to; v++) {
            row[v] = real_exp(row[v] - highest);
            part += row[v];
        }
        sum += (double)part;
    }
    if (gradient) {
        const real inverse = (real)(1 / sum);
        for (int64_t v = 0; v < V; v++) row[v] *= inverse;
        row[target] -= 1;
    }
    return (real)log(sum) - logit;
}

static void head_loss(const char *function, tensor *dhidden, tensor *dweight, tensor *loss,
                      const tensor *hidden, const tensor *weight, const tensor *targets, tensor *scratch)
{
    const int64_t N = hidden->dim[0], C = hidden->dim[1], V = weight->dim[0], chunk = scratch->dim[0];
    const bool gradient = dhidden != NULL;
    require_head(function, hidden, weight, targets, scratch);
    tensor_require_shape(function, loss, REAL_TYPE, 1, (const int64_t[]){N});
    REQUIRE_CONTIGUOUS(hidden);
    REQUIRE_CONTIGUOUS(weight);
    REQUIRE_CONTIGUOUS(loss);
    if (gradient) {
        tensor_require_shape(function, dhidden, REAL_TYPE, 2, (const int64_t[]){N, C});
        tensor_require_shape(function, dweight, REAL_TYPE, 2, (const int64_t[]){V, C});
        REQUIRE_CONTIGUOUS(dhidden);
        REQUIRE_CONTIGUOUS(dweight);
    }

    const int32_t *target = targets->data;
    real *logits = scratch->data, *losses = loss->data;
    for (int64_t from = 0; from < N; from += chunk) {
        const int64_t rows = N - from < chunk ? N - from : chunk;
        const real *inp = (const real *)hidden->data + from * C;
        gemm(false, true, rows, V, C, 1, inp, C, weight->data, C, 0, logits, V);
#pragma omp parallel for
        for (int64_t n = 0; n < rows; n++)
            losses[from + n] = row_loss(logits + n * V, V, target[from + n], gradient);
        if (!gradient) continue;
        gemm(false, false, rows, C, V, 1, logits, V, weight->data, C, 0, (real *)dhidden->data + from * C, C);
        gemm(true, false, V, C, rows, 1, logits, V, inp, C, 1, dweight->data, C);
    }
}

void CPU(head_loss_forward)(tensor *loss, const tensor *hidden, const tensor *weight, const tensor *targets,
                            tensor *scratch, stream *s)
{
    (void)s;
    head_loss(__func__, NULL, NULL, loss, hidden, weight, targets, scratch);
}

void CPU(head_loss_backward)(tensor *dhidden, tensor *dweight, tensor *loss, const tensor *hidden,
                             const tensor *weight, const tensor *targets, tensor *scratch, stream *s)
{
    (void)s;
    head_loss(__func__, dhidden, dweight, loss, hidden, weight, targets, scratch);
}
