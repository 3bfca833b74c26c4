/* The whole model: every gradient against central differences in double, for both kinds of attention and all
 * their variants; and that documents and uncounted targets do not leak. All of it with resident weights and
 * gradients, and again with units that are copies, which are NaN once they are released, and with all that
 * backward may compute again. The fixtures' losses and gradients are checked through the command line
 * (tests/e2e). */
#include "model/loss.h"
#include "tests/support/check.h"
#include "tests/support/draw.h"
#include "tests/support/random_weights.h"
#include "tests/support/small_dims.h"
#include "tests/support/unit_store.h"
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { B = 2, T = 7, N = B * T };

static const dims gqa = SMALL_GQA, mla = SMALL_MLA;

static double uniform(uint64_t *state) { return draw_uniform(state) - 0.5; }

typedef struct sample {
    int32_t tokens[N], targets[N], first[N];
} sample;

/* Random tokens; one uncounted target; a document border in the second sequence. */
static sample sample_random(void)
{
    sample s;
    uint64_t state = 3;
    for (int n = 0; n < N; n++) {
        s.tokens[n] = (int32_t)((uniform(&state) + 0.5) * 11);
        s.targets[n] = (int32_t)((uniform(&state) + 0.5) * 11);
        s.first[n] = n >= T + 3 ? 3 : 0;
    }
    s.targets[4] = -1;
    return s;
}

/* Its first B sequences of T tokens. */
static token_batch batch_of_shape(sample *s, int64_t sequences, int64_t length)
{
    return (token_batch){
        .sequences = sequences, .T = length, .tokens = s->tokens, .targets = s->targets, .first = s->first};
}
static token_batch batch_of(sample *s) { return batch_of_shape(s, B, T); }

/* Where the units of a test are, and what backward computes again: what a test's state points to. */
typedef enum storage { RESIDENT, COPIES } storage;
typedef struct setting {
    storage where;
    recompute again;
} setting;
static setting resident = {RESIDENT, RECOMPUTE_LIGHT}, copies = {COPIES, RECOMPUTE_LIGHT},
               all_kept = {RESIDENT, RECOMPUTE_NONE}, layers_again = {COPIES, RECOMPUTE_LAYER};

/* A model with what it takes to train it, and random weights. */
typedef struct trainee {
    model m;
    weights gradients;
    arena gradients_memory;
    activations a;
    storage storage;
    unit_store weight_copies, sum_copies;
    const tensor *weight, *sum; /* (units) the values between two passes */
    units sums;                 /* what a pass adds to */
} trainee;

/* Gradients that stay where they are, zero. */
static void gradients_init(trainee *t)
{
    const ops *k = t->m.k;
    t->gradients_memory = (arena){.name = "gradients", .device = k->device};
    arena size = {.name = "gradients"};
    weights_init(&t->gradients, &t->m.table, k->real, 1, &size);
    weights_free(&t->gradients);
    arena_reserve(&t->gradients_memory, size.used);
    weights_init(&t->gradients, &t->m.table, k->real, 1, &t->gradients_memory);
    for (int u = 0; u < t->gradients.num_units; u++) k->zero(&t->gradients.unit[u], k->stream);
    t->sum = t->gradients.unit;
    t->sums = weights_units(&t->gradients);
}

static void trainee_init(trainee *t, const dims *d, const ops *k, int64_t sequences, int64_t length,
                         setting how)
{
    *t = (trainee){.storage = how.where};
    model_init(&t->m, d, k, 1);
    random_weights(&t->m, 1, 1);
    gradients_init(t);
    activations_init(&t->a, d, k, sequences, length, FORWARD_AND_BACKWARD, how.again);
    t->weight = t->m.w.unit;
    if (how.where == RESIDENT) return;
    unit_store_init(&t->weight_copies, k, t->m.w.unit, t->m.table.num_units);
    unit_store_init(&t->sum_copies, k, t->gradients.unit, t->m.table.num_units);
    t->weight = t->weight_copies.kept;
    t->sum = t->sum_copies.kept;
    t->m.units = unit_store_units(&t->weight_copies);
    t->sums = unit_store_units(&t->sum_copies);
}

/* A pass holds one unit of weights at a time, and of gradients one besides the head's. */
static void trainee_free(trainee *t)
{
    if (t->storage == COPIES) {
        assert_int_equal(t->weight_copies.num_held, 0);
        assert_int_equal(t->sum_copies.num_held, 0);
        assert_int_equal(t->weight_copies.most_held, 1);
        assert_true(t->sum_copies.most_held <= (t->m.d.tied ? 2 : 1));
        unit_store_free(&t->weight_copies);
        unit_store_free(&t->sum_copies);
    }
    activations_free(&t->a);
    weights_free(&t->gradients);
    arena_release(&t->gradients_memory);
    model_free(&t->m);
}

static double loss_of(const model *m, activations *a, sample *s)
{
    const token_batch batch = batch_of(s);
    return model_evaluate(m, a, &batch);
}

/* Its own loss; gradients add up. */
static double train_on(trainee *t, sample *s)
{
    const token_batch batch = batch_of(s);
    loss_zero(&t->m, &t->a);
    model_train(&t->m, &t->a, &t->sums, &batch, &t->a.loss_sum);
    return loss_sum(&t->m, &t->a);
}

static void sums_zero(trainee *t)
{
    for (int u = 0; u < t->m.table.num_units; u++) {
        tensor sum = t->sum[u];
        t->m.k->zero(&sum, t->m.k->stream);
    }
}

/* Relative L2 distance between the gradient of one parameter and differences of fourth order. */
static double gradient_error(trainee *t, const param *p, sample *s)
{
    double *w = param_view(p, &t->weight[p->unit]).data;
    const double *g = param_view(p, &t->sum[p->unit]).data;
    double error = 0, size = 0;
    const double h = 2e-4;
    for (int64_t n = 0; n < p->numel; n++) {
        const double at = w[n];
        double f[4];
        const double offset[4] = {-2 * h, -h, h, 2 * h};
        for (int i = 0; i < 4; i++) {
            w[n] = at + offset[i];
            f[i] = loss_of(&t->m, &t->a, s);
        }
        w[n] = at;
        const double want = (f[0] - 8 * f[1] + 8 * f[2] - f[3]) / (12 * h);
        error += (g[n] - want) * (g[n] - want);
        size += want * want;
    }
    return sqrt(error / size);
}

static void check_gradients(const dims *d, const setting *how)
{
    trainee t;
    trainee_init(&t, d, ops_cpu_f64(), B, T, *how);
    sample s = sample_random();
    const double trained = train_on(&t, &s);
    assert_true(fabs(trained - loss_of(&t.m, &t.a, &s)) < 1e-12 * trained);
    for (int i = 0; i < t.m.table.count; i++) {
        const double error = gradient_error(&t, &t.m.table.param[i], &s);
        if (!(error < 1e-7))
            fail_msg("%s: relative error of the gradient %.3g", t.m.table.param[i].name, error);
    }
    trainee_free(&t);
}

static void gradients_gqa(void **state)
{
    dims d = gqa;
    check_gradients(&d, *state);
    d.q_bias = d.k_bias = d.v_bias = true;
    d.tied = true;
    d.rope.llama3 = true;
    d.rope.factor = 8, d.rope.low_freq_factor = 1, d.rope.high_freq_factor = 4,
    d.rope.original_max_position = 16;
    check_gradients(&d, *state);
}

static void gradients_mla(void **state) { check_gradients(&mla, *state); }

static void gradients_mla_norm_factored(void **state)
{
    dims d = mla;
    d.latent_norm = true;
    d.Rq = 6;
    check_gradients(&d, *state);
}

static void gradients_mla_biases_tied(void **state)
{
    dims d = mla;
    d.q_bias = d.k_bias = true;
    d.tied = true;
    check_gradients(&d, *state);
    d.Rq = 6;
    check_gradients(&d, *state);
}

/* As a stock DeepSeek model has them. */
static void gradients_mla_stock_biases(void **state)
{
    dims d = mla;
    d.latent_norm = true;
    d.k_bias = d.o_bias = true;
    check_gradients(&d, *state);
    d.Rq = 6;
    d.q_a_bias = true;
    check_gradients(&d, *state);
}

/* Training twice adds up gradients and losses; the same batch gives the same bits. */
static void accumulates(void **state)
{
    trainee t;
    trainee_init(&t, &mla, ops_cpu_f64(), B, T, *(setting *)*state);
    sample s = sample_random();
    const token_batch batch = batch_of(&s);
    const double first = train_on(&t, &s);
    const tensor *unit = &t.sum[1];
    double *once = malloc(sizeof(double) * (size_t)unit->dim[0]);
    memcpy(once, unit->data, sizeof(double) * (size_t)unit->dim[0]);
    model_train(&t.m, &t.a, &t.sums, &batch, &t.a.loss_sum);
    assert_true(loss_sum(&t.m, &t.a) == 2 * first);
    const double *twice = unit->data;
    for (int64_t n = 0; n < unit->dim[0]; n++)
        assert_true(fabs(twice[n] - 2 * once[n]) <= 1e-12 * (1 + fabs(once[n])));
    free(once);
    trainee_free(&t);
}

/* Another token in the first document changes no loss in the second; without the border it does. */
static void documents_do_not_leak(void **state)
{
    trainee t;
    activations a;
    trainee_init(&t, &mla, ops_cpu_f64(), B, T, *(setting *)*state);
    activations_init(&a, &mla, ops_cpu_f64(), B, T, FORWARD_ONLY, RECOMPUTE_NONE);
    sample s = sample_random();
    for (int n = 0; n < T + 3; n++)
        s.targets[n] = -1; /* only the second document of the second sequence counts */
    const double before = loss_of(&t.m, &a, &s);
    s.tokens[T + 1] = (s.tokens[T + 1] + 1) % 11;
    assert_true(loss_of(&t.m, &a, &s) == before);
    for (int n = T + 3; n < N; n++) s.first[n] = 0;
    assert_true(fabs(loss_of(&t.m, &a, &s) - before) > 1e-6);
    activations_free(&a);
    trainee_free(&t);
}

/* Float agrees with double on the same weights. */
static void float_matches_double(void **state)
{
    dims d = mla;
    d.latent_norm = true;
    trainee exact, fast;
    trainee_init(&exact, &d, ops_cpu_f64(), B, T, *(setting *)*state);
    trainee_init(&fast, &d, ops_cpu_f32(), B, T, *(setting *)*state);
    sample s = sample_random();
    const double want = train_on(&exact, &s), got = train_on(&fast, &s);
    assert_true(fabs(got / want - 1) < 1e-5);
    for (int u = 0; u < exact.m.table.num_units; u++) {
        const double *x = exact.sum[u].data;
        const float *y = fast.sum[u].data;
        double error = 0, size = 0;
        for (int64_t n = 0; n < exact.sum[u].dim[0]; n++)
            error += (x[n] - (double)y[n]) * (x[n] - (double)y[n]), size += x[n] * x[n];
        assert_true(sqrt(error / size) < 1e-4);
    }
    trainee_free(&exact);
    trainee_free(&fast);
}

/* ---- the calls of a step, and several models -------------------- */

/* What a pass left: losses of the tokens, then all gradients. The caller frees. */
static double *results(const trainee *t)
{
    const int64_t rows = t->a.B * t->a.T;
    double *all = malloc(sizeof(double) * (size_t)(rows + param_table_numel(&t->m.table)));
    loss_of_tokens(&t->m, &t->a, all);
    int64_t at = rows;
    for (int u = 0; u < t->m.table.num_units; at += t->m.table.unit_numel[u++]) {
        const tensor unit = tensor_rows(&t->sum[u], 0, t->m.table.unit_numel[u]);
        t->m.k->download_f64(all + at, &unit, t->m.k->stream);
    }
    return all;
}

static void check_same_results(const trainee *t, const double *want)
{
    double *got = results(t);
    const int64_t count = t->a.B * t->a.T + param_table_numel(&t->m.table);
    for (int64_t i = 0; i < count; i++)
        if (got[i] != want[i]) fail_msg("value %d is %.17g, not %.17g", (int)i, got[i], want[i]);
    free(got);
}

/* The losses of the tokens are what the sum is of, with none for the target that does not count; the sum is
 * that of an evaluation. Forward needs no targets. */
static void losses_of_tokens(void **state)
{
    trainee t;
    double losses[N], sum = 0;
    trainee_init(&t, &mla, ops_cpu_f64(), B, T, *(setting *)*state);
    sample s = sample_random();
    token_batch batch = batch_of(&s);
    batch.targets = NULL;
    model_forward(&t.m, &t.a, &batch);
    batch.targets = s.targets;
    loss_zero(&t.m, &t.a);
    loss_forward(&t.m, &t.a, &batch);
    loss_of_tokens(&t.m, &t.a, losses);
    for (int n = 0; n < N; n++) {
        assert_true(s.targets[n] < 0 ? losses[n] == 0 : losses[n] > 0);
        sum += losses[n];
    }
    const double whole = loss_sum(&t.m, &t.a);
    assert_true(fabs(sum / whole - 1) < 1e-14);
    assert_true(loss_of(&t.m, &t.a, &s) == whole);
    trainee_free(&t);
}

/* Half the gradient of the hidden state is half the gradient of every weight but the head, which backward
 * leaves alone: what stands between forward and backward is the caller's. */
static void another_loss(void **state)
{
    trainee t;
    trainee_init(&t, &gqa, ops_cpu_f64(), B, T, *(setting *)*state);
    sample s = sample_random();
    train_on(&t, &s);
    double *want = results(&t);
    sums_zero(&t);

    const token_batch batch = batch_of(&s);
    model_forward(&t.m, &t.a, &batch);
    loss_backward(&t.m, &t.a, &t.sums, &batch, &t.a.loss_sum);
    double *dhidden = t.a.dhidden.data;
    for (int64_t i = 0; i < tensor_numel(&t.a.dhidden); i++) dhidden[i] /= 2;
    model_backward(&t.m, &t.a, &t.sums);
    double *got = results(&t);
    const int64_t heads = param_find(&t.m.table, "lm_head.weight")->numel,
                  head = N + param_table_numel(&t.m.table) - heads;
    for (int64_t i = N; i < head + heads; i++) assert_true(got[i] == (i < head ? want[i] / 2 : want[i]));
    free(want);
    free(got);
    trainee_free(&t);
}

/* Two models of different shapes and lengths whose steps are interleaved, and a second length of the one that
 * is evaluated in between: all get the bits that they get alone. */
static void side_by_side(const ops *k, setting how)
{
    enum { ONE_B = 1, ONE_T = 5 };
    trainee x, y;
    activations other_length;
    trainee_init(&x, &gqa, k, B, T, how);
    trainee_init(&y, &mla, k, ONE_B, ONE_T, how);
    activations_init(&other_length, &mla, k, B, T, FORWARD_ONLY, RECOMPUTE_NONE);
    sample s = sample_random();
    const token_batch batch = batch_of(&s), one = batch_of_shape(&s, ONE_B, ONE_T);
    trainee *const both[] = {&x, &y};
    double *alone[2];
    for (int i = 0; i < 2; i++) {
        trainee *t = both[i];
        model_train(&t->m, &t->a, &t->sums, i ? &one : &batch, &t->a.loss_sum);
        alone[i] = results(t);
        sums_zero(t);
    }
    const double alone_other = model_evaluate(&y.m, &other_length, &batch);

    model_forward(&x.m, &x.a, &batch);
    model_forward(&y.m, &y.a, &one);
    loss_backward(&x.m, &x.a, &x.sums, &batch, &x.a.loss_sum);
    loss_backward(&y.m, &y.a, &y.sums, &one, &y.a.loss_sum);
    model_backward(&x.m, &x.a, &x.sums);
    assert_true(model_evaluate(&y.m, &other_length, &batch) == alone_other);
    model_backward(&y.m, &y.a, &y.sums);
    for (int i = 0; i < 2; i++) {
        check_same_results(both[i], alone[i]);
        free(alone[i]);
        trainee_free(both[i]);
    }
    activations_free(&other_length);
}

static void two_models_side_by_side(void **state)
{
    for (int i = 0; check_table(i); i++) side_by_side(check_table(i), *(setting *)*state);
}

/* ---- units -------------------- */

/* Copies, and whatever is computed again, leave the bits of resident units. Of three layers two are computed
 * again, and neither is the one whose activations forward has left. */
static void check_same_bits(const ops *k, dims d)
{
    const setting settings[] = {resident, copies, all_kept, layers_again};
    double *want = NULL;
    d.L = 3;
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        trainee t;
        trainee_init(&t, &d, k, B, T, settings[i]);
        sample s = sample_random();
        for (int micro = 0; micro < 2; micro++) train_on(&t, &s);
        if (!want) want = results(&t);
        check_same_results(&t, want);
        trainee_free(&t);
    }
    free(want);
}

static void settings_give_the_same_bits(void **state)
{
    (void)state;
    dims gqa_tied = gqa, mla_tied = mla, mla_factored = mla, mla_stock = mla;
    gqa_tied.tied = gqa_tied.q_bias = gqa_tied.k_bias = gqa_tied.v_bias = true;
    mla_tied.tied = mla_tied.q_bias = mla_tied.k_bias = true;
    mla_stock.latent_norm = mla_stock.k_bias = mla_stock.o_bias = mla_stock.q_a_bias = true;
    mla_stock.Rq = mla_factored.Rq = 6;
    const dims all[] = {gqa_tied, mla_tied, mla_factored, mla_stock};
    for (int i = 0; check_table(i); i++)
        for (size_t j = 0; j < sizeof all / sizeof *all; j++) check_same_bits(check_table(i), all[j]);
}

static int64_t bytes_of(const dims *d, int64_t layers, recompute again)
{
    dims of = *d;
    of.L = layers;
    return activations_bytes(&of, ops_cpu_f32(), B, T, FORWARD_AND_BACKWARD, again);
}

/* Where whole layers are computed again a layer more is its input more, in lines of 64 bytes. One layer alone
 * keeps everything. */
static void memory_of_what_is_kept(void **state)
{
    (void)state;
    const dims *const both[] = {&gqa, &mla};
    for (int i = 0; i < 2; i++) {
        const dims *d = both[i];
        const int64_t none = bytes_of(d, 9, RECOMPUTE_NONE), light = bytes_of(d, 9, RECOMPUTE_LIGHT),
                      layer = bytes_of(d, 9, RECOMPUTE_LAYER), x = (4 * N * d->C + 63) / 64 * 64;
        assert_true(none > light && light > layer);
        assert_int_equal(layer, bytes_of(d, 1, RECOMPUTE_NONE) + 8 * x);
        assert_true(bytes_of(d, 1, RECOMPUTE_LIGHT) == bytes_of(d, 1, RECOMPUTE_NONE) - x); /* one h */
    }
}

/* What the tests on copies rest on: a view is good until the release and NaN afterwards, a unit that is held
 * is not copied again, and what was added is kept. */
static void released_units_are_spoiled(void **state)
{
    (void)state;
    trainee t;
    trainee_init(&t, &mla, ops_cpu_f64(), B, T, copies);
    const param_table *table = &t.m.table;
    const units stored = weights_units(&t.m.w);
    const layer_weights layer = weights_layer(table, &t.m.units, 1),
                        again = weights_layer(table, &t.m.units, 1), own = weights_layer(table, &stored, 1);
    assert_ptr_equal(layer.wo.data, again.wo.data);
    const double first = check_get(&layer.wo, 0);
    assert_true(isfinite(first));
    units_release(&t.m.units, unit_of_layer(1));
    assert_true(isnan(check_get(&layer.wo, 0)));
    assert_true(isnan(check_get(&own.wo, 0))); /* the model's own memory does not help either */
    const layer_weights later = weights_layer(table, &t.m.units, 1);
    assert_true(check_get(&later.wo, 0) == first && isnan(check_get(&layer.wo, 0)));
    units_release(&t.m.units, unit_of_layer(1));

    tensor dhead = weights_head(table, &t.sums);
    check_put(&dhead, 3, 2.5);
    units_release(&t.sums, unit_of_head(table));
    const tensor kept = weights_head(table, &t.sums);
    assert_true(check_get(&kept, 3) == 2.5);
    units_release(&t.sums, unit_of_head(table));
    trainee_free(&t);
}

/* A batch and the activations that it is for. */
typedef struct mismatch {
    const trainee *t;
    token_batch batch;
} mismatch;

static void forward_of(void *context)
{
    mismatch *x = context;
    activations a = x->t->a;
    model_forward(&x->t->m, &a, &x->batch);
}

static void batches_have_the_shape_of_the_activations(void **state)
{
    (void)state;
    trainee t;
    check_on_host();
    trainee_init(&t, &gqa, ops_cpu_f64(), B, T, resident);
    sample s = sample_random();
    mismatch shorter = {&t, batch_of_shape(&s, B, T - 1)}, fewer = {&t, batch_of_shape(&s, B - 1, T)};
    check_stops(forward_of, &shorter, ERR_BUG, "a batch of 2 sequences of 6 tokens, activations of 2 of 7");
    check_stops(forward_of, &fewer, ERR_BUG, "a batch of 1 sequences of 7 tokens, activations of 2 of 7");
    trainee_free(&t);
}

/* The test in a setting; in all of them. */
#define ON(setting, test)                                                                                    \
    {                                                                                                        \
        .name = #test ", " #setting, .test_func = test, .teardown_func = check_teardown,                     \
        .initial_state = &setting                                                                            \
    }
#define ON_ALL(test) ON(resident, test), ON(copies, test), ON(all_kept, test), ON(layers_again, test)

int main(void)
{
    omp_set_num_threads(1); /* the shapes are too small to share */
    const struct CMUnitTest tests[] = {
        ON_ALL(gradients_gqa),
        ON_ALL(gradients_mla),
        ON_ALL(gradients_mla_norm_factored),
        ON_ALL(gradients_mla_biases_tied),
        ON_ALL(gradients_mla_stock_biases),
        ON_ALL(accumulates),
        ON_ALL(documents_do_not_leak),
        ON_ALL(float_matches_double),
        ON_ALL(losses_of_tokens),
        ON_ALL(another_loss),
        ON_ALL(two_models_side_by_side),
        CHECK_TEST(settings_give_the_same_bits),
        CHECK_TEST(memory_of_what_is_kept),
        CHECK_TEST(released_units_are_spoiled),
        CHECK_TEST(batches_have_the_shape_of_the_activations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
