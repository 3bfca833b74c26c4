/* The weight table against model folders made by others, and the views into units. */
#include "model/hf/config.h"
#include "base/file.h"
#include "model/hf/safetensors.h"
#include "model/weights.h"
#include "tests/support/scratch.h"
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

static bool skipped;

static const dims mla = {.kind = ATTENTION_MLA,
                         .L = 3,
                         .V = 11,
                         .C = 8,
                         .F = 10,
                         .H = 2,
                         .Dn = 4,
                         .Dr = 2,
                         .Dv = 3,
                         .R = 5,
                         .Rq = 6,
                         .q_bias = true,
                         .k_bias = true,
                         .latent_norm = true};
static const dims gqa = {
    .kind = ATTENTION_GQA, .L = 2, .V = 11, .C = 8, .F = 10, .H = 4, .G = 2, .D = 6, .tied = true};

/* Inside a unit parameters follow each other without holes, in the order of the table; units are in order. */
static void check_table(const dims *d)
{
    param_table t;
    param_table_init(&t, d);
    assert_int_equal(t.num_units, d->L + 2);
    int unit = 0;
    int64_t at = 0, total = 0;
    assert_int_equal(t.unit_first[0], 0);
    for (int i = 0; i < t.count; i++) {
        const param *p = &t.param[i];
        if (p->unit != unit) {
            assert_int_equal(p->unit, unit + 1);
            assert_int_equal(t.unit_numel[unit], at);
            assert_int_equal(t.unit_first[p->unit], i);
            unit++, at = 0;
        }
        assert_int_equal(p->offset, at);
        assert_int_equal(p->numel, p->dim[0] * p->dim[1]);
        assert_ptr_equal(param_find(&t, p->name), p);
        at += p->numel;
        total += p->numel;
    }
    assert_int_equal(unit, d->L + 1);
    assert_int_equal(t.unit_numel[unit], at);
    assert_int_equal(t.unit_first[unit + 1], t.count);
    assert_int_equal(param_table_numel(&t), total);
    assert_null(param_find(&t, "model.layers.9.input_layernorm.weight"));
    param_table_free(&t);
}

static void units_are_contiguous(void **state)
{
    (void)state;
    check_table(&mla);
    check_table(&gqa);
}

static void names_and_shapes(void **state)
{
    (void)state;
    param_table t;
    param_table_init(&t, &mla);
    assert_string_equal(t.param[0].name, "model.embed_tokens.weight");
    assert_string_equal(t.param[t.count - 2].name, "model.norm.weight");
    assert_string_equal(t.param[t.count - 1].name, "lm_head.weight");
    const param *p = param_find(&t, "model.layers.2.self_attn.kv_a_proj_with_mqa.weight");
    assert_true(p && p->unit == 3 && p->rank == 2 && p->dim[0] == 7 && p->dim[1] == 8);
    p = param_find(&t, "model.layers.0.self_attn.q_b_proj.bias");
    assert_true(p && p->unit == 1 && p->rank == 1 && p->dim[0] == 12 && p->dim[1] == 1);
    assert_null(param_find(&t, "model.layers.0.self_attn.q_proj.weight"));
    assert_non_null(param_find(&t, "model.layers.0.self_attn.kv_a_layernorm.weight"));
    param_table_free(&t);
    param_table_init(&t, &gqa);
    assert_null(param_find(&t, "lm_head.weight"));
    assert_null(param_find(&t, "model.layers.0.self_attn.q_proj.bias"));
    assert_non_null(param_find(&t, "model.layers.1.self_attn.v_proj.weight"));
    param_table_free(&t);
}

/* Every element of every unit belongs to exactly one view, which the table names; padding belongs to none. */
static void views(void **state)
{
    (void)state;
    enum { PAD = 64 };
    param_table t;
    weights w;
    param_table_init(&t, &mla);
    arena size = {.name = "test"}, a = {.name = "test"};
    weights_init(&w, &t, F64, PAD, &size);
    assert_null(w.unit[UNIT_EMBED].data);
    weights_free(&w);
    arena_reserve(&a, size.used);
    weights_init(&w, &t, F64, PAD, &a);
    assert_int_equal(a.used, size.used);
    for (int u = 0; u < w.num_units; u++) {
        assert_int_equal(w.unit[u].dim[0] % PAD, 0);
        assert_true(w.unit[u].dim[0] - t.unit_numel[u] < PAD);
        memset(w.unit[u].data, 0, sizeof(double) * (size_t)w.unit[u].dim[0]);
    }
    for (int i = 0; i < t.count; i++) {
        const tensor view = weights_param(&w, &t.param[i]);
        assert_string_equal(view.name, t.param[i].name);
        assert_int_equal(view.rank, t.param[i].rank);
        for (int64_t n = 0; n < t.param[i].numel; n++) ((double *)view.data)[n] += i + 1;
    }
    for (int u = 0; u < w.num_units; u++)
        for (int64_t n = 0; n < w.unit[u].dim[0]; n++)
            assert_true((((double *)w.unit[u].data)[n] > 0) == (n < t.unit_numel[u]));

    const units all = weights_units(&w);
    const layer_weights layer = weights_layer(&t, &all, 1);
    assert_false(tensor_present(&layer.wq));
    assert_false(tensor_present(&layer.wk));
    assert_true(tensor_present(&layer.bkv_a));
    assert_string_equal(layer.wkv_b.name, "model.layers.1.self_attn.kv_b_proj.weight");
    assert_string_equal(layer.w_down.name, "model.layers.1.mlp.down_proj.weight");
    assert_string_equal(layer.attn_norm.name, "model.layers.1.input_layernorm.weight");
    assert_true(layer.wkv_b.dim[0] == 14 && layer.wkv_b.dim[1] == 5);
    assert_string_equal(weights_final_norm(&t, &all).name, "model.norm.weight");
    assert_string_equal(weights_head(&t, &all).name, "lm_head.weight");
    weights_free(&w);
    param_table_free(&t);

    param_table_init(&t, &gqa);
    arena tied = {.name = "test"};
    weights_init(&w, &t, F32, 1, &tied);
    const units of_tied = weights_units(&w);
    assert_string_equal(weights_head(&t, &of_tied).name, "model.embed_tokens.weight");
    weights_free(&w);
    param_table_free(&t);
    arena_release(&a);
}

/* The tensors that the fixtures' folders hold are exactly those of the table. */
static void fixtures(void **state)
{
    (void)state;
    static const char *const names[] = {"llama", "qwen2_bias_tied", "llama3_scaled_qlora_bf16",
                                        "mistral_norm_fp16_sharded", "qwen2_deepseek_style"};
    if ((skipped = !fixture_path("llama"))) skip();
    for (int i = 0; i < 10; i++) {
        message why;
        model_config c;
        safetensors s;
        param_table t;
        char folder[PATH_BYTES];
        const char *path = fixture_path(path_join(folder, names[i / 2], i % 2 ? "mla" : "gqa"));
        if (config_read(&c, path, &why) != OK || safetensors_open(&s, path, &why) != OK)
            fail_msg("%s", why.text);
        param_table_init(&t, &c.d);
        assert_int_equal(t.count, s.count);
        for (int j = 0; j < t.count; j++) {
            const param *p = &t.param[j];
            const safetensors_entry *e = safetensors_find(&s, p->name);
            if (!e) fail_msg("%s: %s is not in the folder", path, p->name);
            assert_int_equal(e->rank, p->rank);
            for (int axis = 0; axis < p->rank; axis++) assert_int_equal(e->dim[axis], p->dim[axis]);
            assert_int_equal(e->bytes, p->numel * dtype_bytes(c.storage));
        }
        param_table_free(&t);
        safetensors_close(&s);
        config_free(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(units_are_contiguous),
        cmocka_unit_test(names_and_shapes),
        cmocka_unit_test(views),
        cmocka_unit_test(fixtures),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return skipped && !failed ? SKIPPED_CODE : failed;
}
