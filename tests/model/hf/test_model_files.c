/* Weights to a folder and back, in one file and in several; folders that do not fit the model; the
 * fixtures' folders. */
#include "model/hf/model_files.h"
#include "base/file.h"
#include "model/hf/config.h"
#include "model/hf/safetensors.h"
#include "tests/support/scratch.h"
#include <math.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static char folder[64], path[PATH_BYTES];
static message why;
static bool skipped;

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/remla-files-XXXXXX");
    if (!mkdtemp(folder)) return -1;
    path_join(path, folder, "model.safetensors");
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    return folder_remove(folder, &why) == OK ? 0 : -1;
}

/* Large enough that the embedding goes in two parts. */
static const dims shape = {
    .kind = ATTENTION_MLA, .L = 2, .V = 20000, .C = 64, .F = 40, .H = 2, .Dn = 4, .Dr = 2, .Dv = 3, .R = 5};

typedef struct set {
    param_table t;
    weights w;
    units units; /* of w */
    arena a;
} set;

static void set_init(set *s, const dims *d, const ops *k)
{
    arena size = {.name = "test"};
    *s = (set){.a = {.name = "test"}};
    param_table_init(&s->t, d);
    weights_init(&s->w, &s->t, k->real, 16, &size);
    weights_free(&s->w);
    arena_reserve(&s->a, size.used);
    weights_init(&s->w, &s->t, k->real, 16, &s->a);
    for (int u = 0; u < s->w.num_units; u++) k->zero(&s->w.unit[u], k->stream);
    s->units = weights_units(&s->w);
}

static void set_free(set *s)
{
    weights_free(&s->w);
    param_table_free(&s->t);
    arena_release(&s->a);
}

static double element(const tensor *t, int64_t i)
{
    return t->type == F64 ? ((const double *)t->data)[i] : (double)((const float *)t->data)[i];
}

/* Numbers that every storage type holds exactly, different for neighbours. */
static void set_fill(set *s)
{
    for (int i = 0; i < s->t.count; i++) {
        const tensor view = weights_param(&s->w, &s->t.param[i]);
        for (int64_t n = 0; n < s->t.param[i].numel; n++) {
            const double value = (double)((n * 37 + i * 11) % 255 - 127) / 64;
            if (view.type == F64)
                ((double *)view.data)[n] = value;
            else
                ((float *)view.data)[n] = (float)value;
        }
    }
}

static void check_same(const set *got, const set *want)
{
    for (int i = 0; i < want->t.count; i++) {
        const param *p = &want->t.param[i];
        const tensor x = weights_param(&got->w, p), y = weights_param(&want->w, p);
        for (int64_t n = 0; n < p->numel; n++)
            if (!(element(&x, n) == element(&y, n)))
                fail_msg("%s: element %lld is %g, expected %g", p->name, (long long)n, element(&x, n),
                         element(&y, n));
    }
}

static void round_trip(const ops *k, dtype storage, int64_t file_bytes_limit, int files)
{
    set first, second;
    set_init(&first, &shape, k);
    set_init(&second, &shape, k);
    set_fill(&first);
    if (model_save(folder, &first.t, &first.units, k, storage, file_bytes_limit, &why) != OK)
        fail_msg("%s", why.text);
    safetensors s;
    if (safetensors_open(&s, folder, &why) != OK) fail_msg("%s", why.text);
    assert_int_equal(s.num_files, files);
    assert_int_equal(s.count, first.t.count);
    for (int i = 0; i < s.count; i++) assert_int_equal(s.entry[i].type, storage);
    safetensors_close(&s);
    if (model_load(folder, &second.t, &second.w, k, &why) != OK) fail_msg("%s", why.text);
    check_same(&second, &first);
    set_free(&first);
    set_free(&second);
}

static void one_file(void **state)
{
    (void)state;
    round_trip(ops_cpu_f32(), F32, INT64_C(1) << 40, 1);
    round_trip(ops_cpu_f64(), F16, INT64_C(1) << 40, 1);
}

static void several_files(void **state)
{
    (void)state;
    /* Embedding and head are larger than a file may be: each gets one of its own. A layer has 18956 bytes,
     * the final norm joins the second. */
    round_trip(ops_cpu_f32(), BF16, 20000, 4);
    assert_false(file_exists(path));
    char name[PATH_BYTES];
    assert_true(file_exists(path_join(name, folder, "model-00004-of-00004.safetensors")));
    assert_true(file_bytes(path_join(name, folder, "model-00003-of-00004.safetensors")) > 18956 + 128);
}

static void largest_single_file(void **state)
{
    (void)state;
    set first;
    const ops *k = ops_cpu_f32();
    set_init(&first, &shape, k);
    set_fill(&first);
    assert_int_equal(
        model_save(folder, &first.t, &first.units, k, F32, 4 * param_table_numel(&first.t), &why), OK);
    assert_true(file_exists(path));
    set_free(&first);
}

static void unstorable_weights(void **state)
{
    (void)state;
    set first;
    const ops *k = ops_cpu_f32();
    set_init(&first, &shape, k);
    set_fill(&first);
    float *norm = weights_layer(&first.t, &first.units, 1).mlp_norm.data;
    norm[3] = NAN;
    assert_int_equal(model_save(folder, &first.t, &first.units, k, F32, INT64_C(1) << 40, &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "model.layers.1.post_attention_layernorm.weight"));
    assert_false(file_exists(path));
    set_free(&first);
}

/* `written` has these files and no others, each with the size and hash that it has on the disk. */
static void check_written(const written_files *written, const char *in, const char *const *names, int count)
{
    assert_int_equal(written->count, count);
    for (int i = 0; i < count; i++) {
        const written_file *f = &written->file[i];
        char name[PATH_BYTES];
        uint64_t hash;
        int64_t bytes;
        assert_string_equal(f->name, names[i]);
        assert_int_equal(file_hash(path_join(name, in, f->name), &hash, &bytes, &why), OK);
        assert_true(f->bytes == bytes && f->hash == hash);
    }
}

static void records_what_it_writes(void **state)
{
    (void)state;
    static const char *const one[] = {"model.safetensors"}, *const several[] = {
                                                                "model-00001-of-00004.safetensors",
                                                                "model-00002-of-00004.safetensors",
                                                                "model-00003-of-00004.safetensors",
                                                                "model-00004-of-00004.safetensors",
                                                                "model.safetensors.index.json"};
    set first;
    const ops *k = ops_cpu_f32();
    set_init(&first, &shape, k);
    set_fill(&first);
    for (int files = 1; files <= 4; files += 3) {
        written_files written = {0};
        model_writer w;
        assert_int_equal(
            model_writer_open(&w, folder, &first.t, k, BF16, files == 1 ? INT64_C(1) << 40 : 20000, &why),
            OK);
        w.written = &written;
        for (int u = 0; u < first.t.num_units; u++)
            assert_int_equal(model_writer_unit(&w, u, &first.w.unit[u], &why), OK);
        assert_int_equal(model_writer_finish(&w, &why), OK);
        check_written(&written, folder, files == 1 ? one : several, files == 1 ? 1 : 5);
        written_free(&written);
    }
    set_free(&first);
}

/* ---- folders that do not fit --------------------------------------------------------------------------- */

/* Writes the tensors of `t` as zeros, but one, with `extra` after them, and `reshaped` with another shape.
 * NULL: none. */
static void write_folder(const param_table *t, const char *without, const char *extra, const char *reshaped)
{
    safetensors_spec *spec = calloc((size_t)t->count + 1, sizeof *spec);
    float *zeros = calloc((size_t)shape.V * (size_t)shape.C, sizeof *zeros);
    assert_true(spec && zeros);
    int count = 0;
    for (int i = 0; i < t->count; i++) {
        const param *p = &t->param[i];
        if (without && strcmp(p->name, without) == 0) continue;
        spec[count] = (safetensors_spec){.type = F32, .rank = p->rank, .dim = {p->dim[0], p->dim[1]}};
        if (reshaped && strcmp(p->name, reshaped) == 0) spec[count].dim[0]++;
        snprintf(spec[count++].name, sizeof spec->name, "%s", p->name);
    }
    if (extra) {
        spec[count] = (safetensors_spec){.type = F32, .rank = 1, .dim = {4}};
        snprintf(spec[count++].name, sizeof spec->name, "%s", extra);
    }
    safetensors_writer w;
    assert_int_equal(safetensors_create(&w, path, spec, count, &why), OK);
    for (int i = 0; i < count; i++)
        assert_int_equal(
            safetensors_append(&w, zeros, spec[i].dim[0] * (spec[i].rank == 2 ? spec[i].dim[1] : 1), &why),
            OK);
    uint64_t hash;
    int64_t bytes;
    assert_int_equal(safetensors_finish(&w, &hash, &bytes, &why), OK);
    free(spec);
    free(zeros);
}

static void expect(const set *s, const char *words)
{
    const status got = model_load(folder, &s->t, &s->w, ops_cpu_f32(), &why);
    if (!words) {
        if (got != OK) fail_msg("%s", why.text);
        return;
    }
    assert_int_equal(got, ERR_INPUT);
    if (!strstr(why.text, words) || !strstr(why.text, path))
        fail_msg("'%s' does not say '%s' of %s", why.text, words, path);
}

static void folders_that_do_not_fit(void **state)
{
    (void)state;
    dims d = shape;
    d.V = 30;
    set s, tied;
    set_init(&s, &d, ops_cpu_f32());
    d.tied = true;
    set_init(&tied, &d, ops_cpu_f32());
    write_folder(&s.t, NULL, NULL, NULL);
    expect(&s, NULL);
    expect(&tied, NULL); /* a tied model may carry its head */
    write_folder(&tied.t, NULL, NULL, NULL);
    expect(&tied, NULL);
    expect(&s, "tensor 'lm_head.weight' is missing");
    write_folder(&s.t, "model.layers.1.mlp.up_proj.weight", NULL, NULL);
    expect(&s, "tensor 'model.layers.1.mlp.up_proj.weight' is missing");
    write_folder(&s.t, NULL, NULL, "model.layers.0.self_attn.kv_b_proj.weight");
    expect(&s, "tensor 'model.layers.0.self_attn.kv_b_proj.weight' has shape (15,5), the config.json beside "
               "it asks for (14,5)");
    write_folder(&s.t, NULL, NULL, "model.norm.weight");
    expect(&s, "tensor 'model.norm.weight' has shape (65)");
    write_folder(&s.t, NULL, "model.layers.1.self_attn.rotary_emb.inv_freq", NULL);
    expect(&s, NULL);
    static const char *const extra[] = {
        "model.layers.2.input_layernorm.weight",
        "model.layers.0.self_attn.kv_a_layernorm.weight",
        "model.layers.0.self_attn.o_proj.bias",
        "model.layers..self_attn.rotary_emb.inv_freq",
        "model.rotary_emb.inv_freq",
        "x",
    };
    for (size_t i = 0; i < sizeof extra / sizeof extra[0]; i++) {
        write_folder(&s.t, NULL, extra[i], NULL);
        expect(&s, "does not belong to the model");
        assert_non_null(strstr(why.text, extra[i]));
    }
    set_free(&s);
    set_free(&tied);
}

/* ---- fixtures ------------------------------------------------------------------------------------------ */

/* Loads a fixture's folder, saves it in its own type, sharded and not, and loads that: all the same. */
static void check_fixture(const char *name, const ops *k)
{
    const char *source = fixture_path(name);
    model_config c;
    set original, copy;
    if (config_read(&c, source, &why) != OK) fail_msg("%s", why.text);
    set_init(&original, &c.d, k);
    set_init(&copy, &c.d, k);
    if (model_load(source, &original.t, &original.w, k, &why) != OK) fail_msg("%s", why.text);
    const tensor final_norm = weights_final_norm(&original.t, &original.units);
    double norm = 0;
    for (int64_t n = 0; n < c.d.C; n++) norm += fabs(element(&final_norm, n));
    assert_true(norm > 0.1 * (double)c.d.C && norm < 10 * (double)c.d.C);
    for (int sharded = 0; sharded < 2; sharded++) {
        make_folder(NULL);
        if (model_save(folder, &original.t, &original.units, k, c.storage, sharded ? 50000 : INT64_C(1) << 40,
                       &why) != OK)
            fail_msg("%s", why.text);
        for (int u = 0; u < copy.w.num_units; u++) k->zero(&copy.w.unit[u], k->stream);
        if (model_load(folder, &copy.t, &copy.w, k, &why) != OK) fail_msg("%s", why.text);
        check_same(&copy, &original);
        remove_folder(NULL);
    }
    set_free(&original);
    set_free(&copy);
    config_free(&c);
}

static void fixtures(void **state)
{
    (void)state;
    if ((skipped = !fixture_path("llama"))) skip();
    check_fixture("mistral_norm_fp16_sharded/gqa", ops_cpu_f32());
    check_fixture("mistral_norm_fp16_sharded/mla", ops_cpu_f64());
    check_fixture("llama3_scaled_qlora_bf16/mla", ops_cpu_f32());
    check_fixture("qwen2_bias_tied/gqa", ops_cpu_f32());
    check_fixture("llama/mla", ops_cpu_f32());
}

int main(void)
{
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(one_file),
        IN_FOLDER(several_files),
        IN_FOLDER(largest_single_file),
        IN_FOLDER(unstorable_weights),
        IN_FOLDER(folders_that_do_not_fit),
        cmocka_unit_test(fixtures),
        IN_FOLDER(records_what_it_writes),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return skipped && !failed ? SKIPPED_CODE : failed;
}
