/* Signals are sent to child processes, which tell with their exit code what they saw. */
#include "base/stop.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

/* Catches, receives the signals in this order (0 ends them), exits with what stop_requested says. */
static int outcome(const int *signals)
{
    const pid_t child = fork();
    if (child == 0) {
        stop_catch();
        if (stop_requested() != 0) _exit(99);
        for (; *signals; signals++) raise(*signals);
        _exit(stop_requested());
    }
    int result = 0;
    assert_true(child > 0 && waitpid(child, &result, 0) == child);
    return result;
}

static void expect_caught(const int *signals, int first)
{
    const int result = outcome(signals);
    assert_true(WIFEXITED(result));
    assert_int_equal(WEXITSTATUS(result), first);
}

static void test_caught(void **state)
{
    (void)state;
    expect_caught((int[]){0}, 0);
    expect_caught((int[]){SIGINT, 0}, SIGINT);
    expect_caught((int[]){SIGTERM, 0}, SIGTERM);
    expect_caught((int[]){SIGUSR1, SIGTERM, SIGUSR1, SIGINT, SIGTERM, 0}, SIGUSR1);
}

static void test_second_interrupt_kills(void **state)
{
    (void)state;
    const int result = outcome((int[]){SIGINT, SIGTERM, SIGINT, 0});
    assert_true(WIFSIGNALED(result));
    assert_int_equal(WTERMSIG(result), SIGINT);
}

/* A signal must not make a read fail half-way. */
static void test_reads_go_on(void **state)
{
    (void)state;
    char byte;
    int data[2], ready[2], result = 0;
    assert_true(pipe(data) == 0 && pipe(ready) == 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        stop_catch();
        if (write(ready[1], "r", 1) != 1) _exit(99);
        const ssize_t got = read(data[0], &byte, 1);
        _exit(got == 1 && byte == 'x' ? stop_requested() : 98);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1); /* its handlers are in place */
    usleep(50000);                                 /* and by now it waits in read */
    assert_int_equal(kill(child, SIGTERM), 0);
    usleep(50000);
    assert_int_equal(write(data[1], "x", 1), 1);
    for (int i = 0; i < 2; i++) close(data[i]), close(ready[i]);
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result));
    assert_int_equal(WEXITSTATUS(result), SIGTERM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_caught),
                                       cmocka_unit_test(test_second_interrupt_kills),
                                       cmocka_unit_test(test_reads_go_on)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
