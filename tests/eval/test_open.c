/* The door to a model folder: what it says of a folder before anything takes memory, what it has loaded
 * afterwards, and that it closes from every state. */
#include "eval/open.h"
#include "base/file.h"
#include "base/log.h"
#include "model/hf/model_files.h"
#include "tests/support/check.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static char folder[PATH_BYTES];

static const compute_settings cpu = {.kind = COMPUTE_CPU, .act = F32};

static int find_folder(void **state)
{
    (void)state;
    path_join(folder, getenv("REMLA_SOURCE") ? getenv("REMLA_SOURCE") : ".", "tests/golden/mla");
    return 0;
}

static void refusals(void **state)
{
    (void)state;
    loaded_model x;
    model_config config;
    message why;
    assert_int_equal(model_folder_read(&config, "nowhere", &why), ERR_INPUT);
    assert_int_equal(loaded_model_open(&x, "nowhere", &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "nowhere"));
    loaded_model_close(&x);
    loaded_model_close(&x); /* zeros by now */
}

static void what_it_loads(void **state)
{
    (void)state;
    loaded_model x;
    message why;
    if (loaded_model_open(&x, folder, &why) != OK) fail_msg("%s", why.text);
    assert_int_equal(x.config.d.kind, ATTENTION_MLA);
    assert_null(x.m.k);
    x.config.d.window = 7;
    assert_int_equal(loaded_model_length(&x, "eval.seq_len", 8, &why), ERR_USAGE);
    assert_non_null(strstr(why.text, "eval.seq_len=8"));
    assert_int_equal(x.T, 0);
    loaded_model_close(&x); /* without having started */

    assert_int_equal(loaded_model_open(&x, folder, &why), OK);
    assert_int_equal(loaded_model_length(&x, "eval.seq_len", 8, &why), OK);
    if (loaded_model_start(&x, &cpu, 2, comm_self(), &why) != OK) fail_msg("%s", why.text);
    assert_ptr_equal(x.m.k, ops_cpu_f32());
    assert_true(x.acts.B == 2 && x.acts.T == 8);
    int32_t tokens[16], targets[16], first[16] = {0};
    for (int i = 0; i < 16; i++) tokens[i] = i, targets[i] = 2 * i + 1;
    const token_batch batch = {.sequences = 2, .T = 8, .tokens = tokens, .targets = targets, .first = first};
    const double loss = model_evaluate(&x.m, &x.acts, &batch);

    /* The same, put together by hand. */
    model m;
    activations acts;
    model_init(&m, &x.config.d, ops_cpu_f32(), 1);
    activations_init(&acts, &m.d, m.k, 2, 8, FORWARD_ONLY, RECOMPUTE_NONE);
    assert_int_equal(model_load(folder, &m.table, &m.w, m.k, &why), OK);
    assert_true(isfinite(loss) && model_evaluate(&m, &acts, &batch) == loss);
    activations_free(&acts);
    model_free(&m);
    loaded_model_close(&x);
}

/* Two lengths of one folder, open at the same time, give the losses that they give alone. */
static void side_by_side(void **state)
{
    (void)state;
    loaded_model x, y;
    message why;
    int32_t tokens[8], targets[8], first[8] = {0};
    for (int i = 0; i < 8; i++) tokens[i] = 3 * i, targets[i] = 5 * i + 1;
    token_batch batch = {.sequences = 1, .T = 8, .tokens = tokens, .targets = targets, .first = first},
                halves = batch;
    halves.sequences = 2;
    halves.T = 4;
    assert_int_equal(loaded_model_open(&x, folder, &why), OK);
    assert_int_equal(loaded_model_length(&x, "eval.seq_len", 8, &why), OK);
    assert_int_equal(loaded_model_start(&x, &cpu, 1, comm_self(), &why), OK);
    const double alone = model_evaluate(&x.m, &x.acts, &batch);
    assert_int_equal(loaded_model_open(&y, folder, &why), OK);
    assert_int_equal(loaded_model_length(&y, "eval.seq_len", 4, &why), OK);
    assert_int_equal(loaded_model_start(&y, &cpu, 2, comm_self(), &why), OK);
    model_evaluate(&y.m, &y.acts, &halves);
    assert_true(model_evaluate(&x.m, &x.acts, &batch) == alone);
    loaded_model_close(&y);
    assert_true(model_evaluate(&x.m, &x.acts, &batch) == alone);
    loaded_model_close(&x);
}

int main(void)
{
    log_start(1, false); /* as a rank that does not speak */
    const struct CMUnitTest tests[] = {cmocka_unit_test(refusals), cmocka_unit_test(what_it_loads),
                                       cmocka_unit_test(side_by_side)};
    return cmocka_run_group_tests(tests, find_folder, NULL);
}
