/* Words of options reach the other folders as what they are called there. */
#include "train/option_words.h"
#include "tests/support/check.h"

static options o;

static const options *with(const char *assignment)
{
    message why;
    options_free(&o);
    options_init(&o);
    if (options_set(&o, assignment, &why) != OK) fail_msg("%s", why.text);
    return &o;
}

static void devices(void **state)
{
    (void)state;
    const compute_settings none_set = compute_settings_of(with("train.seed=1"));
    assert_int_equal(none_set.kind, COMPUTE_AUTO);
    assert_int_equal(none_set.act, BF16);
    assert_int_equal(none_set.attention, ATTENTION_AUTO);
    assert_int_equal(compute_settings_of(with("device.kind=cpu")).kind, COMPUTE_CPU);
    assert_int_equal(compute_settings_of(with("device.kind=cuda")).kind, COMPUTE_CUDA);
    assert_int_equal(compute_settings_of(with("device.kind=auto")).kind, COMPUTE_AUTO);
    assert_int_equal(compute_settings_of(with("device.storage=f32")).act, F32);
    assert_int_equal(compute_settings_of(with("device.storage=bf16")).act, BF16);
    assert_int_equal(compute_settings_of(with("device.attention=cudnn")).attention, ATTENTION_CUDNN);
    assert_int_equal(compute_settings_of(with("device.attention=flash")).attention, ATTENTION_FLASH);
    assert_int_equal(compute_settings_of(with("device.attention=unfused")).attention, ATTENTION_UNFUSED);
}

static void schedules(void **state)
{
    (void)state;
    assert_int_equal(schedule_kind_of(with("optim.schedule=cosine")->optim_schedule), SCHEDULE_COSINE);
    assert_int_equal(schedule_kind_of(with("optim.schedule=linear")->optim_schedule), SCHEDULE_LINEAR);
    assert_int_equal(schedule_kind_of(with("optim.schedule=constant")->optim_schedule), SCHEDULE_CONSTANT);
    assert_int_equal(schedule_kind_of(with("optim.schedule=one_minus_sqrt")->optim_schedule),
                     SCHEDULE_ONE_MINUS_SQRT);
}

static void packings(void **state)
{
    (void)state;
    assert_int_equal(packing_of(with("data.packing=concat")->data_packing), PACKING_CONCAT);
    assert_int_equal(packing_of(with("data.packing=transmla")->data_packing), PACKING_TRANSMLA);
    assert_int_equal(packing_of(with("data.packing=best_fit")->data_packing), PACKING_BEST_FIT);
}

static void caches(void **state)
{
    (void)state;
    assert_int_equal(cache_of(with("decode.cache=f32")->decode_cache), F32);
    assert_int_equal(cache_of(with("decode.cache=bf16")->decode_cache), BF16);
    assert_int_equal(cache_of(with("decode.cache=f8")->decode_cache), F8);
}

static void recomputes(void **state)
{
    (void)state;
    assert_int_equal(recompute_of(with("train.recompute=none")->train_recompute), RECOMPUTE_NONE);
    assert_int_equal(recompute_of(with("train.recompute=light")->train_recompute), RECOMPUTE_LIGHT);
    assert_int_equal(recompute_of(with("train.recompute=layer")->train_recompute), RECOMPUTE_LAYER);
}

int main(void)
{
    options_init(&o);
    const struct CMUnitTest tests[] = {cmocka_unit_test(devices), cmocka_unit_test(schedules),
                                       cmocka_unit_test(packings), cmocka_unit_test(caches),
                                       cmocka_unit_test(recomputes)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    options_free(&o);
    return failed;
}
