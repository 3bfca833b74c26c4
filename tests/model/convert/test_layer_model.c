/* What is made on the host and what the device has of it are the same numbers, rounded as they will be
 * written; what that type cannot hold is named. */
#include "model/convert/layer_model.h"
#include "tests/model/convert/tiny_gqa.h"
#include "tests/support/unit_store.h"
#include <math.h>

static const convert_settings settings = {.rope = 4, .rank = 6, .latent_norm = true};

static dims one(dims d)
{
    d.L = 1;
    return d;
}

static double *random_part(int64_t count)
{
    uint64_t state = 9;
    double *values = matrix_new(1, count);
    for (int64_t i = 0; i < count; i++) values[i] = draw_uniform(&state) / 3;
    return values;
}

static mla_layer random_layer(const dims *d)
{
    return (mla_layer){.wq = random_part(d->H * (d->Dn + d->Dr) * d->C),
                       .wkv_a = random_part((d->R + d->Dr) * d->C),
                       .kv_a_norm = random_part(d->R),
                       .wkv_b = random_part(d->H * (d->Dn + d->Dv) * d->R)};
}

/* The device's numbers are the host's. Returns whether all of them fit into bf16: 8 bits of mantissa. */
static bool same_on_device(const layer_model *m, const mla_layer *l)
{
    bool short_ones = true;
    const layer_weights w = layer_model_weights(m);
    const struct {
        const tensor *t;
        const double *host;
    } parts[] = {{&w.wq, l->wq}, {&w.wkv_a, l->wkv_a}, {&w.kv_a_norm, l->kv_a_norm}, {&w.wkv_b, l->wkv_b}};
    for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
        const int64_t count = tensor_numel(parts[p].t);
        double *got = matrix_new(1, count);
        m->m.k->download_f64(got, parts[p].t, m->m.k->stream);
        for (int64_t i = 0; i < count; i++) {
            int exponent;
            const double mantissa = ldexp(frexp(got[i], &exponent), 8);
            assert_true(got[i] == parts[p].host[i]);
            assert_true((double)(float)got[i] == got[i]);
            short_ones = short_ones && mantissa == floor(mantissa);
        }
        free(got);
    }
    layer_model_release(m, UNIT_LAYER);
    return short_ones;
}

static void the_host_goes_on_with_what_is_published(void **state)
{
    (void)state;
    const ops *const tables[] = {ops_cpu_f32(), ops_cpu_f64()};
    for (int table = 0; table < 2; table++)
        for (int written = 0; written < 2; written++) {
            const dims d = one(convert_dims(&plain, &settings));
            const written_layer as = {.type = BF16, .layer = 1};
            layer_model m;
            message why;
            layer_model_init(&m, &d, tables[table]);
            mla_layer l = random_layer(&d);
            assert_int_equal(layer_model_publish(&m, &l, comm_self(), written ? &as : NULL, &why), OK);
            assert_true(same_on_device(&m, &l) == (written == 1));
            mla_layer_free(&l);
            layer_model_free(&m);
        }
}

static void what_cannot_be_written_is_named(void **state)
{
    (void)state;
    const dims d = one(convert_dims(&plain, &settings));
    const written_layer as = {.type = F16, .layer = 1};
    layer_model m;
    message why;
    layer_model_init(&m, &d, ops_cpu_f32());
    for (int nan = 0; nan < 2; nan++) {
        mla_layer l = random_layer(&d);
        l.wkv_a[5] = nan ? (double)NAN : 70000;
        assert_int_equal(layer_model_publish(&m, &l, comm_self(), NULL, &why), OK); /* a try */
        assert_int_equal(layer_model_publish(&m, &l, comm_self(), &as, &why), ERR_INPUT);
        const char *name =
            "'model.layers.1.self_attn.kv_a_proj_with_mqa.weight' of the converted model: element 5 is ";
        if (!strstr(why.text, name) || !strstr(why.text, "f16 cannot hold"))
            fail_msg("\"%s\" does not say \"%s\"", why.text, name);
        mla_layer_free(&l);
    }
    layer_model_free(&m);
}

/* Norms, feed-forward and o_proj are copied; projections with another shape stay. The source's weights are
 * copies, which are NaN once they are released, and its own storage is NaN. */
static void what_both_have_is_copied(void **state)
{
    (void)state;
    const dims from = one(plain), to = one(convert_dims(&plain, &settings));
    layer_model source, target;
    message why;
    layer_model_init(&source, &from, ops_cpu_f32());
    layer_model_init(&target, &to, ops_cpu_f64());
    tiny_weights(&source.m);
    unit_store store;
    unit_store_init(&store, source.m.k, source.m.w.unit, source.m.table.num_units);
    source.m.units = unit_store_units(&store);
    gqa_layer g;
    gqa_layer_read(&g, &source);
    for (int64_t i = 0; i < from.H * from.D * (from.C + 1); i++) assert_true(isfinite(g.wq[i]));
    for (int64_t i = 0; i < from.C * from.H * from.D; i++) assert_true(isfinite(g.wo[i]));
    gqa_layer_free(&g);
    assert_int_equal(layer_model_copy(&target, &source, NULL, &why), OK);
    assert_int_equal(store.num_held, 0);
    const layer_weights a = layer_model_weights(&source), b = layer_model_weights(&target);
    const tensor *const pairs[][2] = {{&a.attn_norm, &b.attn_norm}, {&a.wo, &b.wo},
                                      {&a.mlp_norm, &b.mlp_norm},   {&a.w_gate, &b.w_gate},
                                      {&a.w_up, &b.w_up},           {&a.w_down, &b.w_down}};
    for (size_t p = 0; p < sizeof pairs / sizeof *pairs; p++)
        for (int64_t i = 0; i < tensor_numel(pairs[p][0]); i++)
            assert_true((double)((const float *)pairs[p][0]->data)[i] ==
                        ((const double *)pairs[p][1]->data)[i]);
    for (int64_t i = 0; i < tensor_numel(&b.wq); i++) assert_true(((const double *)b.wq.data)[i] == 0);
    layer_model_release(&source, UNIT_LAYER);
    layer_model_release(&target, UNIT_LAYER);
    unit_store_free(&store);
    layer_model_free(&source);
    layer_model_free(&target);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_host_goes_on_with_what_is_published),
        cmocka_unit_test(what_cannot_be_written_is_named),
        CHECK_TEST(what_both_have_is_copied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
