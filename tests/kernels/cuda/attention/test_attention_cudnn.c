/* What attention by cuDNN says that it can do. Its results are tests/kernels/test_attention.c's business; the
 * numbers here are those of the emulator's sm_90, with 8 GiB. */
#include "tests/support/check.h"
#include "base/device.h"
#include <string.h>

static const ops *table; /* of a device, bf16; NULL without such a device */

static const attention_shape good = {.B = 2, .T = 64, .S = 64, .H = 4, .G = 4, .D = 192, .Dv = 128, .aligned = true};

static status pick(attention_choice asked, attention_shape shape, attention_choice *picked, message *why)
{
    return attention_pick(asked, table->device, BF16, &shape, picked, why);
}

static void refused(attention_shape shape, const char *reason)
{
    attention_choice picked;
    message why;
    assert_int_equal(pick(ATTENTION_CUDNN, shape, &picked, &why), ERR_USAGE);
    if (!strstr(why.text, reason)) fail_msg("expected \"%s\" in \"%s\"", reason, why.text);
    if (pick(ATTENTION_AUTO, shape, &picked, &why) == OK) assert_int_not_equal(picked, ATTENTION_CUDNN);
    if (!strstr(why.text, reason)) fail_msg("expected \"%s\" in \"%s\"", reason, why.text);
}

static void test_shapes(void **state)
{
    (void)state;
    attention_choice picked;
    message why;
    assert_int_equal(pick(ATTENTION_AUTO, good, &picked, &why), OK);
    assert_int_equal(picked, ATTENTION_CUDNN);
    attention_shape shape = good;
    shape.G = 2;
    refused(shape, "heads that share keys");
    shape = good, shape.S = 100;
    refused(shape, "more keys than queries");
    shape = good, shape.T = shape.S = 1;
    refused(shape, "sequences of one position");
    shape = good, shape.D = 20;
    refused(shape, "heads of 20 and 128 on sm_90");
    shape = good, shape.D = 264;
    refused(shape, "heads of 264 and 128 on sm_90");
    shape = good, shape.aligned = false;
    refused(shape, "multiples of 16 bytes");
    assert_int_equal(attention_pick(ATTENTION_CUDNN, table->device, F32, &good, &picked, &why), ERR_USAGE);
}

/* One head's scores, 2 * 8192^2 bytes, are more than 1/128 of the memory: only who asks by name gets it. */
static void test_long(void **state)
{
    (void)state;
    attention_choice picked;
    message why;
    attention_shape shape = good;
    shape.T = shape.S = 8192;
    if (pick(ATTENTION_AUTO, shape, &picked, &why) == OK) assert_int_not_equal(picked, ATTENTION_CUDNN);
    assert_non_null(strstr(why.text, "repeats bit for bit only with 128 MiB of scratch for a head"));
    assert_int_equal(pick(ATTENTION_CUDNN, shape, &picked, &why), OK);
    assert_int_equal(picked, ATTENTION_CUDNN);
    shape.T = shape.S = 5760;
    assert_int_equal(pick(ATTENTION_AUTO, shape, &picked, &why), OK);
    assert_int_equal(picked, ATTENTION_CUDNN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {CHECK_TEST(test_shapes), CHECK_TEST(test_long)};
    const ops *k = check_table(3);
    if (k && strstr(device_text(k->device), "sm_90") && strstr(device_text(k->device), "8.0 GiB")) table = k;
    if (!table) return 77;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
