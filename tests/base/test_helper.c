/* Work is done behind the caller's back, one piece after another, and its result is there when it is waited
 * for. */
#include "base/helper.h"
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <cmocka.h>

typedef struct task {
    atomic_bool go; /* it may end */
    int *order, number;
    status result;
    bool blocked; /* SIGTERM */
} task;

static int done; /* by the helper alone */

static status work(void *context, message *why)
{
    task *const t = context;
    sigset_t now;
    while (!t->go) nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    pthread_sigmask(SIG_BLOCK, NULL, &now);
    t->blocked = sigismember(&now, SIGTERM);
    t->order[done++] = t->number;
    snprintf(why->text, sizeof why->text, "task %d", t->number);
    return t->result;
}

static void test_one(void **state)
{
    (void)state;
    message why;
    int order[1];
    helper *h = helper_start();
    assert_false(helper_busy(h));
    assert_int_equal(helper_wait(h, &why), OK); /* there was none */
    task t = {.order = order, .number = 7, .result = ERR_INPUT};
    done = 0;
    helper_run(h, work, &t);
    assert_true(helper_busy(h));
    t.go = true;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(helper_wait(h, &why), ERR_INPUT);
        assert_string_equal(why.text, "task 7");
    }
    assert_true(!helper_busy(h) && t.blocked && order[0] == 7);
    helper_stop(h);
    helper_stop(NULL);
}

/* The second waits for the first, and the end for the second. */
static void test_order(void **state)
{
    (void)state;
    int order[2] = {-1, -1};
    helper *h = helper_start();
    task first = {.order = order, .number = 1, .result = ERR_INPUT, .go = true},
         second = {.order = order, .number = 2, .go = true};
    done = 0;
    helper_run(h, work, &first);
    helper_run(h, work, &second);
    helper_stop(h);
    assert_true(order[0] == 1 && order[1] == 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_one), cmocka_unit_test(test_order)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
