/* A mean over all targets that count, not of the batches' means; nothing that counts has none. */
#include "model/mean_loss.h"
#include "tests/support/check.h"

static void test_mean(void **state)
{
    (void)state;
    mean_loss l = {0};
    assert_true(mean_loss_value(&l) == 0);
    token_batch b;
    token_batch_init(&b, 2, 3); /* six targets that count, then two, then none */
    mean_loss_add(&l, 12, &b);
    token_batch_blank(&b, 0);
    b.targets[5] = -1;
    mean_loss_add(&l, 20, &b);
    token_batch_blank(&b, 1);
    mean_loss_add(&l, 0, &b);
    mean_loss_reduce(&l, comm_self());
    assert_true(l.sum == 32 && l.counted == 8);
    assert_true(mean_loss_value(&l) == 4);
    token_batch_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_mean)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
