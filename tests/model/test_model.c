/* The whole model: every gradient against central differences in double, for both kinds of attention and all
 * their variants; and that documents and uncounted targets do not leak. The fixtures' losses and gradients
 * are checked through the command line (tests/e2e). */
#include "model/loss.h"
#include "tests/support/check.h"
#include "tests/support/draw.h"
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { B = 2, T = 7, N = B * T };

static const dims gqa = {.kind = ATTENTION_GQA,
                         .L = 2,
                         .V = 11,
                         .C = 8,
                         .F = 10,
                         .H = 4,
                         .G = 2,
                         .D = 4,
                         .norm_eps = 1e-5,
                         .rope = {.theta = 100}};
static const dims mla = {.kind = ATTENTION_MLA,
                         .L = 2,
                         .V = 11,
                         .C = 8,
                         .F = 10,
                         .H = 2,
                         .Dn = 4,
                         .Dr = 2,
                         .Dv = 3,
                         .R = 5,
                         .norm_eps = 1e-5,
                         .rope = {.theta = 100}};

static double uniform(uint64_t *state) { return draw_uniform(state) - 0.5; }

static void weights_random(model *m)
{
    uint64_t state = 7;
    float values[128];
    for (int i = 0; i < m->table.count; i++) {
        const param *p = &m->table.param[i];
        tensor w = weights_param(&m->w, p);
        const bool norm = strstr(p->name, "norm") != NULL;
        assert_true(p->numel <= (int64_t)(sizeof values / sizeof *values));
        for (int64_t n = 0; n < p->numel; n++) values[n] = (float)((norm ? 1 : 0) + uniform(&state));
        m->k->upload(&w, values, m->k->stream);
    }
}

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

/* A model with what it takes to train it. */
typedef struct trainee {
    model m;
    gradients g;
    activations a;
} trainee;

static void trainee_init(trainee *t, const dims *d, const ops *k)
{
    model_init(&t->m, d, k, 1);
    gradients_init(&t->g, &t->m);
    activations_init(&t->a, d, k, B, T, FORWARD_AND_BACKWARD);
}

static void trainee_free(trainee *t)
{
    activations_free(&t->a);
    gradients_free(&t->g);
    model_free(&t->m);
}

static double loss_of(const model *m, activations *a, const sample *s)
{
    const model_batch batch = {.tokens = s->tokens, .targets = s->targets, .first = s->first};
    return model_evaluate(m, a, &batch);
}

/* Its own loss; gradients add up. */
static double train_on(trainee *t, const sample *s)
{
    const model_batch batch = {.tokens = s->tokens, .targets = s->targets, .first = s->first};
    loss_zero(&t->m, &t->a);
    model_train(&t->m, &t->a, &t->g, &batch);
    return loss_sum(&t->m, &t->a);
}

/* Relative L2 distance between the gradient of one parameter and differences of fourth order. */
static double gradient_error(trainee *t, const param *p, const sample *s)
{
    double *w = weights_param(&t->m.w, p).data;
    const double *g = weights_param(&t->g.sum, p).data;
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

static void check_gradients(const dims *d)
{
    trainee t;
    trainee_init(&t, d, ops_cpu_f64());
    weights_random(&t.m);
    const sample s = sample_random();
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
    (void)state;
    dims d = gqa;
    check_gradients(&d);
    d.q_bias = d.k_bias = d.v_bias = true;
    d.tied = true;
    d.rope.llama3 = true;
    d.rope.factor = 8, d.rope.low_freq_factor = 1, d.rope.high_freq_factor = 4,
    d.rope.original_max_position = 16;
    check_gradients(&d);
}

static void gradients_mla(void **state)
{
    (void)state;
    check_gradients(&mla);
}

static void gradients_mla_norm_factored(void **state)
{
    (void)state;
    dims d = mla;
    d.latent_norm = true;
    d.Rq = 6;
    check_gradients(&d);
}

static void gradients_mla_biases_tied(void **state)
{
    (void)state;
    dims d = mla;
    d.q_bias = d.k_bias = true;
    d.tied = true;
    check_gradients(&d);
    d.Rq = 6;
    check_gradients(&d);
}

/* As a stock DeepSeek model has them. */
static void gradients_mla_stock_biases(void **state)
{
    (void)state;
    dims d = mla;
    d.latent_norm = true;
    d.k_bias = d.o_bias = true;
    check_gradients(&d);
    d.Rq = 6;
    d.q_a_bias = true;
    check_gradients(&d);
}

/* Training twice adds up gradients and losses; the same batch gives the same bits. */
static void accumulates(void **state)
{
    (void)state;
    trainee t;
    trainee_init(&t, &mla, ops_cpu_f64());
    weights_random(&t.m);
    const sample s = sample_random();
    const model_batch batch = {.tokens = s.tokens, .targets = s.targets, .first = s.first};
    const double first = train_on(&t, &s);
    const tensor *unit = &t.g.sum.unit[1];
    double *once = malloc(sizeof(double) * (size_t)unit->dim[0]);
    memcpy(once, unit->data, sizeof(double) * (size_t)unit->dim[0]);
    model_train(&t.m, &t.a, &t.g, &batch);
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
    (void)state;
    model m;
    activations a;
    model_init(&m, &mla, ops_cpu_f64(), 1);
    activations_init(&a, &mla, ops_cpu_f64(), B, T, FORWARD_ONLY);
    weights_random(&m);
    sample s = sample_random();
    for (int n = 0; n < T + 3; n++)
        s.targets[n] = -1; /* only the second document of the second sequence counts */
    const double before = loss_of(&m, &a, &s);
    s.tokens[T + 1] = (s.tokens[T + 1] + 1) % 11;
    assert_true(loss_of(&m, &a, &s) == before);
    for (int n = T + 3; n < N; n++) s.first[n] = 0;
    assert_true(fabs(loss_of(&m, &a, &s) - before) > 1e-6);
    activations_free(&a);
    model_free(&m);
}

/* Float agrees with double on the same weights. */
static void float_matches_double(void **state)
{
    (void)state;
    dims d = mla;
    d.latent_norm = true;
    trainee exact, fast;
    trainee_init(&exact, &d, ops_cpu_f64());
    trainee_init(&fast, &d, ops_cpu_f32());
    weights_random(&exact.m);
    for (int u = 0; u < exact.m.w.num_units; u++) {
        const double *from = exact.m.w.unit[u].data;
        float *to = fast.m.w.unit[u].data;
        for (int64_t n = 0; n < exact.m.w.unit[u].dim[0]; n++) to[n] = (float)from[n];
    }
    const sample s = sample_random();
    const double want = train_on(&exact, &s), got = train_on(&fast, &s);
    assert_true(fabs(got / want - 1) < 1e-5);
    for (int u = 0; u < exact.g.sum.num_units; u++) {
        const double *x = exact.g.sum.unit[u].data;
        const float *y = fast.g.sum.unit[u].data;
        double error = 0, size = 0;
        for (int64_t n = 0; n < exact.g.sum.unit[u].dim[0]; n++)
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
    for (int u = 0; u < t->g.sum.num_units; at += t->m.table.unit_numel[u++]) {
        const tensor unit = tensor_rows(&t->g.sum.unit[u], 0, t->m.table.unit_numel[u]);
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
 * that of an evaluation. Forward asks for no targets. */
static void losses_of_tokens(void **state)
{
    (void)state;
    trainee t;
    double losses[N], sum = 0;
    trainee_init(&t, &mla, ops_cpu_f64());
    weights_random(&t.m);
    const sample s = sample_random();
    model_forward(&t.m, &t.a, &(model_batch){.tokens = s.tokens, .first = s.first});
    loss_zero(&t.m, &t.a);
    loss_forward(&t.m, &t.a, s.targets);
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
    (void)state;
    trainee t;
    trainee_init(&t, &gqa, ops_cpu_f64());
    weights_random(&t.m);
    const sample s = sample_random();
    train_on(&t, &s);
    double *want = results(&t);
    for (int u = 0; u < t.g.sum.num_units; u++) t.m.k->zero(&t.g.sum.unit[u], t.m.k->stream);

    model_forward(&t.m, &t.a, &(model_batch){.tokens = s.tokens, .first = s.first});
    loss_backward(&t.m, &t.a, &t.g, s.targets);
    double *dhidden = t.a.dhidden.data;
    for (int64_t i = 0; i < tensor_numel(&t.a.dhidden); i++) dhidden[i] /= 2;
    model_backward(&t.m, &t.a, &t.g);
    double *got = results(&t);
    const int64_t head = N + param_table_numel(&t.m.table) - tensor_numel(&t.m.w.head);
    for (int64_t i = N; i < head + tensor_numel(&t.m.w.head); i++)
        assert_true(got[i] == (i < head ? want[i] / 2 : want[i]));
    free(want);
    free(got);
    trainee_free(&t);
}

/* Two models of different shapes and lengths whose steps are interleaved, and a second length of the one that
 * is evaluated in between: all get the bits that they get alone. */
static void side_by_side(const ops *k)
{
    enum { ONE_B = 1, ONE_T = 5 };
    trainee x, y;
    activations other_length;
    trainee_init(&x, &gqa, k);
    model_init(&y.m, &mla, k, 1);
    gradients_init(&y.g, &y.m);
    activations_init(&y.a, &mla, k, ONE_B, ONE_T, FORWARD_AND_BACKWARD);
    activations_init(&other_length, &mla, k, B, T, FORWARD_ONLY);
    const sample s = sample_random();
    const model_batch batch = {.tokens = s.tokens, .targets = s.targets, .first = s.first};
    trainee *const both[] = {&x, &y};
    double *alone[2];
    weights_random(&x.m);
    weights_random(&y.m);
    for (int i = 0; i < 2; i++) {
        trainee *t = both[i];
        model_train(&t->m, &t->a, &t->g, &batch);
        alone[i] = results(t);
        for (int u = 0; u < t->g.sum.num_units; u++) k->zero(&t->g.sum.unit[u], k->stream);
    }
    const double alone_other = model_evaluate(&y.m, &other_length, &batch);

    model_forward(&x.m, &x.a, &batch);
    model_forward(&y.m, &y.a, &batch);
    loss_backward(&x.m, &x.a, &x.g, batch.targets);
    loss_backward(&y.m, &y.a, &y.g, batch.targets);
    model_backward(&x.m, &x.a, &x.g);
    assert_true(model_evaluate(&y.m, &other_length, &batch) == alone_other);
    model_backward(&y.m, &y.a, &y.g);
    for (int i = 0; i < 2; i++) {
        check_same_results(both[i], alone[i]);
        free(alone[i]);
        trainee_free(both[i]);
    }
    activations_free(&other_length);
}

static void two_models_side_by_side(void **state)
{
    (void)state;
    for (int i = 0; check_table(i); i++) side_by_side(check_table(i));
}

int main(void)
{
    omp_set_num_threads(1); /* the shapes are too small to share */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(gradients_gqa),
        cmocka_unit_test(gradients_mla),
        cmocka_unit_test(gradients_mla_norm_factored),
        cmocka_unit_test(gradients_mla_biases_tied),
        cmocka_unit_test(gradients_mla_stock_biases),
        cmocka_unit_test(accumulates),
        cmocka_unit_test(documents_do_not_leak),
        cmocka_unit_test(float_matches_double),
        cmocka_unit_test(losses_of_tokens),
        cmocka_unit_test(another_loss),
        cmocka_unit_test(two_models_side_by_side),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
