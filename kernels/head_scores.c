/* Log-probabilities of targets and of the likeliest tokens, a chunk of rows of logits at a time. A row goes
 * in pieces of fixed size from its start, the last filled up, whose lanes keep partial sums: its bits depend
 * on nothing but its logits. */
#include "kernels/cpu/head.h"
#include "kernels/cpu/vmath.h"

enum { PIECE = 32 };

/* The lowest index of the largest of a row. */
static int64_t likeliest(const real *row, int64_t V)
{
    const real highest = highest_of(row, V);
    int64_t best = 0;
    while (best + 1 < V && row[best] != highest) best++;
    return best;
}

static void add_piece(double sum[PIECE], const real *row, real highest)
{
    real e[PIECE];
    for (int i = 0; i < PIECE; i++) e[i] = real_exp(row[i] - highest);
    for (int i = 0; i < PIECE; i++) sum[i] += (double)e[i];
}

static double sum_exp(const real *row, int64_t V, real highest)
{
    double lane[PIECE] = {0}, sum = 0;
    int64_t v = 0;
    for (; v + PIECE <= V; v += PIECE) add_piece(lane, row + v, highest);
    if (v < V) {
        real rest[PIECE];
        for (int i = 0; i < PIECE; i++) rest[i] = v + i < V ? row[v + i] : -(real)INFINITY;
        add_piece(lane, rest, highest);
    }
    for (int i = 0; i < PIECE; i++) sum += lane[i];
    return sum;
}

static void row_scores(double *scores, const real *row, int64_t V, int32_t target)
{
    const int64_t best = likeliest(row, V);
    const double highest = (double)row[best], all = log(sum_exp(row, V, row[best]));
    scores[0] = target < 0 ? 0 : (double)row[target] - highest - all;
    scores[1] = (double)best;
    scores[2] = 0 - all; /* not -all: the same zero as above */
}

void CPU(head_scores)(tensor *scores, const tensor *hidden, const tensor *weight, const tensor *targets,
                      tensor *scratch, stream *s)
{
    const int64_t N = hidden->dim[0], V = weight->dim[0], chunk = scratch->dim[0];
    require_head(__func__, hidden, weight, targets, scratch);
    REQUIRE_SHAPE(scores, F64, N, 3);
    REQUIRE_CONTIGUOUS(scores);
    const int32_t *target = targets->data;
    for (int64_t from = 0; from < N; from += chunk) {
        const int64_t rows = smaller(chunk, N - from);
        tensor logits = tensor_rows(scratch, 0, rows);
        const tensor inp = tensor_rows(hidden, from, rows);
        CPU(linear_rows)(&logits, operand_of(&inp), operand_of(weight), NULL, s);
#pragma omp parallel for schedule(static) if (rows * V >= SHARED)
        for (int64_t n = 0; n < rows; n++)
            row_scores((double *)scores->data + (from + n) * 3, (const real *)scratch->data + n * V, V,
                       target[from + n]);
    }
}
