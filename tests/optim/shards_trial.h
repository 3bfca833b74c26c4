/* Training steps without a model: units of odd sizes, and passes that acquire them as a model's do, check
 * every weight that they get, and add gradients of their own making. What the step's gradient must be is
 * computed here once more, the plain way. A failed check stops all ranks (REQUIRE), because the others would
 * wait forever. */
#ifndef REMLA_TESTS_SHARDS_TRIAL_H
#define REMLA_TESTS_SHARDS_TRIAL_H
#include "base/comm.h"
#include "base/fingerprint.h"
#include "base/memory.h"
#include "base/status.h"
#include "optim/fingerprints.h"
#include "tests/support/noise.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TRIAL_LAYERS = 3, TRIAL_UNITS = TRIAL_LAYERS + 2, TRIAL_LAST = TRIAL_UNITS - 1, TRIAL_STEPS = 2 };

/* Embedding; layers, each a vector between two matrices; norm, and head unless the model is tied. */
typedef struct trial_table {
    param param[2 + 3 * TRIAL_LAYERS + 1];
    int64_t numel[TRIAL_UNITS];
    int first[TRIAL_UNITS + 1];
    param_table table;
} trial_table;

static inline void trial_param(trial_table *t, int u, int axes, int64_t numel)
{
    param *p = &t->param[t->table.count++];
    *p = (param){.unit = u, .offset = t->numel[u], .rank = axes, .dim = {numel, 1}, .numel = numel};
    t->numel[u] += numel;
    t->first[u + 1] = t->table.count;
}

static inline void trial_table_init(trial_table *t, bool tied)
{
    *t = (trial_table){.table = {.num_units = TRIAL_UNITS, .head_unit = tied ? 0 : TRIAL_LAST}};
    trial_param(t, 0, 2, 2500);
    for (int l = 0; l < TRIAL_LAYERS; l++) {
        trial_param(t, l + 1, 2, 1001 + l);
        trial_param(t, l + 1, 1, 7);
        trial_param(t, l + 1, 2, 90);
    }
    trial_param(t, TRIAL_LAST, 1, 17);
    if (!tied) trial_param(t, TRIAL_LAST, 2, 2500);
    t->table.param = t->param;
    t->table.unit_numel = t->numel;
    t->table.unit_first = t->first;
}

typedef struct trial {
    const ops *k;
    const comm *c, *tensors; /* over the host's memory, over that of the tensors */
    const trial_table *t;
    shards s;
    optimizer o;
    arena memory;
    int64_t most;             /* elements of the largest padded unit */
    float *full, *given;      /* (most) */
    tensor scratch;           /* (most) real */
    float *want[TRIAL_UNITS]; /* (padded) the weights that passes must see */
    double loss, norm;        /* of the last step */
} trial;

/* ---- numbers ------------------------------------------------------------------------------------------ */

/* Gradient of micro-batch g of a step. */
static inline float trial_gradient(int64_t step, int64_t g, int u, int64_t i)
{
    return noise((int)(100 * step + g), 10000 * u + i);
}
/* Of such sizes that the order of their sum shows. */
static inline float trial_loss(int64_t step, int64_t g)
{
    static const float size[] = {1, 0x1p50f, 0x1p20f};
    return size[g % 3] * noise((int)(100 * step + g), 1 << 20);
}
static inline float trial_weight(int u, int64_t i) { return 0.5f * noise(77 + u, i) + 0x1p-20f; }

/* One addition in a type: twice the digits and two more make the second rounding harmless. */
static inline double trial_add(dtype type, double a, double b)
{
    return type == F32 ? (double)(float)(a + b) : a + b;
}

/* Micro-batches from..from+count-1 as a tree, whose left parts are as large a power of two as there is room
 * for.
 */
static inline double trial_tree(dtype type, int64_t step, int64_t from, int64_t count, int u, int64_t i)
{
    if (count == 1) return (double)trial_gradient(step, from, u, i);
    int64_t left = 1;
    while (2 * left < count) left *= 2;
    return trial_add(type, trial_tree(type, step, from, left, u, i),
                     trial_tree(type, step, from + left, count - left, u, i));
}

/* An element of the step's gradient, summed as comm.h and shards.h say. */
static inline double trial_sum(const trial *x, int64_t step, int u, int64_t i)
{
    const dtype type = x->k->real;
    const int64_t m = x->s.set.micro_batches, R = x->c->size;
    if (x->s.set.how.pairwise) return trial_tree(type, step, 0, m * R, u, i);
    double sum = 0;
    if (x->s.set.stage >= 2) {
        for (int64_t n = 0; n < m; n++) {
            double ranks = (double)trial_gradient(step, n * R, u, i);
            for (int64_t r = 1; r < R; r++)
                ranks = trial_add(type, ranks, (double)trial_gradient(step, n * R + r, u, i));
            sum = n ? trial_add(type, sum, ranks) : ranks;
        }
        return sum;
    }
    for (int64_t r = 0; r < R; r++) {
        double own = (double)trial_gradient(step, r, u, i);
        for (int64_t n = 1; n < m; n++)
            own = trial_add(type, own, (double)trial_gradient(step, n * R + r, u, i));
        sum = r ? trial_add(type, sum, own) : own;
    }
    return sum;
}

/* ---- life --------------------------------------------------------------------------------------------- */

static inline void trial_lay_out(trial *x, const shards_settings *set, arena *a)
{
    shards_init(&x->s, x->k, x->tensors, &x->t->table, set, a);
    x->o = (optimizer){.beta1 = 0.9, .beta2 = 0.95, .eps = 1e-3, .decay = 0.1};
    optimizer_init(&x->o, x->c, &x->s, a);
    x->most = 0;
    for (int u = 0; u < TRIAL_UNITS; u++)
        if (shards_padded(&x->s, u) > x->most) x->most = shards_padded(&x->s, u);
    x->scratch = arena_tensor(a, x->k->real, "scratch", x->most);
}

static inline void trial_init(trial *x, const ops *k, const comm *c, const comm *tensors,
                              const trial_table *t, int stage, bool pairwise, int64_t micro_batches)
{
    const shards_settings set = {
        .stage = stage, .how = {.sent = F32, .pairwise = pairwise}, .micro_batches = micro_batches};
    *x =
        (trial){.k = k, .c = c, .tensors = tensors, .t = t, .memory = {.name = "trial", .device = k->device}};
    arena size = {.name = "trial"};
    trial_lay_out(x, &set, &size);
    optimizer_free(&x->o);
    shards_free(&x->s);
    arena_reserve(&x->memory, size.used);
    if (!k->device) memset(x->memory.base, 0xff, (size_t)x->memory.size); /* what was there must not matter */
    trial_lay_out(x, &set, &x->memory);
    REQUIRE(x->memory.used == size.used, "%lld bytes cut, %lld measured", (long long)x->memory.used,
            (long long)size.used);
    x->full = memory_new(x->most, sizeof(float), "a unit");
    x->given = memory_new(x->most, sizeof(float), "a unit");
    for (int u = 0; u < TRIAL_UNITS; u++) {
        x->want[u] = memory_new(shards_padded(&x->s, u), sizeof(float), "a unit");
        for (int64_t i = 0; i < t->numel[u]; i++) x->want[u][i] = trial_weight(u, i);
        optimizer_set(&x->o, OPTIM_MASTER, u, x->want[u] + shards_before(&x->s, u));
    }
    optimizer_masters_set(&x->o);
}

static inline void trial_free(trial *x)
{
    optimizer_free(&x->o);
    shards_free(&x->s);
    arena_release(&x->memory);
    free(x->full);
    free(x->given);
    for (int u = 0; u < TRIAL_UNITS; u++) free(x->want[u]);
}

/* ---- passes ------------------------------------------------------------------------------------------- */

/* What a pass sees of a unit are the masters of all ranks, rounded, and nothing else while it holds the unit.
 */
static inline void trial_see(trial *x, const tensor *flat, int u)
{
    const double tolerance = x->k->act == BF16 ? 0x1p-8 : 0; /* of the weights that the trial begins with */
    REQUIRE(flat->dim[0] == shards_padded(&x->s, u), "unit %d has %lld elements", u, (long long)flat->dim[0]);
    x->k->download(x->given, flat, x->k->stream);
    for (int64_t i = 0; i < flat->dim[0]; i++)
        REQUIRE(fabs((double)x->given[i] - (double)x->want[u][i]) <= tolerance * fabs((double)x->want[u][i]),
                "stage %d: unit %d element %lld is %.9g, expected %.9g", x->s.set.stage, u, (long long)i,
                (double)x->given[i], (double)x->want[u][i]);
}

static inline void trial_use(trial *x, int u)
{
    const units w = shards_weights(&x->s);
    const tensor flat = units_acquire(&w, u), again = units_acquire(&w, u);
    REQUIRE(flat.data == again.data, "unit %d moves while it is held", u);
    trial_see(x, &flat, u);
    comm_wait(x->c, comm_sum_f64(x->c, (double[]){0}, 1)); /* all that was started before is done */
    trial_see(x, &flat, u);
    units_release(&w, u);
}

static inline void trial_forward(trial *x)
{
    for (int u = 0; u < TRIAL_UNITS; u++) trial_use(x, u);
    trial_use(x, x->t->table.head_unit);
}

static inline void trial_add_gradient(trial *x, const units *g, int64_t step, int64_t micro, int u)
{
    tensor flat = units_acquire(g, u), scratch = tensor_rows(&x->scratch, 0, flat.dim[0]);
    for (int64_t i = 0; i < flat.dim[0]; i++)
        x->full[i] = i < x->t->numel[u] ? trial_gradient(step, micro, u, i) : 0;
    x->k->upload(&scratch, x->full, x->k->stream);
    x->k->add(&flat, &flat, &scratch, x->k->stream);
}

/* The i-th micro-batch of this rank, as a model and its loss would compute it. */
static inline void trial_pass(trial *x, int64_t step, int64_t i)
{
    const int64_t micro = i * x->c->size + x->c->rank;
    const int head = x->t->table.head_unit;
    const units g = shards_gradients(&x->s, i);
    trial_forward(x);
    trial_add_gradient(x, &g, step, micro, head); /* the loss; the unit stays held */
    const float loss = trial_loss(step, micro);
    tensor sum = optimizer_loss(&x->o, i);
    x->k->upload(&sum, &loss, x->k->stream);
    for (int u = TRIAL_LAST; u > 0; u--) {
        trial_use(x, u);
        if (u == head)
            units_acquire(&g, u);
        else
            trial_add_gradient(x, &g, step, micro, u);
        units_release(&g, u);
    }
    if (head == 0)
        units_acquire(&g, 0);
    else
        trial_add_gradient(x, &g, step, micro, 0);
    units_release(&g, 0);
}

static inline void trial_check_gradient(trial *x, int64_t step)
{
    for (int u = 0; u < TRIAL_UNITS; u++) {
        optimizer_gather(&x->o, OPTIM_GRAD, u, x->full);
        for (int64_t i = 0; i < shards_padded(&x->s, u); i++) {
            const float want = i < x->t->numel[u] ? (float)trial_sum(x, step, u, i) : 0;
            REQUIRE(x->full[i] == want,
                    "stage %d, %lld micro-batches: gradient %lld of unit %d is %.9g, expected %.9g",
                    x->s.set.stage, (long long)x->s.set.micro_batches, (long long)i, u, (double)x->full[i],
                    (double)want);
        }
    }
}

static inline void trial_check_sums(trial *x, int64_t step, double mean)
{
    double loss = 0, squares = 0;
    for (int64_t g = 0; g < x->s.set.micro_batches * x->c->size; g++) loss += (double)trial_loss(step, g);
    for (int u = 0; u < TRIAL_UNITS; u++)
        for (int64_t i = 0; i < x->t->numel[u]; i++) squares += pow(trial_sum(x, step, u, i), 2);
    x->loss = optimizer_loss_sum(&x->o);
    x->norm = optimizer_norm(&x->o);
    REQUIRE(x->loss == loss, "the losses add up to %.17g, expected %.17g", x->loss, loss);
    REQUIRE(fabs(x->norm - sqrt(squares) * mean) <= 1e-12 * x->norm, "norm %.17g, expected %.17g", x->norm,
            sqrt(squares) * mean);
}

/* After an update: what a pass sees first, before any other call has waited for what is on its way, are the
 * masters that come later. */
static inline void trial_see_new(trial *x)
{
    const units w = shards_weights(&x->s);
    for (int u = 0; u < TRIAL_UNITS; u++) {
        const tensor flat = units_acquire(&w, u);
        x->k->download(x->want[u], &flat, x->k->stream);
        units_release(&w, u);
    }
    for (int u = 0; u < TRIAL_UNITS; u++) {
        const double tolerance = x->k->act == BF16 ? 0x1p-8 : 0;
        optimizer_gather(&x->o, OPTIM_MASTER, u, x->full);
        for (int64_t i = 0; i < shards_padded(&x->s, u); i++)
            REQUIRE(fabs((double)x->want[u][i] - (double)x->full[i]) <= tolerance * fabs((double)x->full[i]),
                    "stage %d: unit %d element %lld is %.9g, its master %.9g", x->s.set.stage, u,
                    (long long)i, (double)x->want[u][i], (double)x->full[i]);
    }
}

/* A pass that is no part of the step: its gradient is there until it is released, and in no sum (which comes
 * out as ever). */
static inline void trial_pass_aside(trial *x, int64_t step)
{
    const units g = shards_gradients_unsummed(&x->s);
    const int head = x->t->table.head_unit;
    const int64_t micro = 1000;
    trial_forward(x);
    trial_add_gradient(x, &g, step, micro, head);
    for (int u = TRIAL_LAST; u >= 0; u--) {
        trial_use(x, u);
        if (u != head) trial_add_gradient(x, &g, step, micro, u);
        const tensor flat = units_acquire(&g, u);
        x->k->download(x->given, &flat, x->k->stream);
        for (int64_t i = 0; i < x->t->numel[u]; i++)
            REQUIRE(x->given[i] == trial_gradient(step, micro, u, i),
                    "stage %d: a gradient of unit %d is lost", x->s.set.stage, u);
        units_release(&g, u);
    }
}

/* Fingerprints against the host's of the gathered values: they know neither ranks nor stages nor padding. */
static inline void trial_check_fingerprints(trial *x)
{
    uint64_t want[3] = {0}, weights = 0;
    int64_t all = 0;
    for (int u = 0; u < TRIAL_UNITS; u++) all += x->t->numel[u];
    for (optim_part part = OPTIM_M; part <= OPTIM_MASTER; part++) {
        int64_t first = part == OPTIM_V ? all : 0;
        for (int u = 0; u < TRIAL_UNITS; u++) {
            optimizer_gather(&x->o, part, u, x->full);
            want[part] += fingerprint_f32(x->full, x->t->numel[u], first);
            if (part == OPTIM_MASTER) weights += fingerprint_f32(x->want[u], x->t->numel[u], first);
            first += x->t->numel[u];
        }
        REQUIRE(fingerprint_states(&x->o, part) == want[part], "stage %d: the fingerprint of part %d",
                x->s.set.stage, part);
    }
    REQUIRE(fingerprint_weights(&x->o) == weights, "stage %d: the fingerprint of the weights",
            x->s.set.stage);
}

/* Two steps, with evaluations and a reader of its own order between them. */
static inline void trial_run(trial *x)
{
    const double mean = 1.0 / 64;
    for (int64_t step = 1; step <= TRIAL_STEPS; step++) {
        trial_pass_aside(x, step);
        optimizer_begin(&x->o);
        for (int64_t i = 0; i < x->s.set.micro_batches; i++) trial_pass(x, step, i);
        optimizer_clip(&x->o, mean, 0.5);
        trial_check_gradient(x, step);
        trial_check_sums(x, step, mean);
        optimizer_update(&x->o, 0.01, step);
        trial_see_new(x);
        trial_check_fingerprints(x);
        if (step % 2) continue;
        trial_forward(x);
        trial_forward(x);
        for (int u = 0; u < TRIAL_UNITS; u++) trial_use(x, u);
        for (int n = 0; n < 12; n++) trial_use(x, n * n % TRIAL_UNITS);
    }
}

/* Two trials have the same bits: masters, moments, loss and norm. */
static inline void trial_same(trial *x, trial *y, const char *what)
{
    REQUIRE(x->loss == y->loss, "%s: loss %.17g and %.17g", what, x->loss, y->loss);
    REQUIRE(x->norm == y->norm, "%s: norm %.17g and %.17g", what, x->norm, y->norm);
    for (optim_part part = OPTIM_M; part <= OPTIM_GRAD; part++)
        for (int u = 0; u < TRIAL_UNITS; u++) {
            optimizer_gather(&x->o, part, u, x->full);
            optimizer_gather(&y->o, part, u, y->full);
            REQUIRE(memcmp(x->full, y->full, sizeof(float) * (size_t)x->t->numel[u]) == 0,
                    "%s: part %d of unit %d differs", what, part, u);
        }
}

/* What is set comes back, whole. */
static inline void trial_round_trip(trial *x)
{
    for (optim_part part = OPTIM_M; part <= OPTIM_GRAD; part++)
        for (int u = 0; u < TRIAL_UNITS; u++) {
            const int64_t padded = shards_padded(&x->s, u);
            for (int64_t i = 0; i < padded; i++) x->given[i] = (float)(i + part + u);
            memset(x->full, 0xff, sizeof(float) * (size_t)padded);
            optimizer_set(&x->o, part, u, x->given + shards_before(&x->s, u));
            if (part == OPTIM_MASTER) memcpy(x->want[u], x->given, sizeof(float) * (size_t)padded);
            optimizer_gather(&x->o, part, u, x->full);
            REQUIRE(memcmp(x->full, x->given, sizeof(float) * (size_t)padded) == 0,
                    "part %d of unit %d is not what was set", part, u);
        }
    optimizer_masters_set(&x->o);
    trial_forward(x);
}

/* ---- what travels -------------------------------------------------------------------------------------- */

/* A step of a model without its numbers. */
static inline void trial_quick_step(trial *x)
{
    const units w = shards_weights(&x->s);
    const int head = x->t->table.head_unit;
    optimizer_begin(&x->o);
    for (int64_t i = 0; i < x->s.set.micro_batches; i++) {
        const units g = shards_gradients(&x->s, i);
        for (int u = 0; u < TRIAL_UNITS; u++) units_acquire(&w, u), units_release(&w, u);
        units_acquire(&w, head), units_acquire(&g, head), units_release(&w, head);
        for (int u = TRIAL_LAST; u > 0; u--) {
            units_acquire(&w, u), units_acquire(&g, u);
            units_release(&w, u), units_release(&g, u);
        }
        units_acquire(&g, 0), units_release(&g, 0);
    }
    optimizer_clip(&x->o, 1, 0);
    optimizer_update(&x->o, 0, 1);
}

/* How often stage 3 gathers a unit in a step: layers in forward and backward, but the last one is still there
 * when backward begins, and the first one when the next micro-batch does. The head of a tied model pushes the
 * last layer out, and is the embedding once more. */
static inline int64_t trial_gathers(const trial *x, int u)
{
    const int64_t m = x->s.set.micro_batches;
    const bool tied = x->t->table.head_unit == 0;
    if (u == 0) return tied ? 2 * m : m;
    if (u == TRIAL_LAST) return m;
    if (u == 1) return m + 1;
    return u == TRIAL_LAYERS && !tied ? m : 2 * m;
}

static inline void trial_check_bytes(trial *x)
{
    const int64_t m = x->s.set.micro_batches, others = x->c->size - 1;
    const bool each = x->s.set.how.pairwise || x->s.set.stage >= 2;
    int64_t floats = 0, doubles = m * x->c->size + (x->s.set.stage ? x->s.layout.first[TRIAL_UNITS] : 0);
    for (int u = 0; u < TRIAL_UNITS; u++)
        floats += shard_layout_slice(&x->s.layout, u) *
                  ((each ? m : 1) + (x->s.set.stage == 3 ? trial_gathers(x, u) : 1));
    int64_t sent[2];
    for (int i = 0; i < 2; i++) {
        trial_quick_step(x);
        comm_wait(x->c, comm_sum_f64(x->c, (double[]){0}, 1)); /* all that was started is done */
        sent[i] = comm_bytes_sent(x->c);
    }
    REQUIRE(sent[1] - sent[0] == others * (4 * floats + 8 * (doubles + 1)),
            "stage %d, %lld micro-batches: %lld bytes sent, expected %lld", x->s.set.stage, (long long)m,
            (long long)(sent[1] - sent[0]), (long long)(others * (4 * floats + 8 * (doubles + 1))));
}

/* Stages and sums on these ranks; pairwise ones against one process that does it all. */
static inline void trial_all(const ops *k, const comm *c, const int64_t *micro_batches, int count)
{
    const bool power = (c->size & (c->size - 1)) == 0;
    const comm *tensors = k->device ? comm_nccl_start(k->device, c) : c;
    for (int tied = 0; tied < 2; tied++) {
        trial_table t;
        trial_table_init(&t, tied);
        for (int n = 0; n < count; n++) {
            const int64_t m = micro_batches[n];
            trial alone;
            trial_init(&alone, k, comm_self(), k->device ? tensors : comm_self(), &t, 1, true, m * c->size);
            trial_run(&alone);
            for (int stage = 0; stage <= 3; stage++) {
                trial x;
                trial_init(&x, k, c, tensors, &t, stage, false, m);
                trial_run(&x);
                trial_round_trip(&x);
                trial_check_bytes(&x);
                trial_free(&x);
                if (!power) continue;
                trial_init(&x, k, c, tensors, &t, stage, true, m);
                trial_run(&x);
                trial_same(&x, &alone, "pairwise sums");
                trial_check_bytes(&x);
                trial_free(&x);
            }
            trial_free(&alone);
        }
    }
    if (k->device) comm_stop(tensors);
}

#endif
