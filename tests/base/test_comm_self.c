/* One process: every function is the identity, in place or not, and needs no MPI. */
#include "base/comm.h"
#include "tests/support/check.h"
#include <stdlib.h>
#include <string.h>

static void test_identity(void **state)
{
    (void)state;
    const comm *c = comm_start();
    assert_ptr_equal(c, comm_self());
    assert_int_equal(c->rank, 0);
    assert_int_equal(c->size, 1);
    assert_int_equal(c->local_rank, 0);
    assert_int_equal(c->local_size, 1);
    double sums[2] = {1.5, -2};
    int64_t largest = -3;
    char byte = 'x';
    comm_barrier(c);
    comm_sum_f64(c, sums, 2);
    comm_max_i64(c, &largest, 1);
    comm_broadcast(c, &byte, 1, 0);
    assert_true(sums[0] == 1.5 && sums[1] == -2 && largest == -3 && byte == 'x');

    float full[3] = {1, 2, 3}, part[3] = {0};
    comm_reduce_scatter_f32(c, part, full, 3);
    assert_memory_equal(part, full, sizeof part);
    part[1] = 7;
    comm_all_gather_f32(c, full, part, 3);
    assert_memory_equal(part, full, sizeof part);
    comm_reduce_scatter_f32(c, full, full, 3);
    comm_all_gather_f32(c, full, full, 3);
    assert_memory_equal(part, full, sizeof part);
    comm_stop(c);
}

static void test_agree(void **state)
{
    (void)state;
    message why = {"mine"};
    assert_int_equal(comm_agree(comm_self(), OK, &why), OK);
    assert_int_equal(comm_agree(comm_self(), ERR_INPUT, &why), ERR_INPUT);
    assert_string_equal(why.text, "mine");
}

int main(void)
{
    /* A launcher that started the test program itself is not meant. */
    unsetenv("OMPI_COMM_WORLD_SIZE");
    unsetenv("PMI_SIZE");
    unsetenv("PMI_RANK");
    unsetenv("PMIX_RANK");
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_identity), cmocka_unit_test(test_agree)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
