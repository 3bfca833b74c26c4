/* Sentences and exit codes: each way of stopping in a child process, whose code and words are compared. */
#include "base/status.h"
#include "tests/support/check.h"
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs `run` in a child; returns its exit code and what it says on standard error. */
static int listen(void (*run)(void), char *said, size_t size)
{
    int ends[2], result;
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        run();
        _exit(100); /* it came back */
    }
    close(ends[1]);
    size_t used = 0;
    for (ssize_t n; (n = read(ends[0], said + used, size - 1 - used)) > 0;) used += (size_t)n;
    said[used] = 0;
    close(ends[0]);
    assert_int_equal(waitpid(child, &result, 0), child);
    assert_true(WIFEXITED(result));
    return WEXITSTATUS(result);
}

static void test_fail(void **state)
{
    (void)state;
    message why = {"old"};
    assert_int_equal((fail)(&why, ERR_USAGE, "%s: %d", "key", 7), ERR_USAGE);
    assert_string_equal(why.text, "key: 7");
    char long_name[3000];
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    assert_int_equal((fail)(&why, ERR_INPUT, "%s", long_name), ERR_INPUT);
    assert_int_equal(strlen(why.text), sizeof why.text - 1);
}

static int calls;

static status answer(status s)
{
    calls++;
    return s;
}

static status try_twice(status first, status second)
{
    TRY(answer(first));
    TRY(answer(second));
    return OK;
}

static void test_try(void **state)
{
    (void)state;
    calls = 0;
    assert_int_equal(try_twice(OK, OK), OK);
    assert_int_equal(calls, 2); /* each call is made once */
    assert_int_equal(try_twice(OK, STOPPED), STOPPED);
    assert_int_equal(try_twice(ERR_INPUT, ERR_USAGE), ERR_INPUT);
    assert_int_equal(calls, 5);
}

/* The exit codes are an interface: launch scripts decide by them. */
static void test_codes(void **state)
{
    (void)state;
    assert_int_equal(OK, 0);
    assert_int_equal(ERR_USAGE, 2);
    assert_int_equal(ERR_INPUT, 3);
    assert_int_equal(ERR_DEVICE, 4);
    assert_int_equal(ERR_BUG, 5);
    assert_int_equal(STOPPED, 85);
}

static void die_plainly(void) { die(ERR_DEVICE, "no memory for %d bytes", 12); }

static void die_long(void)
{
    char long_name[5000];
    memset(long_name, 'x', sizeof long_name - 1);
    long_name[sizeof long_name - 1] = 0;
    die(ERR_INPUT, "%s", long_name);
}

static void hook_exit(int code) { _exit(code + 10); }
static void hook_return(int code) { (void)code; }

static void die_with_hook(void)
{
    die_hook(3, hook_exit);
    die(ERR_DEVICE, "network");
}

static void die_with_useless_hook(void)
{
    die_hook(0, hook_return);
    die(ERR_BUG, "still here");
}

static void require_true(void)
{
    int evaluated = 0;
    REQUIRE(++evaluated == 1, "%d", evaluated);
}

static void require_false(void)
{
    const int found = 3;
    REQUIRE(found == 4, "found %d, expected 4", found);
}

static void test_die(void **state)
{
    (void)state;
    char said[8192];
    assert_int_equal(listen(die_plainly, said, sizeof said), ERR_DEVICE);
    assert_string_equal(said, "remla: no memory for 12 bytes\n");
    assert_int_equal(listen(die_long, said, sizeof said), ERR_INPUT);
    assert_int_equal(said[strlen(said) - 1], '\n');
    assert_int_equal(listen(die_with_hook, said, sizeof said), ERR_DEVICE + 10);
    assert_string_equal(said, "remla: rank 3: network\n");
    assert_int_equal(listen(die_with_useless_hook, said, sizeof said), ERR_BUG);
    assert_string_equal(said, "remla: rank 0: still here\n");
}

static void test_require(void **state)
{
    (void)state;
    char said[4096];
    assert_int_equal(listen(require_true, said, sizeof said), 100);
    assert_string_equal(said, "");
    assert_int_equal(listen(require_false, said, sizeof said), ERR_BUG);
    assert_non_null(strstr(said, "remla: internal inconsistency: require_false ("));
    assert_non_null(strstr(said, "test_status.c:"));
    assert_non_null(strstr(said, "found == 4: found 3, expected 4\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fail), cmocka_unit_test(test_try),     cmocka_unit_test(test_codes),
        cmocka_unit_test(test_die),  cmocka_unit_test(test_require),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
