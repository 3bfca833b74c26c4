/* Pieces of states, however they were cut: what covers every parameter once is read exactly, anything else is
 * refused with a sentence. The values are functions of kind, parameter and element, so a read in the wrong
 * place shows. */
#include "train/state_reader.h"
#include "tests/support/draw.h"
#include "tests/support/scratch.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

static message why;

enum { PARAMS = 3, MOST = 120 };
static param params[PARAMS] = {{.name = "a.weight", .rank = 2, .dim = {5, 4}, .numel = 20},
                               {.name = "norm", .rank = 1, .dim = {7, 1}, .numel = 7},
                               {.name = "b.weight", .rank = 2, .dim = {12, 10}, .numel = MOST}};
static param_table table = {.param = params, .count = PARAMS};

static float value(int kind, int which, int64_t i)
{
    return (float)(1000 * (kind + 1) + 200 * which + i) / 8;
}

/* ---- writing ------------------------------------------------------------------------------------------- */

/* The tensors of a file to be. */
typedef struct plan {
    safetensors_spec spec[64];
    float data[64][MOST];
    int count;
} plan;

static void put(plan *p, const char *name, dtype type, int rank, int64_t rows, int64_t columns,
                const float *data)
{
    safetensors_spec *s = &p->spec[p->count];
    *s = (safetensors_spec){.type = type, .rank = rank, .dim = {rows, columns}};
    snprintf(s->name, sizeof s->name, "%s", name);
    const int64_t numel = rank == 2 ? rows * columns : rows;
    for (int64_t i = 0; i < numel; i++) p->data[p->count][i] = data ? data[i] : 0;
    p->count++;
}

static const char *const prefix[] = {"m.", "v.", "master."};

/* Elements [from, to) of a state, as a row. */
static void put_range(plan *p, int kind, int which, int64_t from, int64_t to)
{
    char name[SAFETENSORS_NAME_BYTES];
    float data[MOST];
    for (int64_t i = from; i < to; i++) data[i - from] = value(kind, which, i);
    snprintf(name, sizeof name, "%s%s[%lld]", prefix[kind], params[which].name, (long long)from);
    put(p, name, F32, 1, to - from, 1, data);
}

static void put_whole(plan *p, int kind, int which)
{
    char name[SAFETENSORS_NAME_BYTES];
    float data[MOST];
    for (int64_t i = 0; i < params[which].numel; i++) data[i] = value(kind, which, i);
    snprintf(name, sizeof name, "%s%s", prefix[kind], params[which].name);
    put(p, name, F32, params[which].rank, params[which].dim[0], params[which].dim[1], data);
}

static const char *new_folder(void)
{
    static int number;
    static char path[PATH_BYTES];
    char name[32];
    snprintf(name, sizeof name, "folder-%d", number++);
    snprintf(path, sizeof path, "%s", scratch_path(name));
    assert_int_equal(folder_make(path, &why), OK);
    return path;
}

static void write_plan(const char *folder, int number, const plan *p)
{
    char path[PATH_BYTES];
    uint64_t hash;
    int64_t bytes;
    safetensors_writer w;
    snprintf(path, sizeof path, "%s/optim-%05d.safetensors", folder, number);
    assert_int_equal(safetensors_create(&w, path, p->spec, p->count, &why), OK);
    for (int i = 0; i < p->count; i++) {
        const int64_t *const dim = p->spec[i].dim;
        const int64_t numel = p->spec[i].rank == 2 ? dim[0] * dim[1] : dim[0];
        if (numel) assert_int_equal(safetensors_append(&w, p->data[i], numel, &why), OK);
    }
    assert_int_equal(safetensors_finish(&w, &hash, &bytes, &why), OK);
}

/* ---- reading ------------------------------------------------------------------------------------------- */

static void expect_values(const state_reader *r, int kinds)
{
    for (int kind = 0; kind < kinds; kind++)
        for (int i = 0; i < PARAMS; i++)
            for (int64_t from = 0; from <= params[i].numel; from += 1 + from / 9)
                for (int64_t to = from; to <= params[i].numel; to += 1 + to / 7) {
                    float out[MOST + 1];
                    out[to - from] = -1;
                    if (state_reader_read(r, (state_kind)kind, i, from, to - from, out, &why) != OK)
                        fail_msg("%s", why.text);
                    for (int64_t n = from; n < to; n++) assert_true(out[n - from] == value(kind, i, n));
                    assert_true(out[to - from] == -1);
                }
}

static void expect_good(const char *folder, bool masters)
{
    state_reader r;
    if (state_reader_open(&r, folder, &table, &why) != OK) fail_msg("%s", why.text);
    assert_int_equal(state_reader_has_masters(&r), masters);
    expect_values(&r, masters ? STATE_KINDS : STATE_MASTER);
    state_reader_close(&r);
}

/* One file with all parameters whole, as one rank writes it. */
static void test_whole(void **state)
{
    (void)state;
    const char *folder = new_folder();
    plan p = {.count = 0};
    for (int kind = 0; kind < 2; kind++)
        for (int i = 0; i < PARAMS; i++) put_whole(&p, kind, i);
    write_plan(folder, 0, &p);
    expect_good(folder, false);
}

/* Cut at any places into any number of files, masters too. */
static void test_any_cuts(void **state)
{
    (void)state;
    uint64_t seed = 17;
    for (int round = 0; round < 20; round++) {
        const char *folder = new_folder();
        static plan files[4];
        memset(files, 0, sizeof files);
        const bool masters = round % 2;
        for (int kind = 0; kind < (masters ? 3 : 2); kind++)
            for (int i = 0; i < PARAMS; i++) {
                if (draw_below(&seed, 4) == 0) {
                    put_whole(&files[draw_below(&seed, 4)], kind, i);
                    continue;
                }
                for (int64_t from = 0, to; from < params[i].numel; from = to) {
                    to = from + 1 + draw_below(&seed, (uint32_t)params[i].numel / 3);
                    if (to > params[i].numel) to = params[i].numel;
                    put_range(&files[draw_below(&seed, 4)], kind, i, from, to);
                }
            }
        for (int f = 0; f < 4; f++) write_plan(folder, f, &files[f]);
        expect_good(folder, masters);
    }
}

/* ---- what is refused ----------------------------------------------------------------------------------- */

static void expect_refused(const plan *p, const char *words)
{
    const char *folder = new_folder();
    state_reader r;
    write_plan(folder, 0, p);
    const status s = state_reader_open(&r, folder, &table, &why);
    if (s != ERR_INPUT) fail_msg("accepted, without \"%s\"", words);
    if (!strstr(why.text, words)) fail_msg("no \"%s\" in: %s", words, why.text);
    if (!strstr(why.text, folder)) fail_msg("no folder in: %s", why.text);
    assert_null(r.file);
    assert_null(r.piece);
}

/* Everything but what a case leaves out: m of b.weight. */
static plan others(void)
{
    plan p = {.count = 0};
    for (int kind = 0; kind < 2; kind++)
        for (int i = 0; i < PARAMS; i++)
            if (kind || i != 2) put_whole(&p, kind, i);
    return p;
}

static void test_not_covered(void **state)
{
    (void)state;
    plan p = others();
    expect_refused(&p, "tensor 'm.b.weight' is in none of its optim-*.safetensors");
    put_range(&p, 0, 2, 0, 50);
    expect_refused(&p, "element 50 of 'm.b.weight' is in none");
    put_range(&p, 0, 2, 51, MOST);
    expect_refused(&p, "element 50 of 'm.b.weight' is in none");
    put_range(&p, 0, 2, 49, 52);
    expect_refused(&p, "tensor 'm.b.weight[49]' holds elements that 'm.b.weight[0]' of optim-00000");
    p = others();
    put_range(&p, 0, 2, 1, MOST);
    expect_refused(&p, "element 0 of 'm.b.weight' is in none");
    put_whole(&p, 0, 2);
    expect_refused(&p, "holds elements that 'm.b.weight' of optim-00000.safetensors holds, too");
    p = others();
    put_whole(&p, 0, 2);
    put_range(&p, 0, 2, 0, MOST); /* the same under another name */
    expect_refused(&p, "holds elements that");
    p = others();
    put_whole(&p, 0, 2);
    put_range(&p, 2, 2, 3, 4); /* masters of one parameter alone */
    expect_refused(&p, "tensor 'master.a.weight' is in none");
    /* The same range in two files. */
    const char *folder = new_folder();
    p = others();
    put_whole(&p, 0, 2);
    write_plan(folder, 0, &p);
    plan twice = {.count = 0};
    put_range(&twice, 1, 0, 3, 5);
    write_plan(folder, 1, &twice);
    state_reader r;
    assert_int_equal(state_reader_open(&r, folder, &table, &why), ERR_INPUT);
    if (!strstr(why.text,
                "optim-00001.safetensors: tensor 'v.a.weight[3]' holds elements that 'v.a.weight' of "
                "optim-00000.safetensors holds, too"))
        fail_msg("%s", why.text);
    assert_int_equal(state_reader_open(&r, new_folder(), &table, &why), ERR_INPUT); /* no file at all */
    assert_int_equal(state_reader_open(&r, scratch_path("nowhere"), &table, &why), ERR_INPUT);
}

static void test_hostile(void **state)
{
    (void)state;
    static const struct {
        const char *name, *words;
        dtype type;
        int rank;
        int64_t rows, columns;
    } cases[] = {
        {"m.b.weight[-1]", "is not a state of this model", F32, 1, 120, 1},
        {"m.b.weight[+0]", "is not a state of this model", F32, 1, 120, 1},
        {"m.b.weight[ 0]", "is not a state of this model", F32, 1, 120, 1},
        {"m.b.weight[00]", "is not a state of this model", F32, 1, 120, 1},
        {"m.b.weight[007]", "is not a state of this model", F32, 1, 113, 1},
        {"m.b.weight[]", "is not a state of this model", F32, 1, 120, 1},
        {"m.b.weight[0", "is not a state of this model", F32, 1, 120, 1},
        {"m.b.weight0]", "is not a state of this model", F32, 1, 120, 1},
        {"m.b.weight[0]]", "is not a state of this model", F32, 1, 120, 1},
        {"m.b.weight[0][0]", "is not a state of this model", F32, 1, 120, 1},
        {"m.b.weight[0] ", "is not a state of this model", F32, 1, 120, 1},
        {"m.b.weight[0x0]", "is not a state of this model", F32, 1, 120, 1},
        {"m.b.weight[1e1]", "is not a state of this model", F32, 1, 110, 1},
        {"m.b.weight[99999999999999999999]", "is not a state of this model", F32, 1, 1, 1},
        {"m.b.weight[9223372036854775807]", "ends behind its parameter, which has 120", F32, 1, 2, 1},
        {"m.b.weight[120]", "ends behind its parameter, which has 120", F32, 1, 1, 1},
        {"m.b.weight[119]", "ends behind its parameter, which has 120", F32, 1, 2, 1},
        {"m.b.weight[0]", "is a range of a parameter, but not a row", F32, 2, 12, 10},
        {"m.b.weight[3]", "is a range of a parameter, but not a row", F32, 1, 0, 1},
        {"m.b.weight", "has another shape than the model's", F32, 2, 10, 12},
        {"m.b.weight", "has another shape than the model's", F32, 1, 120, 1},
        {"m.b.weight", "is bf16, states are f32", BF16, 2, 12, 10},
        {"m.b.weight[0]", "is f16, states are f32", F16, 1, 120, 1},
        {"b.weight", "is not a state of this model", F32, 2, 12, 10},
        {"m.", "is not a state of this model", F32, 1, 1, 1},
        {"m.[0]", "is not a state of this model", F32, 1, 1, 1},
        {"[0]", "is not a state of this model", F32, 1, 1, 1},
        {"m.c.weight", "is not a state of this model", F32, 1, 1, 1},
        {"g.b.weight", "is not a state of this model", F32, 2, 12, 10},
        {"m.m.b.weight", "is not a state of this model", F32, 2, 12, 10},
        {"m.a-name-that-is-longer-than-any-parameter-of-a-model-can-be-called-in-the-table-of-parameters-"
         "which-"
         "holds-names-of-127-bytes-at-most-and-no-more",
         "is not a state of this model", F32, 1, 1, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        plan p = others();
        put(&p, cases[i].name, cases[i].type, cases[i].rank, cases[i].rows, cases[i].columns, NULL);
        expect_refused(&p, cases[i].words);
    }
}

/* A hundred thousand pieces, each of one element, are opened and read in about the time that a sort of them
 * takes. */
static void test_many(void **state)
{
    (void)state;
    enum { MANY = 50000 };
    param one = {.name = "x", .rank = 1, .dim = {MANY, 1}, .numel = MANY};
    const param_table t = {.param = &one, .count = 1};
    const char *folder = new_folder();
    safetensors_spec *spec = calloc(2 * MANY, sizeof *spec);
    float *data = malloc(sizeof *data * MANY);
    assert_true(spec && data);
    for (int i = 0; i < 2 * MANY; i++) {
        spec[i] = (safetensors_spec){.type = F32, .rank = 1, .dim = {1}};
        snprintf(spec[i].name, sizeof spec[i].name, "%s%s[%d]", prefix[i / MANY], one.name, i % MANY);
    }
    char path[PATH_BYTES];
    uint64_t hash;
    int64_t bytes;
    safetensors_writer w;
    assert_int_equal(
        safetensors_create(&w, path_join(path, folder, "optim-00000.safetensors"), spec, 2 * MANY, &why), OK);
    for (int i = 0; i < 2 * MANY; i++) {
        const float x = (float)i;
        assert_int_equal(safetensors_append(&w, &x, 1, &why), OK);
    }
    assert_int_equal(safetensors_finish(&w, &hash, &bytes, &why), OK);
    const clock_t start = clock();
    state_reader r;
    if (state_reader_open(&r, folder, &t, &why) != OK) fail_msg("%s", why.text);
    for (int kind = 0; kind < 2; kind++) {
        assert_int_equal(state_reader_read(&r, (state_kind)kind, 0, 0, MANY, data, &why), OK);
        for (int i = 0; i < MANY; i++) assert_true(data[i] == (float)(kind * MANY + i));
    }
    state_reader_close(&r);
    const double seconds = (double)(clock() - start) / CLOCKS_PER_SEC;
    if (seconds > 10) fail_msg("%.1f s for %d pieces", seconds, 2 * MANY);
    free(spec);
    free(data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),   cmocka_unit_test(test_any_cuts), cmocka_unit_test(test_not_covered),
        cmocka_unit_test(test_hostile), cmocka_unit_test(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
