/* A view is the sequences that it names, in the same memory; a copy is in its own; a blank sequence has no
 * target that counts and leaves the others alone. */
#include "base/token_batch.h"
#include "tests/support/check.h"
#include <string.h>

enum { SEQUENCES = 4, T = 5, N = SEQUENCES * T };

static token_batch numbered(void)
{
    token_batch b;
    token_batch_init(&b, SEQUENCES, T);
    for (int n = 0; n < N; n++) b.tokens[n] = n, b.targets[n] = 100 + n, b.first[n] = 200 + n;
    return b;
}

static void test_view(void **state)
{
    (void)state;
    token_batch b = numbered();
    const token_batch v = token_batch_view(&b, 1, 2);
    assert_int_equal(v.sequences, 2);
    assert_int_equal(v.T, T);
    assert_int_equal(v.tokens[0], T);
    assert_int_equal(v.targets[0], 100 + T);
    assert_int_equal(v.first[2 * T - 1], 200 + 3 * T - 1);
    v.tokens[0] = -7;
    assert_int_equal(b.tokens[T], -7);
    assert_int_equal(token_batch_view(&b, SEQUENCES, 0).sequences, 0);
    token_batch_free(&b);
    assert_null(b.tokens);
}

static void beyond(void *context)
{
    const token_batch *b = context;
    token_batch_view(b, 3, 2);
}

static void test_no_such_sequences(void **state)
{
    (void)state;
    token_batch b = numbered();
    check_stops(beyond, &b, ERR_BUG, "sequences [3,5) of 4");
    token_batch_free(&b);
}

static void test_copy(void **state)
{
    (void)state;
    token_batch from = numbered(), to;
    token_batch_init(&to, 2, T);
    token_batch_copy(&to, 1, &from, 3);
    for (int t = 0; t < T; t++) {
        assert_true(!to.tokens[t] && !to.targets[t] && !to.first[t]);
        assert_int_equal(to.tokens[T + t], 3 * T + t);
        assert_int_equal(to.targets[T + t], 100 + 3 * T + t);
        assert_int_equal(to.first[T + t], 200 + 3 * T + t);
    }
    token_batch_free(&from);
    token_batch_free(&to);
}

static void test_blank_and_counted(void **state)
{
    (void)state;
    token_batch b = numbered();
    assert_int_equal(token_batch_counted(&b), N);
    b.targets[N - 1] = -1;
    b.targets[0] = 0; /* an id */
    assert_int_equal(token_batch_counted(&b), N - 1);
    token_batch_blank(&b, 2);
    assert_int_equal(token_batch_counted(&b), N - 1 - T);
    for (int n = 0; n < N; n++) {
        const bool blank = n / T == 2;
        assert_int_equal(b.tokens[n], blank ? 0 : n);
        assert_int_equal(b.targets[n], blank || n == N - 1 ? -1 : n == 0 ? 0 : 100 + n);
        assert_int_equal(b.first[n], blank ? 0 : 200 + n);
    }
    token_batch_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_view),
        cmocka_unit_test(test_no_such_sequences),
        cmocka_unit_test(test_copy),
        cmocka_unit_test(test_blank_and_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
