/* Models of two shapes compute side by side: each gets ops whose attention was chosen for its shape, on one
 * device and in one queue. Where there is no device both get the CPU's. */
#include "eval/compute.h"
#include "base/log.h"
#include "tests/support/check.h"

static void a_table_for_every_shape(void **state)
{
    (void)state;
    const dims narrow = {.kind = ATTENTION_MLA, .L = 1, .H = 2, .Dn = 64, .Dr = 32, .Dv = 64, .R = 16},
               wide = {
                   .kind = ATTENTION_GQA, .L = 1, .H = 2, .G = 1, .D = 1024}; /* flash has no such heads */
    const compute_settings wanted = {.kind = COMPUTE_AUTO, .act = F32, .attention = ATTENTION_AUTO};
    compute x;
    const ops *first, *second;
    message why = {""};
    assert_int_equal(compute_open(&x, &wanted, comm_self(), &why), OK);
    assert_int_equal(compute_ops(&x, &narrow, 2, 16, comm_self(), &first, &why), OK);
    assert_int_equal(compute_ops(&x, &wide, 1, 24, comm_self(), &second, &why), OK);
    assert_ptr_equal(first->device, x.device);
    assert_ptr_equal(second->device, x.device);
    assert_ptr_equal(second->stream, first->stream);
    assert_true((second->attention_forward != first->attention_forward) == (x.device != NULL));
    if (!x.device) assert_ptr_equal(first, ops_cpu_f32());
    compute_close(&x);
}

int main(void)
{
    log_start(1, false); /* as a rank that does not speak */
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_table_for_every_shape)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
