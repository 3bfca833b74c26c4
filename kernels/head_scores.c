/* Log-probabilities of targets and of the likeliest tokens, a chunk of rows of logits at a time. */
#include "kernels/cpu/cpu.h"
#include "kernels/cpu/vmath.h"

static void row_scores(double *scores, const real *row, int64_t V, int32_t target)
{
    int64_t best = 0;
    for (int64_t v = 1; v < V; v++)
        if (row[v] > row[best]) best = v;
    double sum = 0;
    for (int64_t v = 0; v < V; v++) sum += (double)real_exp(row[v] - row[best]);
    const double denominator = log(sum);
    scores[0] = target < 0 ? 0 : (double)(row[target] - row[best]) - denominator;
    scores[1] = (double)best;
    scores[2] = 0 - denominator;
}

void CPU(head_scores)(tensor *scores, const tensor *hidden, const tensor *weight, const tensor *targets,
                      tensor *scratch, stream *s)
{
    const int64_t N = hidden->dim[0], C = hidden->dim[1], V = weight->dim[0], chunk = scratch->dim[0];
    REQUIRE_SHAPE(hidden, REAL_TYPE, N, C);
    REQUIRE_SHAPE(weight, REAL_TYPE, V, C);
    REQUIRE_SHAPE(targets, I32, N);
    REQUIRE_SHAPE(scores, F64, N, 3);
    REQUIRE_SHAPE(scratch, REAL_TYPE, chunk, V);
    REQUIRE(chunk >= 1, "%s: no room for a row", __func__);
    REQUIRE_CONTIGUOUS(scores);
    REQUIRE_CONTIGUOUS(targets);
    REQUIRE_CONTIGUOUS(scratch);
    const int32_t *target = targets->data;
    for (int64_t n = 0; n < N; n++)
        REQUIRE(target[n] >= -1 && target[n] < V, "%s: targets[%lld] is %d of %lld", __func__, (long long)n,
                target[n], (long long)V);

    for (int64_t from = 0; from < N; from += chunk) {
        const int64_t rows = N - from < chunk ? N - from : chunk;
        tensor logits = tensor_rows(scratch, 0, rows);
        const tensor inp = tensor_rows(hidden, from, rows);
        CPU(linear_rows)(&logits, operand_of(&inp), operand_of(weight), NULL, s);
#pragma omp parallel for schedule(static)
        for (int64_t n = 0; n < rows; n++)
            row_scores((double *)scores->data + (from + n) * 3, (const real *)scratch->data + n * V, V,
                       target[from + n]);
    }
}
