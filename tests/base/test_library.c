/* Libraries by a list of names: the first that is there, all symbols or a sentence, from any thread. */
#include "tests/support/check.h"
#include "base/library.h"
#include <math.h>
#include <pthread.h>
#include <string.h>

#define MATH_CALLS(F) F(floor) F(hypot)
LIBRARY(math, "mathematics", MATH_CALLS, "libm.so.6");
LIBRARY(second, "mathematics", MATH_CALLS, "libthere-is-none.so.7", "libm.so.6");
LIBRARY(nowhere, "NONE", MATH_CALLS, "libthere-is-none.so.7", "libnor-this.so.1");
LIBRARY(shared, "mathematics", MATH_CALLS, "libm.so.6");

double remla_test_of_a_missing_symbol(double x, double y);
#define NEWER_CALLS(F) F(floor) F(remla_test_of_a_missing_symbol)
LIBRARY(older, "OLD", NEWER_CALLS, "libm.so.6");

static void test_calls(void **state)
{
    (void)state;
    message why;
    assert_int_equal(library_open(&math_library, &why), OK);
    assert_true(math.floor(2.5) == 2 && math.hypot(3, 4) == 5);
    assert_int_equal(library_open(&math_library, &why), OK); /* it is open already */
    assert_int_equal(library_open(&second_library, &why), OK);
    assert_true(second.hypot(3, 4) == 5);
}

static void test_missing(void **state)
{
    (void)state;
    message why;
    for (int times = 0; times < 2; times++) {
        assert_int_equal(library_open(&nowhere_library, &why), ERR_DEVICE);
        assert_non_null(strstr(why.text, "the library NONE cannot be loaded"));
        assert_non_null(strstr(why.text, "libthere-is-none.so.7: "));
        assert_non_null(strstr(why.text, "libnor-this.so.1: "));
        assert_int_equal(library_open(&older_library, &why), ERR_DEVICE);
        assert_non_null(strstr(why.text, "the library OLD (/"));
        assert_non_null(strstr(why.text, "libm.so.6) has no remla_test_of_a_missing_symbol"));
        assert_null(older_library.handle);
    }
}

static void *open_and_call(void *result)
{
    message why;
    if (library_open(&shared_library, &why) == OK) *(double *)result = shared.hypot(3, 4);
    return NULL;
}

static void test_threads(void **state)
{
    enum { THREADS = 8 };
    (void)state;
    pthread_t thread[THREADS];
    double result[THREADS] = {0};
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, open_and_call, &result[i]), 0);
    for (int i = 0; i < THREADS; i++) pthread_join(thread[i], NULL);
    for (int i = 0; i < THREADS; i++) assert_true(result[i] == 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_calls), cmocka_unit_test(test_missing),
                                       cmocka_unit_test(test_threads)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
