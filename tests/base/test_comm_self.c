/* One rank: everything is the identity, and needs no MPI. */
#include "base/comm.h"
#include "tests/support/check.h"
#include <string.h>

static const reduction in_rank_order = {.sent = F32};

static void test_identity(void **state)
{
    (void)state;
    const comm *c = comm_self();
    assert_int_equal(c->rank, 0);
    assert_int_equal(c->size, 1);
    assert_int_equal(c->local_rank, 0);
    assert_int_equal(c->local_size, 1);
    double sum[] = {1, 2};
    int64_t largest[] = {-3, 4};
    char text[] = "text";

    comm_sum_f64(c, sum, 2);
    comm_max_i64(c, largest, 2);
    comm_broadcast(c, text, sizeof text, 0);
    assert_true(sum[0] == 1 && sum[1] == 2);
    assert_true(largest[0] == -3 && largest[1] == 4);
    assert_string_equal(text, "text");
    float full[] = {1, 2, 3}, out[3] = {0};
    comm_reduce_scatter(c, out, full, 3, &in_rank_order);
    assert_memory_equal(out, full, sizeof full);
    comm_reduce_scatter(c, full, full, 3, &in_rank_order);
    assert_memory_equal(out, full, sizeof full);
    /* bf16 keeps 8 bits: 257 lies in the middle, and goes to the even neighbour */
    float fine[] = {257, 259, 1.00390625f}, coarse[3];
    comm_reduce_scatter(c, coarse, fine, 3, &(reduction){.sent = BF16});
    assert_true(coarse[0] == 256 && coarse[1] == 260 && coarse[2] == 1);
    comm_reduce_scatter(c, fine, fine, 3, &(reduction){.sent = BF16, .pairwise = true});
    assert_memory_equal(fine, coarse, sizeof fine);
    memset(full, 0, sizeof full);
    comm_all_gather(c, full, out, 3 * sizeof(float));
    assert_memory_equal(out, full, sizeof full);
    comm_wait(c, comm_all_gather(c, full, out, sizeof full)); /* done already */
    comm_wait(c, (comm_ticket){0});
    message why = {"why"};
    assert_int_equal(comm_agree(c, ERR_INPUT, &why), ERR_INPUT);
    assert_int_equal(comm_agree(c, OK, &why), OK);
    assert_string_equal(why.text, "why");
    comm_limit(c, 1);
    assert_int_equal(comm_bytes_sent(c), 0);
    comm_stop(c);
}

static void foreign(void *context)
{
    (void)context;
    comm_wait(comm_self(), (comm_ticket){3});
}

static void test_foreign_ticket(void **state)
{
    (void)state;
    check_stops(foreign, NULL, ERR_BUG, "the ticket of call 3 is another communicator's");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_identity),
                                       cmocka_unit_test(test_foreign_ticket)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
