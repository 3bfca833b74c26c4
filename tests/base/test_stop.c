/* Signals, each case in a child process that sends them to itself. */
#include "base/stop.h"
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

/* Sends the signals, of which 0 ends the list; the child's wait status. It exits with what stop_requested says. */
static int after(const int *signals)
{
    int result;
    fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        stop_catch();
        if (stop_requested() != 0) _exit(100);
        for (int i = 0; signals[i]; i++) raise(signals[i]);
        _exit(stop_requested());
    }
    assert_int_equal(waitpid(child, &result, 0), child);
    return result;
}

static void expect_remembered(const int *signals, int first)
{
    const int result = after(signals);
    assert_true(WIFEXITED(result));
    assert_int_equal(WEXITSTATUS(result), first);
}

static void expect_killed(const int *signals)
{
    const int result = after(signals);
    assert_true(WIFSIGNALED(result));
    assert_int_equal(WTERMSIG(result), SIGINT);
}

static void test_first_is_remembered(void **state)
{
    (void)state;
    expect_remembered((const int[]){0}, 0);
    expect_remembered((const int[]){SIGINT, 0}, SIGINT);
    expect_remembered((const int[]){SIGTERM, 0}, SIGTERM);
    expect_remembered((const int[]){SIGUSR1, 0}, SIGUSR1);
    /* Batch systems repeat themselves: only SIGINT, which a person sends, loses patience. */
    expect_remembered((const int[]){SIGUSR1, SIGTERM, SIGTERM, 0}, SIGUSR1);
}

static void test_second_interrupt_kills(void **state)
{
    (void)state;
    expect_killed((const int[]){SIGINT, SIGINT, 0});
    expect_killed((const int[]){SIGTERM, SIGINT, 0});
}

/* A signal must not make a read fail half-way through a file or a pipe. */
static void test_reads_go_on(void **state)
{
    (void)state;
    char byte;
    int ends[2], ready[2], result;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(pipe(ready), 0);
    fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[1]);
        stop_catch();
        if (write(ready[1], "r", 1) != 1) _exit(2);
        const ssize_t got = read(ends[0], &byte, 1);
        _exit(got == 1 && byte == 'x' && stop_requested() == SIGTERM ? 0 : 1);
    }
    close(ends[0]);
    assert_int_equal(read(ready[0], &byte, 1), 1); /* its handler is in place */
    usleep(50000);                                 /* most likely it waits in read */
    kill(child, SIGTERM);
    usleep(50000);
    assert_int_equal(write(ends[1], "x", 1), 1);
    close(ends[1]);
    close(ready[0]);
    close(ready[1]);
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result));
    assert_int_equal(WEXITSTATUS(result), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_first_is_remembered),
        cmocka_unit_test(test_second_interrupt_kills),
        cmocka_unit_test(test_reads_go_on),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
