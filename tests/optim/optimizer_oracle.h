/* What the tests of the optimizer share: units with parameters of odd sizes and padding, deterministic
 * gradients, and AdamW in ten lines of double over whole units. */
#ifndef REMLA_TESTS_OPTIMIZER_ORACLE_H
#define REMLA_TESTS_OPTIMIZER_ORACLE_H
#include "optim/optimizer.h"
#include "tests/support/check.h"
#include <math.h>

enum { UNITS = 2, NUMEL_0 = 96, USED_0 = 85, NUMEL_1 = 4096 + 32, USED_1 = 4100 };

/* The first unit has parameters with and without decay and a tail of padding; the second one parameter. With
 * two ranks the cut of the first, at 48, lies inside a parameter, and one parameter lies on rank 0 alone. */
static const optim_span spans_0[] = {{0, 7, true}, {7, 26, false}, {33, 52, true}};
static const optim_span spans_1[] = {{0, USED_1, false}};
static const int64_t numel_of[UNITS] = {NUMEL_0, NUMEL_1}, used_of[UNITS] = {USED_0, USED_1};

static bool has_decay(int u, int64_t i) { return u == 0 && (i < 7 || i >= 33); }

typedef struct fixture {
    optim_unit unit[UNITS];
    optimizer o;
    arena a;
} fixture;

/* Weights in [-1,1), padding zero, gradients zero, state laid out and zeroed. */
static fixture fixture_of(const ops *k, const comm *c)
{
    fixture f = {.unit = {{.name = "first", .span = spans_0, .spans = 3}, {.name = "second", .span = spans_1, .spans = 1}},
                 .a = {.name = "optimizer"}};
    for (int u = 0; u < UNITS; u++) {
        f.unit[u].weight = check_tensor(k->real, "weight", numel_of[u]);
        f.unit[u].grad = check_tensor(k->real, "grad", numel_of[u]);
        check_set(&f.unit[u].weight, 0);
        tensor used = tensor_slice(&f.unit[u].weight, 0, used_of[u]);
        check_fill(&used, 1 + (uint64_t)u, -1, 1);
    }
    arena size = {.name = "optimizer"};
    optimizer_init(&f.o, k, c, f.unit, UNITS, &size);
    optimizer_free(&f.o);
    arena_reserve(&f.a, size.used);
    optimizer_init(&f.o, k, c, f.unit, UNITS, &f.a);
    assert_int_equal(f.a.used, size.used);
    f.o.beta1 = 0.9;
    f.o.beta2 = 0.95;
    f.o.eps = 1e-8;
    f.o.decay = 0.1;
    optimizer_zero_grad(&f.o);
    return f;
}

static void fixture_free(fixture *f)
{
    optimizer_free(&f->o);
    arena_release(&f->a);
}

/* What rank r adds to the gradient in this step; nothing in the padding. */
static double gradient(int64_t step, int r, int u, int64_t i)
{
    if (i >= used_of[u]) return 0;
    const uint32_t z = ((uint32_t)i * 2654435761u) ^ ((uint32_t)step * 2246822519u) ^ ((uint32_t)(r + 3 * u) * 3266489917u);
    return (double)((z ^ (z >> 15)) % 65536) / 16384 - 2; /* exact in float */
}

/* AdamW as in the paper, on a tensor of doubles per unit. */
typedef struct oracle {
    tensor weight[UNITS], m[UNITS], v[UNITS];
} oracle;

static oracle oracle_of(const fixture *f)
{
    oracle w;
    for (int u = 0; u < UNITS; u++) {
        w.weight[u] = check_copy(&f->unit[u].weight, F64);
        w.m[u] = check_tensor(F64, "m", numel_of[u]);
        w.v[u] = check_tensor(F64, "v", numel_of[u]);
        check_set(&w.m[u], 0);
        check_set(&w.v[u], 0);
    }
    return w;
}

static double summed(int64_t step, int ranks, int u, int64_t i)
{
    double g = 0;
    for (int r = 0; r < ranks; r++) g += gradient(step, r, u, i);
    return g;
}

/* The norm of the whole gradient, before `scale`. */
static double oracle_norm(int64_t step, int ranks)
{
    double sum = 0;
    for (int u = 0; u < UNITS; u++)
        for (int64_t i = 0; i < numel_of[u]; i++) sum += summed(step, ranks, u, i) * summed(step, ranks, u, i);
    return sqrt(sum);
}

static void oracle_update(oracle *w, const optimizer *o, int ranks, double rate, double scale, int64_t step)
{
    for (int u = 0; u < UNITS; u++)
        for (int64_t i = 0; i < used_of[u]; i++) {
            const double g = scale * summed(step, ranks, u, i), decay = has_decay(u, i) ? o->decay : 0;
            const double m = o->beta1 * check_get(&w->m[u], i) + (1 - o->beta1) * g;
            const double v = o->beta2 * check_get(&w->v[u], i) + (1 - o->beta2) * g * g;
            const double move = m / (1 - pow(o->beta1, (double)step)) / (sqrt(v / (1 - pow(o->beta2, (double)step))) + o->eps);
            check_put(&w->weight[u], i, check_get(&w->weight[u], i) * (1 - rate * decay) - rate * move);
            check_put(&w->m[u], i, m);
            check_put(&w->v[u], i, v);
        }
}

#endif
