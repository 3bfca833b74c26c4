/* Sentences and exit codes. Under mpirun, where one rank's death must be the whole job's, this program runs
 * itself. */
#include "tests/support/check.h"
#include "tests/support/scratch.h"
#include "base/comm.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *self;
static bool skipped;

/* Scripts and schedulers act on these numbers. */
static void test_codes(void **state)
{
    (void)state;
    assert_int_equal(OK, 0);
    assert_int_equal(ERR_USAGE, 2);
    assert_int_equal(ERR_INPUT, 3);
    assert_int_equal(ERR_DEVICE, 4);
    assert_int_equal(ERR_BUG, 5);
    assert_int_equal(ERR_DATA, 6);
    assert_int_equal(DIVERGED, 7);
    assert_int_equal(STOPPED, 85);
    assert_int_equal(UNSAVED, 86);
}

/* In parentheses, because cmocka has a macro of this name. */
static void test_fail(void **state)
{
    (void)state;
    message why = {""};
    status s = (fail)(&why, ERR_INPUT, "%s: found %d, expected %d", "a.ds", 1, 2);
    assert_int_equal(s, ERR_INPUT);
    assert_string_equal(why.text, "a.ds: found 1, expected 2");
    char longer[3000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    s = (fail)(&why, ERR_USAGE, "%s", longer);
    assert_int_equal(s, ERR_USAGE);
    assert_int_equal(strlen(why.text), sizeof why.text - 1);
}

static status two_calls(status first, int *reached)
{
    TRY(first);
    *reached = 1;
    return OK;
}

static void test_try(void **state)
{
    (void)state;
    int reached = 0;
    assert_int_equal(two_calls(ERR_INPUT, &reached), ERR_INPUT);
    assert_int_equal(reached, 0);
    assert_int_equal(two_calls(OK, &reached), OK);
    assert_int_equal(reached, 1);
}

static void dies(void *context) { die(*(status *)context, "the disk %s", "burns"); }
static void breaks(void *context) { REQUIRE(*(int *)context == 2, "one is %d", *(int *)context); }
static void quiet(int code) { _exit(code + 100); }
static void dies_in_a_job(void *context)
{
    die_hook(7, "castle", quiet);
    dies(context);
}

static void test_die(void **state)
{
    (void)state;
    status code = ERR_DEVICE;
    int one = 1;
    check_stops(dies, &code, ERR_DEVICE, "remla: the disk burns\n");
    code = ERR_INPUT;
    check_stops(dies, &code, ERR_INPUT, "remla: the disk burns\n");
    check_stops(breaks, &one, ERR_BUG, "internal inconsistency: breaks (");
    check_stops(breaks, &one, ERR_BUG, "*(int *)context == 2: one is 1\n");
    check_stops(dies_in_a_job, &code, (status)(100 + ERR_INPUT), "remla: rank 7 on castle: the disk burns\n");
}

/* ---- a job of two ranks ------------------------------------------------------------------------------- */

/* Rank 1 fails in its own way while rank 0 waits for it. */
static int job(const char *way)
{
    const comm *c = comm_start();
    message why = {""};
    if (c->size != 2) return 99;
    if (c->rank == 1) {
        if (!strcmp(way, "die")) {
            die_place("room %d", 3);
            die(ERR_DEVICE, "no memory");
        }
        REQUIRE(strcmp(way, "require"), "a bug");
        (fail)(&why, ERR_INPUT, "x.ds: is empty");
    }
    const status s = comm_agree(c, c->rank == 1 ? ERR_INPUT : OK, &why);
    if (strcmp(why.text, "x.ds: is empty") != 0) return 98;
    comm_stop(c);
    return (int)s;
}

static void expect_job(const char *way, int code, const char *text)
{
    char command[600], path[300], out[4096];
    snprintf(path, sizeof path, "%s", scratch_path("job.txt"));
    /* Open MPI never frees what it gets at start; the leak checker must not mind. */
    snprintf(command, sizeof command,
             "ASAN_OPTIONS=detect_leaks=0 mpirun --oversubscribe --bind-to none -n 2 %s %s >%s 2>&1", self,
             way, path);
    const int result = system(command);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    out[fread(out, 1, sizeof out - 1, file)] = 0;
    fclose(file);
    if (!WIFEXITED(result) || WEXITSTATUS(result) != code || !strstr(out, text))
        fail_msg("%s: status %#x, expected exit code %d and '%s' in:\n%s", way, result, code, text, out);
}

static void test_job(void **state)
{
    (void)state;
    if (system("mpirun --version >/dev/null 2>&1") != 0) {
        skipped = true;
        skip();
    }
    char host[200], want[300];
    assert_int_equal(gethostname(host, sizeof host), 0);
    snprintf(want, sizeof want, "remla: rank 1 on %s, room 3: no memory\n", host);
    expect_job("die", ERR_DEVICE, want);
    snprintf(want, sizeof want, "remla: rank 1 on %s: internal inconsistency: job (", host);
    expect_job("require", ERR_BUG, want);
    expect_job("agree", ERR_INPUT, "");
}

int main(int argc, char **argv)
{
    self = argv[0];
    if (argc > 1) return job(argv[1]);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_codes), cmocka_unit_test(test_fail),
                                       cmocka_unit_test(test_try), cmocka_unit_test(test_die),
                                       cmocka_unit_test(test_job)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed ? failed : skipped ? SKIPPED_CODE : 0;
}
