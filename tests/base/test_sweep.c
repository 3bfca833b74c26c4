/* Children get signals; the parent sees how they died and what they left. */
#include "base/sweep.h"
#include "base/file.h"
#include "tests/support/scratch.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

enum { FILES = 300 }; /* more than the kernel lists at a time */

static char folder[PATH_BYTES], said[PATH_BYTES];

static void fill(const char *path)
{
    message why;
    char file[PATH_BYTES], name[64];
    assert_int_equal(folder_make(path, &why), OK);
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof name, "model-%05d-of-%05d.safetensors", i, FILES);
        FILE *out = fopen(path_join(file, path, name), "w");
        assert_non_null(out);
        fclose(out);
    }
}

/* A child fills the folder, arms, disarms when it is to, gets the signal. Returns its wait status. */
static int outcome(int number, bool disarm)
{
    snprintf(folder, sizeof folder, "%s", scratch_path("swept"));
    snprintf(said, sizeof said, "%s", scratch_path("said"));
    const pid_t child = fork();
    if (child == 0) {
        if (!freopen(said, "w", stderr)) _exit(99);
        fill(folder);
        sweep_on_signal(folder);
        if (disarm) sweep_on_signal(NULL);
        raise(number);
        _exit(0);
    }
    int result = 0;
    assert_true(child > 0 && waitpid(child, &result, 0) == child);
    return result;
}

static void test_removed(void **state)
{
    (void)state;
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    for (int i = 0; i < 4; i++) {
        const int result = outcome(signals[i], false);
        assert_true(WIFSIGNALED(result) && WTERMSIG(result) == signals[i]);
        assert_false(folder_exists(folder));
        char *text, want[PATH_BYTES + 64];
        int64_t bytes;
        message why;
        assert_int_equal(file_read_text(said, 4096, &text, &bytes, &why), OK);
        snprintf(want, sizeof want, "remla: stopped by a signal; %s is removed\n", folder);
        assert_string_equal(text, want);
        free(text);
    }
}

static void remove_left(void)
{
    message why;
    assert_true(folder_exists(folder));
    assert_int_equal(folder_remove(folder, &why), OK);
}

static void test_ignored_or_disarmed(void **state)
{
    (void)state;
    signal(SIGHUP, SIG_IGN); /* nohup */
    assert_int_equal(outcome(SIGHUP, false), 0);
    signal(SIGHUP, SIG_DFL);
    remove_left();
    const int result = outcome(SIGTERM, true);
    assert_true(WIFSIGNALED(result) && WTERMSIG(result) == SIGTERM);
    remove_left();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_removed),
                                       cmocka_unit_test(test_ignored_or_disarmed)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
