/* eval.seq_len and eval.micro_batch: their own value, else that of their old names, else what the command
 * has. The style of questions: the flag's, else the option's. */
#include "train/eval_options.h"
#include "base/log.h"
#include "tests/support/check.h"

static const named_length otherwise = {99, "calib.seq_len"};

static void set(options *o, const char *assignment)
{
    message why;
    if (options_set(o, assignment, &why) != OK) fail_msg("%s", why.text);
}

static void expect_length(const options *o, int64_t T, const char *key)
{
    const named_length got = eval_length(o, "eval", otherwise);
    assert_int_equal(got.T, T);
    assert_string_equal(got.key, key);
}

static void lengths(void **state)
{
    (void)state;
    options o;
    options_init(&o);
    expect_length(&o, 99, "calib.seq_len");
    assert_int_equal(eval_micro_batch(&o), 1);
    set(&o, "train.seq_len=64");
    set(&o, "train.micro_batch=3");
    expect_length(&o, 64, "train.seq_len");
    assert_int_equal(eval_micro_batch(&o), 3);
    set(&o, "eval.seq_len=32");
    set(&o, "eval.micro_batch=2");
    expect_length(&o, 32, "eval.seq_len");
    assert_int_equal(eval_micro_batch(&o), 2);
    set(&o, "eval.seq_len=auto");
    expect_length(&o, 64, "train.seq_len");
    options_free(&o);
}

static void styles(void **state)
{
    (void)state;
    options o;
    task_style style;
    message why;
    options_init(&o);
    set(&o, "eval.style=lm-eval");
    assert_int_equal(eval_style(&style, &o, NULL, &why), OK);
    assert_int_equal(style, STYLE_LM_EVAL);
    assert_int_equal(eval_style(&style, &o, "transmla", &why), OK);
    assert_int_equal(style, STYLE_TRANSMLA);
    assert_int_equal(eval_style(&style, &o, "own", &why), ERR_USAGE);
    assert_string_equal(why.text, "--style own: there are transmla and lm-eval");
    set(&o, "eval.style=own");
    assert_int_equal(eval_style(&style, &o, NULL, &why), ERR_USAGE);
    assert_string_equal(why.text, "eval.style=own: there are transmla and lm-eval");
    options_free(&o);
}

int main(void)
{
    log_start(1, false); /* as a rank that does not speak */
    const struct CMUnitTest tests[] = {cmocka_unit_test(lengths), cmocka_unit_test(styles)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
