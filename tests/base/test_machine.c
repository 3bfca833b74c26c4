/* The machine: its description, shares of cores, and its measured peak. */
#include "tests/support/check.h"
#include "base/machine.h"
#include <omp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void start(int rank, int size)
{
    message why = {""};
    assert_int_equal(machine_start(rank, size, &why), OK);
}

static int cores(void)
{
    cpu_set_t set;
    assert_int_equal(sched_getaffinity(0, sizeof set, &set), 0);
    return CPU_COUNT(&set);
}

/* One rank takes all cores, two share them, and every rank has at least one. */
static void test_share(void **state)
{
    (void)state;
    unsetenv("OMP_NUM_THREADS");
    start(0, 1);
    assert_int_equal(machine_threads(), cores());
    int sum = 0;
    for (int rank = 0; rank < 2; rank++) {
        start(rank, 2);
        sum += machine_threads();
    }
    assert_true(sum == cores() || (cores() == 1 && sum == 2));
    start(7, 1000);
    assert_int_equal(machine_threads(), 1);
}

static void test_threads_asked_for(void **state)
{
    (void)state;
    setenv("OMP_NUM_THREADS", "3", 1);
    omp_set_num_threads(3); /* as the library did when the program was started with the variable */
    start(0, 1);
    assert_int_equal(machine_threads(), 3);
}

static void test_denormals(void **state)
{
    (void)state;
    omp_set_num_threads(3);
    start(0, 1);
    omp_set_num_threads(4);
    int flushed = 0, threads = 0;
#pragma omp parallel reduction(+ : flushed, threads)
    {
        volatile float tiny = 1e-38f, result = tiny * 0.01f;
        flushed += result == 0;
        threads += 1;
    }
    assert_int_equal(flushed, threads);
}

static void test_text(void **state)
{
    (void)state;
    start(0, 1);
    char cores_text[64];
    snprintf(cores_text, sizeof cores_text, ": %d threads on ", machine_threads());
    assert_non_null(strstr(machine_text(), cores_text));
}

static void test_peak(void **state)
{
    (void)state;
    omp_set_num_threads(1);
    const double peak = machine_peak_flops();
    assert_true(peak > 1e8 && peak < 1e12); /* of one core */
    assert_true(machine_peak_flops() == peak);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_share),     cmocka_unit_test(test_threads_asked_for),
        cmocka_unit_test(test_denormals), cmocka_unit_test(test_text),
        cmocka_unit_test(test_peak),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
