/* Conversion: where it loses nothing in theory (keys that fit into the shared rotary dimensions, full
 * rank) the MLA model must compute what the GQA model computes, to the last digits of double; where the
 * theory says that two of its models are equal they must be; what cannot work is refused with a sentence.
 * Conversion of trained models is compared with TransMLA's own in tests/e2e. */
#include "base/log.h"
#include "model/convert/pieces.h"
#include "tests/support/draw.h"
#include <math.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { WINDOWS = 12, T = 9, V = 13 };

static double uniform(uint64_t *state) { return draw_uniform(state) - 0.5; }

static const dims plain = {.kind = ATTENTION_GQA,
                           .L = 2,
                           .V = V,
                           .C = 10,
                           .F = 12,
                           .H = 4,
                           .G = 2,
                           .D = 8,
                           .norm_eps = 1e-5,
                           .rope = {.theta = 100}};

static dims biased(dims d)
{
    d.q_bias = d.k_bias = d.v_bias = true;
    return d;
}

static dims grouped(dims d, int64_t H, int64_t G)
{
    d.H = H;
    d.G = G;
    return d;
}

static dims tied_llama3(dims d)
{
    d.tied = true;
    d.rope.llama3 = true;
    d.rope.factor = 8, d.rope.low_freq_factor = 1, d.rope.high_freq_factor = 4,
    d.rope.original_max_position = 16;
    return d;
}

/* Random weights that float represents exactly. */
static void weights_random(model *m)
{
    uint64_t state = 7;
    for (int i = 0; i < m->table.count; i++) {
        const param *p = &m->table.param[i];
        tensor t = weights_param(&m->w, p);
        double *values = matrix_new(1, p->numel);
        for (int64_t n = 0; n < p->numel; n++)
            values[n] =
                (strstr(p->name, "norm") ? 1 : 0) + uniform(&state) * (strstr(p->name, "_proj") ? 2 : 0.5);
        matrix_write(m->k, &t, values);
        free(values);
    }
}

/* Keys of which every pair that will lose its rotation is zero: those of group g are those of group 0 times a
 * number, and only every `collapse`-th frequency is there. RoRoPE then moves all of the keys into the rotary
 * dimensions. */
static double key_factor(const dims *d, int64_t collapse, int64_t row)
{
    return row % (d->D / 2) % collapse ? 0 : 1 + 0.5 * (double)(row / d->D);
}

static void keys_fit(model *m, int64_t collapse)
{
    const dims *d = &m->d;
    for (int64_t l = 0; l < d->L; l++) {
        layer_weights *w = &m->w.layer[l];
        double *weight = w->wk.data, *bias = tensor_present(&w->bk) ? w->bk.data : NULL;
        for (int64_t row = 0; row < d->G * d->D; row++) {
            const int64_t first = row % d->D;
            const double factor = key_factor(d, collapse, row);
            for (int64_t c = 0; c < d->C; c++) weight[row * d->C + c] = factor * weight[first * d->C + c];
            if (bias) bias[row] = factor * bias[first];
        }
    }
}

/* What their Gram matrix would be with uncorrelated frequencies, each weaker than the one before: the
 * components of a set are then single frequencies in their order, so that FreqFold loses nothing either. */
static double *keys_fit_gram(const dims *d, int64_t collapse)
{
    const int64_t n = d->G * d->D;
    double *gram = matrix_new(n, n);
    for (int64_t i = 0; i < n; i++)
        for (int64_t j = 0; j < n; j++)
            if (i % d->D == j % d->D)
                gram[i * n + j] =
                    key_factor(d, collapse, i) * key_factor(d, collapse, j) / (double)(1 + i % (d->D / 2));
    return gram;
}

typedef struct sample {
    int32_t tokens[WINDOWS * T], targets[WINDOWS * T], first[WINDOWS * T];
} sample;

static sample sample_random(void)
{
    sample s = {0};
    uint64_t state = 3;
    for (int n = 0; n < WINDOWS * T; n++) {
        s.tokens[n] = (int32_t)((uniform(&state) + 0.5) * V);
        s.targets[n] = (int32_t)((uniform(&state) + 0.5) * V);
    }
    return s;
}

static calibration text_of(const sample *s)
{
    return (calibration){.windows = WINDOWS, .T = T, .tokens = s->tokens, .targets = s->targets};
}

/* Without the rounding to float of mla_layer_write. */
static void write_exactly(const mla_layer *l, model *m, int64_t layer)
{
    layer_weights *w = &m->w.layer[layer];
    const struct {
        tensor *to;
        const double *from;
    } pieces[] = {
        {&w->wq, l->wq},       {&w->bq, l->bq},     {&w->wq_a, l->wq_a},   {&w->bq_a, l->bq_a},
        {&w->wq_b, l->wq_b},   {&w->bq_b, l->bq_b}, {&w->wkv_a, l->wkv_a}, {&w->bkv_a, l->bkv_a},
        {&w->wkv_b, l->wkv_b}, {&w->bo, l->bo},
    };
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        assert_true(tensor_present(pieces[i].to) == (pieces[i].from != NULL));
        if (pieces[i].from)
            memcpy(pieces[i].to->data, pieces[i].from, sizeof(double) * (size_t)tensor_numel(pieces[i].to));
    }
}

static void copy_rest(model *to, const model *from)
{
    if (from->d.tied && !to->d.tied)
        memcpy(to->w.head.data, from->w.embed.data, sizeof(double) * (size_t)tensor_numel(&from->w.embed));
    for (int i = 0; i < to->table.count; i++) {
        const param *p = &to->table.param[i], *q = param_find(&from->table, p->name);
        if (q && q->numel == p->numel)
            memcpy(weights_param(&to->w, p).data, weights_param(&from->w, q).data,
                   sizeof(double) * (size_t)p->numel);
    }
}

/* A converted model of full rank, in double throughout, gives every position the loss that the original
 * gives it; one with the biases of a stock DeepSeek model, too. */
static void check_exact(const dims *d, int64_t rope, int64_t freqfold, int64_t q_rank, bool axes, bool stock)
{
    const int64_t n = 2 * d->G * d->D - rope, width = d->C + 1;
    const convert_settings how = {.rope = rope, .rank = n, .q_rank = q_rank, .stock = stock};
    const dims to = convert_dims(d, &how);
    const int64_t queried = q_rank ? query_rank(&to) : 1;
    model source, mla;
    activations source_acts, mla_acts;
    model_init(&source, d, ops_cpu_f64(), 1);
    model_init(&mla, &to, ops_cpu_f64(), 1);
    activations_init(&source_acts, d, ops_cpu_f64(), WINDOWS, T, FORWARD_ONLY);
    activations_init(&mla_acts, &to, ops_cpu_f64(), WINDOWS, T, FORWARD_ONLY);
    weights_random(&source);
    keys_fit(&source, d->D / rope);
    sample s = sample_random();
    const token_batch batch = {
        .sequences = WINDOWS, .T = T, .tokens = s.tokens, .targets = s.targets, .first = s.first};
    gram_set inputs;
    gram_set_init(&inputs, &source, &source_acts, 1);
    source_acts.tap = gram_tap, source_acts.tap_context = &inputs;
    model_evaluate(&source, &source_acts, &batch);

    copy_rest(&mla, &source);
    for (int64_t l = 0; l < d->L; l++) {
        gqa_layer g;
        mla_layer built;
        gqa_layer_read(&g, &source, l);
        double *keys = keys_fit_gram(d, d->D / rope),
               *queries = gram_of(g.wq, inputs.s[l], d->H * d->D, width);
        rope_division sets = rope_uniform(d, freqfold);
        double *u = rope_rotation(d, rope, &sets, keys),
               *joint = joint_projection(d, &to, &g, u, inputs.s[l]),
               *gram = gram_of(joint, inputs.s[l], n, width);
        double *down = matrix_new(n, n), *up = matrix_new(n, n),
               *q = principal_axes(d->H * d->D, queried, queries),
               *q_up = transposed(q, queried, d->H * d->D);
        joint_axes(d, rope, n, BALANCE_NORM, gram, down, up);
        mla_layer_build(&built, d, &to, &g,
                        &(layer_basis){.u = u,
                                       .joint = joint,
                                       .down = axes ? down : NULL,
                                       .up = axes ? up : NULL,
                                       .q_down = q,
                                       .q_up = q_up});
        write_exactly(&built, &mla, l);
        mla_layer_free(&built);
        gqa_layer_free(&g);
        rope_division_free(&sets);
        double *const all[] = {keys, queries, u, joint, gram, down, up, q, q_up};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    }
    model_evaluate(&mla, &mla_acts, &batch);
    const double *want = source_acts.loss.data, *got = mla_acts.loss.data;
    for (int64_t i = 0; i < WINDOWS * T; i++)
        if (!(fabs(got[i] - want[i]) < 1e-10))
            fail_msg("position %d: loss %.15g, not %.15g", (int)i, got[i], want[i]);
    gram_set_free(&inputs);
    activations_free(&source_acts);
    activations_free(&mla_acts);
    model_free(&source);
    model_free(&mla);
}

static void exact_at_full_rank(void **state)
{
    (void)state;
    const dims variants[] = {plain, grouped(plain, 3, 1), grouped(plain, 2, 2), biased(plain),
                             tied_llama3(biased(grouped(plain, 6, 3)))};
    for (size_t i = 0; i < sizeof variants / sizeof *variants; i++)
        for (int64_t rope = variants[i].D; rope >= 2; rope /= 2)
            for (int64_t f = variants[i].D / rope; f <= variants[i].D / 2; f *= 2) {
                const int64_t queries = variants[i].H * variants[i].D;
                check_exact(&variants[i], rope, f, 0, false, false);
                check_exact(&variants[i], rope, f, 0, true, false);
                check_exact(&variants[i], rope, f, queries, true, false);
                const bool carried = variants[i].q_bias || variants[i].rope.llama3;
                check_exact(&variants[i], rope, f, queries + carried, true, true);
            }
}

/* ---- conversion_run -------------------- */

static void source_init(model *m, const dims *d)
{
    model_init(m, d, ops_cpu_f32(), 1);
    weights_random(m);
}

/* The loss in batches of B windows; `inputs`, which may be NULL, gets the attention's. */
static double loss_in_batches(const model *m, const calibration *text, int64_t B, gram_set *inputs)
{
    activations a;
    activations_init(&a, &m->d, m->k, B, T, FORWARD_ONLY);
    if (inputs) gram_set_init(inputs, m, &a, 1);
    const double loss = calibrate(m, &a, text, "again", inputs ? gram_tap : NULL, inputs);
    activations_free(&a);
    return loss;
}

static void close_to(double got, double want, double tolerance)
{
    if (!(fabs(got / want - 1) <= tolerance)) fail_msg("%.9g is not %.9g within %g", got, want, tolerance);
}

/* 5 does not divide WINDOWS: the last batch is filled up, and what fills it is not counted. */
static void a_short_batch_counts_what_it_holds(void **state)
{
    (void)state;
    const sample s = sample_random();
    const calibration text = text_of(&s);
    const int64_t elements = (plain.C + 1) * (plain.C + 1);
    model m;
    gram_set whole, cut;
    source_init(&m, &plain);
    close_to(loss_in_batches(&m, &text, 5, &cut), loss_in_batches(&m, &text, WINDOWS, &whole), 1e-6);
    for (int64_t l = 0; l < plain.L; l++) {
        assert_true(whole.s[l][elements - 1] == WINDOWS * T);
        for (int64_t i = 0; i < elements; i++)
            assert_true(fabs(cut.s[l][i] - whole.s[l][i]) < 1e-4 * WINDOWS * T);
    }
    gram_set_free(&whole);
    gram_set_free(&cut);
    model_free(&m);
}

/* At full rank nothing is lost between the partial-RoPE model and the result; below it something is. */
static void full_rank_is_the_partial_model(void **state)
{
    (void)state;
    const dims d = biased(plain);
    const sample s = sample_random();
    const calibration text = text_of(&s);
    message why;
    model source;
    source_init(&source, &d);
    for (int factored = 0; factored < 2; factored++) {
        conversion c;
        const convert_settings full = {.rope = 4, .rank = 28, .q_rank = factored ? 32 : 0, .freqfold = 4};
        assert_int_equal(conversion_run(&c, &source, &full, &text, &why), OK);
        close_to(c.loss_mla, c.loss_partial, 1e-5);
        model partial;
        conversion_partial(&c, &partial);
        close_to(loss_in_batches(&partial, &text, 3, NULL), c.loss_partial, 1e-5);
        model_free(&partial);
        conversion_free(&c);
    }
    conversion c;
    assert_int_equal(
        conversion_run(&c, &source, &(convert_settings){.rope = 4, .rank = 6, .freqfold = 4}, &text, &why),
        OK);
    assert_true(fabs(c.loss_mla / c.loss_partial - 1) > 1e-4);
    conversion_free(&c);
    model_free(&source);
}

static void auto_takes_the_best_freqfold(void **state)
{
    (void)state;
    const sample s = sample_random();
    const calibration text = text_of(&s);
    message why;
    model source;
    source_init(&source, &plain);
    double best = INFINITY;
    convert_settings how = {.rope = 4, .rank = 12};
    for (how.freqfold = 2; how.freqfold <= 4; how.freqfold *= 2) {
        conversion c;
        assert_int_equal(conversion_run(&c, &source, &how, &text, &why), OK);
        best = fmin(best, c.loss_mla);
        conversion_free(&c);
    }
    conversion c;
    how.freqfold = 0;
    assert_int_equal(conversion_run(&c, &source, &how, &text, &why), OK);
    assert_true(c.loss_mla == best);
    conversion_free(&c);
    model_free(&source);
}

/* With a bias the channel is exactly constant, so that the norm is close to the identity; without,
 * whichever way is kept is better than nothing at all. */
static void latent_norms_cost_little(void **state)
{
    (void)state;
    const sample s = sample_random();
    const calibration text = text_of(&s);
    message why;
    for (int bias = 0; bias < 2; bias++) {
        const dims d = bias ? biased(plain) : plain;
        model source;
        conversion without, with;
        source_init(&source, &d);
        convert_settings how = {.rope = 4, .rank = 20, .q_rank = 24, .freqfold = 4};
        assert_int_equal(conversion_run(&without, &source, &how, &text, &why), OK);
        how.latent_norm = true;
        assert_int_equal(conversion_run(&with, &source, &how, &text, &why), OK);
        assert_true(with.mla.d.latent_norm);
        close_to(with.loss_mla, loss_in_batches(&with.mla, &text, WINDOWS, NULL), 1e-6);
        close_to(with.loss_mla, without.loss_mla, 0.03);
        conversion_free(&without);
        conversion_free(&with);
        model_free(&source);
    }
}

/* Behind its norm the constant channel is as large as the other dimensions; without one all have one weight.
 */
static void the_channel_is_scaled_down(void **state)
{
    (void)state;
    enum { R = 6, ROWS = 50 };
    const convert_settings how = {.rope = 4, .rank = R, .latent_norm = true};
    const dims to = convert_dims(&plain, &how);
    model m;
    model_init(&m, &to, ops_cpu_f64(), 1);
    double latents[ROWS][R], rest = 0, last = 0;
    for (int n = 0; n < ROWS; n++)
        for (int i = 0; i < R; i++) {
            latents[n][i] = i == R - 1 ? 40 + n % 3 : sin(n * R + i);
            *(i == R - 1 ? &last : &rest) += latents[n][i] * latents[n][i] / (i == R - 1 ? 1 : R - 1);
        }
    for (int constant = 0; constant < 2; constant++) {
        latent_sums sums = {0};
        latent_sums_add(&sums, latents[0], ROWS, R, constant);
        norm_weight_write(&m, 0, LATENT_KV, &sums, constant);
        const double *g = m.w.layer[0].kv_a_norm.data;
        for (int i = 1; i < R - 1; i++) close_to(g[i], g[0], 1e-12);
        close_to(g[R - 1] / g[0], constant ? sqrt(rest / last) : 1, 1e-6);
    }
    model_free(&m);
}

/* ---- refusals -------------------- */

static void refuses(convert_settings how, const char *text)
{
    message why = {""};
    if (!how.rope) how.rope = 4;
    if (!how.rank) how.rank = 12;
    assert_int_equal(convert_check(&plain, &how, &why), ERR_USAGE);
    if (!strstr(why.text, text)) fail_msg("\"%s\" does not say \"%s\"", why.text, text);
}

static void impossible_settings_are_refused(void **state)
{
    (void)state;
    message why;
    refuses((convert_settings){.rope = 64}, "convert.qk_rope_head_dim=64");
    refuses((convert_settings){.rope = 64}, "nearest that does: 8");
    refuses((convert_settings){.rope = 5}, "4 or 8");
    refuses((convert_settings){.rank = 29}, "from 1 to 28");
    refuses((convert_settings){.rank = 1, .latent_norm = true}, "from 2 to 28");
    refuses((convert_settings){.q_rank = 33}, "from 1 to 32");
    refuses((convert_settings){.freqfold = 3}, "one of 2, 4, or auto");
    refuses((convert_settings){.freqfold = 1}, "convert.freqfold=1");
    assert_int_equal(
        convert_check(&plain, &(convert_settings){.rope = 4, .rank = 28, .q_rank = 32, .freqfold = 4}, &why),
        OK);
}

static void too_little_text_is_refused(void **state)
{
    (void)state;
    const sample s = sample_random();
    const calibration text = {.windows = 1, .T = T, .tokens = s.tokens, .targets = s.targets};
    message why;
    model source;
    conversion c;
    source_init(&source, &plain);
    assert_int_equal(
        conversion_run(&c, &source, &(convert_settings){.rope = 4, .rank = 12, .freqfold = 4}, &text, &why),
        ERR_INPUT);
    assert_non_null(strstr(why.text, "9 calibration tokens"));
    conversion_free(&c);
    model_free(&source);
}

int main(void)
{
    log_start(1, false); /* as a rank that does not speak */
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_at_full_rank),
        cmocka_unit_test(a_short_batch_counts_what_it_holds),
        cmocka_unit_test(full_rank_is_the_partial_model),
        cmocka_unit_test(auto_takes_the_best_freqfold),
        cmocka_unit_test(latent_norms_cost_little),
        cmocka_unit_test(the_channel_is_scaled_down),
        cmocka_unit_test(impossible_settings_are_refused),
        cmocka_unit_test(too_little_text_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
