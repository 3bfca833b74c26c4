/* Signals are sent to child processes, which tell with their exit code what they saw. */
#include "base/stop.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
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
    expect_caught((int[]){SIGHUP, 0}, SIGHUP);
    expect_caught((int[]){SIGXCPU, SIGXCPU, SIGUSR2, 0}, SIGXCPU);
    expect_caught((int[]){SIGUSR2, SIGUSR1, 0}, SIGUSR2);
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

static void test_ignored_hangup_stays_so(void **state)
{
    (void)state;
    signal(SIGHUP, SIG_IGN);
    expect_caught((int[]){SIGHUP, 0}, 0);
    expect_caught((int[]){SIGHUP, SIGTERM, 0}, SIGTERM);
    signal(SIGHUP, SIG_DFL);
}

/* What a child that catches and announces says when `sender` sends it these signals (0 ends them). */
static void expect_announced(const int *signals, bool parent_sends, const char *want)
{
    int said[2], ready[2];
    char text[200] = "", byte = 0;
    assert_true(pipe(said) == 0 && pipe(ready) == 0);
    const pid_t child = fork();
    if (child == 0) {
        dup2(said[1], STDERR_FILENO);
        stop_catch();
        stop_announce("stopping", "from the parent");
        if (!parent_sends)
            for (; *signals; signals++) raise(*signals);
        if (write(ready[1], &byte, 1) != 1) _exit(99);
        if (parent_sends)
            while (!stop_requested()) usleep(1000);
        _exit(0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    if (parent_sends)
        for (; *signals; signals++) assert_int_equal(kill(child, *signals), 0);
    int result = 0;
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result) && WEXITSTATUS(result) == 0);
    close(said[1]);
    ssize_t length = 0, got;
    while ((got = read(said[0], text + length, sizeof text - 1 - (size_t)length)) > 0) length += got;
    assert_string_equal(text, want);
    close(said[0]), close(ready[0]), close(ready[1]);
}

static void test_announced(void **state)
{
    (void)state;
    expect_announced((int[]){SIGTERM, 0}, false, "remla: signal 15: stopping\n");
    expect_announced((int[]){SIGINT, SIGTERM, 0}, false, "remla: signal 2: stopping\n"); /* once */
    expect_announced((int[]){SIGTERM, 0}, true, "remla: signal 15: from the parent\n");
    expect_announced((int[]){SIGUSR1, 0}, true, "remla: signal 10: stopping\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_caught), cmocka_unit_test(test_second_interrupt_kills),
        cmocka_unit_test(test_reads_go_on), cmocka_unit_test(test_ignored_hangup_stays_so),
        cmocka_unit_test(test_announced)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
