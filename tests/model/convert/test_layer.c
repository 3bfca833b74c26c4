/* A layer in another basis: where it loses nothing in theory (keys that fit into the shared rotary
 * dimensions, full rank) the MLA model must compute what the GQA model computes, to the last digits of
 * double. Conversion of trained models is compared with TransMLA's own in tests/e2e. */
#include "model/convert/pieces.h"
#include "tests/model/convert/tiny_gqa.h"
#include <math.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

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
        const layer_weights w = weights_layer(&m->table, &m->units, (int)l);
        double *weight = w.wk.data, *bias = tensor_present(&w.bk) ? w.bk.data : NULL;
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

/* Without the rounding to float of layer_model_publish. */
static void write_exactly(const mla_layer *l, model *m, int64_t layer)
{
    const layer_weights w = weights_layer(&m->table, &m->units, (int)layer);
    int written = 0;
#define P(member, name, rows, cols, present)                                                                 \
    if (mla_layer_part(l, #member)) {                                                                        \
        assert_true(tensor_present(&w.member));                                                              \
        memcpy(w.member.data, mla_layer_part(l, #member), sizeof(double) * (size_t)tensor_numel(&w.member)); \
        written++;                                                                                           \
    }
#include "model/params.def"
#undef P
    assert_int_equal(written, mla_layer_parts(l));
}

/* The projections of a layer in memory that is read as double. */
static double *augmented(const tensor *weight, const tensor *bias)
{
    const int64_t rows = weight->dim[0], C = weight->dim[1];
    double *out = matrix_new(rows, C + 1);
    for (int64_t i = 0; i < rows; i++) {
        memcpy(out + i * (C + 1), (double *)weight->data + i * C, sizeof *out * (size_t)C);
        if (tensor_present(bias)) out[i * (C + 1) + C] = ((double *)bias->data)[i];
    }
    return out;
}

static gqa_layer read_exactly(const layer_weights *w)
{
    return (gqa_layer){.wq = augmented(&w->wq, &w->bq),
                       .wk = augmented(&w->wk, &w->bk),
                       .wv = augmented(&w->wv, &w->bv),
                       .wo = matrix_copy(w->wo.data, w->wo.dim[0], w->wo.dim[1])};
}

/* Some Gram matrix of [h;1]: at full rank it decides the axes and nothing else. */
static double *any_inputs(int64_t C)
{
    enum { ROWS = 40 };
    uint64_t state = 5;
    double *h = matrix_new(ROWS, C + 1), *gram = matrix_new(C + 1, C + 1);
    for (int64_t i = 0; i < ROWS * (C + 1); i++) h[i] = i % (C + 1) == C ? 1 : draw_uniform(&state) - 0.3;
    blas_gemm_f64(true, false, C + 1, C + 1, ROWS, 1, h, C + 1, h, C + 1, 0, gram, C + 1);
    free(h);
    return gram;
}

static void copy_rest(model *to, const model *from)
{
    const tensor head = weights_head(&to->table, &to->units),
                 embed = weights_embed(&from->table, &from->units);
    if (from->d.tied && !to->d.tied)
        memcpy(head.data, embed.data, sizeof(double) * (size_t)tensor_numel(&embed));
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
    const convert_settings settings = {.rope = rope, .rank = n, .q_rank = q_rank, .stock = stock};
    const dims to = convert_dims(d, &settings);
    const int64_t queried = q_rank ? layer_query_rank(&to) : 1;
    model source, mla;
    activations source_acts, mla_acts;
    model_init(&source, d, ops_cpu_f64(), 1);
    model_init(&mla, &to, ops_cpu_f64(), 1);
    activations_init(&source_acts, d, ops_cpu_f64(), WINDOWS, T, FORWARD_ONLY, RECOMPUTE_NONE);
    activations_init(&mla_acts, &to, ops_cpu_f64(), WINDOWS, T, FORWARD_ONLY, RECOMPUTE_NONE);
    tiny_weights(&source);
    keys_fit(&source, d->D / rope);
    sample s = sample_random(3);
    const token_batch batch = text_of(&s);
    double *inputs = any_inputs(d->C);
    model_evaluate(&source, &source_acts, &batch);

    copy_rest(&mla, &source);
    for (int64_t l = 0; l < d->L; l++) {
        const layer_weights original = weights_layer(&source.table, &source.units, (int)l);
        gqa_layer g = read_exactly(&original);
        mla_layer built;
        double *keys = keys_fit_gram(d, d->D / rope),
               *queries = matrix_gram(g.wq, inputs, d->H * d->D, width);
        rope_division sets = rope_uniform(d, freqfold);
        double *u = rope_rotation(d, rope, &sets, keys), *joint = gqa_layer_joint(d, &to, &g, u, inputs),
               *gram = matrix_gram(joint, inputs, n, width);
        double *down = matrix_new(n, n), *up = matrix_new(n, n),
               *q = lowrank_principal_axes(d->H * d->D, queried, queries),
               *q_up = matrix_transposed(q, queried, d->H * d->D);
        lowrank_joint_axes(d, rope, n, BALANCE_NORM, gram, down, up);
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
    free(inputs);
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

/* A copy has all parts, in memory of its own. */
static void a_copy_is_whole(void **state)
{
    (void)state;
    enum { R = 6, RQ = 5 };
    const convert_settings settings = {.rope = 4, .rank = R, .q_rank = RQ, .latent_norm = true};
    const dims from = biased(plain), d = convert_dims(&from, &settings);
    const int64_t queries = d.H * (d.Dn + d.Dr), readers = d.H * (d.Dn + d.Dv);
    const struct {
        const char *field;
        int64_t numel;
    } has[] = {
        {"wq_a", RQ * d.C},          {"q_a_norm", RQ},    {"wq_b", queries * RQ}, {"bq_b", queries},
        {"wkv_a", (R + d.Dr) * d.C}, {"bkv_a", R + d.Dr}, {"kv_a_norm", R},       {"wkv_b", readers * R},
        {"wo", d.C * d.H * d.Dv}};
    const size_t count = sizeof has / sizeof *has;
    uint64_t random = 11;
    mla_layer l = {.wq_a = matrix_new(1, has[0].numel),
                   .q_a_norm = matrix_new(1, has[1].numel),
                   .wq_b = matrix_new(1, has[2].numel),
                   .bq_b = matrix_new(1, has[3].numel),
                   .wkv_a = matrix_new(1, has[4].numel),
                   .bkv_a = matrix_new(1, has[5].numel),
                   .kv_a_norm = matrix_new(1, has[6].numel),
                   .wkv_b = matrix_new(1, has[7].numel),
                   .wo = matrix_new(1, has[8].numel)};
    for (size_t i = 0; i < count; i++)
        for (int64_t n = 0; n < has[i].numel; n++)
            mla_layer_part(&l, has[i].field)[n] = draw_uniform(&random);
    mla_layer copy = mla_layer_copy(&l, &d);
    assert_int_equal(mla_layer_parts(&copy), count);
    for (size_t i = 0; i < count; i++) {
        const double *was = mla_layer_part(&l, has[i].field), *is = mla_layer_part(&copy, has[i].field);
        assert_ptr_not_equal(was, is);
        assert_memory_equal(was, is, sizeof(double) * (size_t)has[i].numel);
    }
    mla_layer_free(&copy);
    assert_int_equal(mla_layer_parts(&copy), 0);
    assert_int_equal(mla_layer_parts(&l), count);
    mla_layer_free(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_at_full_rank),
        cmocka_unit_test(a_copy_is_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
