/* A wait for a condition ends after so many seconds, wherever in a second of the clock it begins, and earlier
 * when the condition is signalled. */
#include "base/clock.h"
#include "base/thread.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;

static double waited(double seconds)
{
    const double start = clock_seconds();
    pthread_mutex_lock(&lock);
    thread_condition_wait(&changed, &lock, seconds);
    pthread_mutex_unlock(&lock);
    return clock_seconds() - start;
}

static void test_ends(void **state)
{
    (void)state;
    static const double seconds[] = {0, 0.3, 0.3, 0.3, 0.3, 1.1};
    for (size_t i = 0; i < sizeof seconds / sizeof *seconds; i++) {
        const double found = waited(seconds[i]);
        if (!(found > seconds[i] - 0.01 && found < seconds[i] + 0.8))
            fail_msg("%g s instead of %g", found, seconds[i]);
    }
}

static void *signal_changed(void *context)
{
    (void)context;
    pthread_mutex_lock(&lock); /* when the other one waits */
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
    return NULL;
}

static void test_signalled(void **state)
{
    (void)state;
    pthread_t thread;
    const double start = clock_seconds();
    pthread_mutex_lock(&lock);
    assert_int_equal(thread_start(&thread, signal_changed, NULL), 0);
    thread_condition_wait(&changed, &lock, 30);
    pthread_mutex_unlock(&lock);
    assert_true(clock_seconds() - start < 20);
    pthread_join(thread, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_ends), cmocka_unit_test(test_signalled)};
    thread_condition_init(&changed);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
