/* RUN/checkpoints with everything in it that users, kills and disks leave there: what is found, what goes,
 * what stays. The checkpoints have files of a few bytes: nothing here reads weights. */
#include "base/file.h"
#include "tests/support/scratch.h"
#include "train/checkpoint_parts.h"
#include "train/manifest.h"
#include <dirent.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <fcntl.h>
#include <unistd.h>
#include <cmocka.h>

static message why;
static char run[PATH_BYTES], warnings[PATH_BYTES];
static int num_runs;

/* ---- making and breaking ------------------------------------------------------------------------------- */

static void new_run(void)
{
    char name[32];
    snprintf(name, sizeof name, "run-%d", num_runs++);
    snprintf(run, sizeof run, "%s", scratch_path(name));
    assert_int_equal(checkpoint_clean(run, &why), OK);
    assert_int_equal(truncate(warnings, 0), 0);
}

/* RUN/checkpoints/NAME, good until four calls later. */
static const char *at(const char *name)
{
    static char path[4][PATH_BYTES];
    static int turn;
    char *out = path[turn++ % 4], folder[PATH_BYTES];
    return path_join(out, path_join(folder, run, "checkpoints"), name);
}

static void put(const char *folder, const char *name, const char *text, written_files *list)
{
    char path[PATH_BYTES];
    uint64_t hash;
    const int64_t bytes = (int64_t)strlen(text);
    assert_int_equal(file_write(path_join(path, folder, name), text, bytes, &hash, &why), OK);
    written_add(list, path, bytes, hash);
}

/* A whole checkpoint of `step` in a folder of any name. */
static void make_far(const char *name, int64_t step, bool far)
{
    const checkpoint_state s = {.step = step, .position = 8 * step, .tokens = 256 * step, .far = far};
    written_files list = {0};
    char folder[PATH_BYTES];
    snprintf(folder, sizeof folder, "%s", at(name));
    assert_int_equal(folder_make(folder, &why), OK);
    put(folder, "options.yaml", "train: { seq_len: 32, batch_tokens: 256 }\n", &list);
    assert_int_equal(checkpoint_state_write(folder, &s, &list, &why), OK);
    put(folder, "model.safetensors", name, &list);
    assert_int_equal(manifest_write(folder, &list, &why), OK);
    written_free(&list);
}

static void make(const char *name, int64_t step) { make_far(name, step, false); }

static void make_steps(const char *steps)
{
    for (const char *p = steps; *p; p += strspn(p, " ")) {
        char *end, name[40];
        const long long step = strtoll(p, &end, 10);
        snprintf(name, sizeof name, "step-%08lld", step);
        make(name, step);
        p = end;
    }
}

/* One bit of its weights, in place. With its old times: as a disk loses it, not as a program writes. */
static void damage(const char *name, bool silently)
{
    char path[PATH_BYTES], byte;
    struct stat before;
    const int fd = open(path_join(path, at(name), "model.safetensors"), O_RDWR);
    assert_true(fd >= 0 && fstat(fd, &before) == 0 && pread(fd, &byte, 1, 2) == 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, 2), 1);
    if (silently) assert_int_equal(futimens(fd, (struct timespec[]){before.st_atim, before.st_mtim}), 0);
    close(fd);
}

/* ---- looking ------------------------------------------------------------------------------------------- */

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

/* Everything in RUN/checkpoints, hidden or not; step-000000 is left out of the names. */
static void expect_names(const char *want)
{
    char *names[64], got[2048] = "";
    int count = 0;
    DIR *dir = opendir(at(""));
    assert_non_null(dir);
    for (const struct dirent *entry; (entry = readdir(dir));)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            names[count++] = strdup(entry->d_name);
    closedir(dir);
    qsort(names, (size_t)count, sizeof *names, by_text);
    for (int i = 0; i < count; i++) {
        const size_t skip = strncmp(names[i], "step-000000", 11) == 0 ? 11 : 0;
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s", i ? " " : "", names[i] + skip);
        free(names[i]);
    }
    if (strcmp(got, want) != 0) fail_msg("there is \"%s\", not \"%s\"", got, want);
}

static void expect_warnings(int want, const char *about)
{
    char *text;
    int64_t bytes;
    int lines = 0;
    assert_int_equal(file_read_text(warnings, 1 << 20, &text, &bytes, &why), OK);
    for (const char *p = text; (p = strchr(p, '\n')); p++) lines++;
    if (lines != want || (want && !strstr(text, about)))
        fail_msg("%d warnings, not %d about %s: %s", lines, want, about, text);
    free(text);
}

static void prune(int64_t keep, int64_t best)
{
    if (checkpoint_prune(run, keep, best, &why) != OK) fail_msg("%s", why.text);
}

static void expect_newest(const char *name)
{
    char folder[PATH_BYTES];
    if (checkpoint_newest(run, comm_self(), folder, &why) != OK) fail_msg("%s", why.text);
    assert_string_equal(folder, *name ? at(name) : "");
}

static void expect_before(int64_t most, int64_t want)
{
    int64_t step;
    if (checkpoint_before(run, most, &step, &why) != OK) fail_msg("%s", why.text);
    assert_int_equal(step, want);
}

/* ---- the tests ----------------------------------------------------------------------------------------- */

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int64_t step; /* -1: not a checkpoint's */
    } cases[] = {
        {"step-00000012", 12},
        {"step-00000000", 0},
        {"step-123456789", 123456789},
        {"step-5", -1},
        {"step-000000012", -1},
        {"step-00000012.old", -1},
        {"step-00000012-keep", -1},
        {"step--0000012", -1},
        {"step-+0000012", -1},
        {"step- 0000012", -1},
        {"step-", -1},
        {"STEP-00000012", -1},
        {".remla-tmp-step-00000012", -1},
        {"step-9223372036854775808", -1},
        {"step-99999999999999999999", -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int64_t step = -1;
        const bool is = checkpoint_step(cases[i].name, &step);
        if (is != (cases[i].step >= 0) || (is && step != cases[i].step))
            fail_msg("%s: %d, %lld", cases[i].name, is, (long long)step);
    }
}

static void test_prune(void **state)
{
    (void)state;
    new_run();
    prune(2, -1);
    make_steps("2 4 6 8 10");
    prune(5, -1);
    expect_names("02 04 06 08 10");
    prune(3, -1);
    expect_names("06 08 10");
    prune(1, 6);
    expect_names("06 10");
    make_steps("12 14");
    prune(2, 6);
    expect_names("06 12 14");
    prune(2, 14); /* the best is one of them */
    expect_names("12 14");
    expect_warnings(0, "");
    /* Where nothing has to go nothing is read. */
    damage("step-00000012", false);
    prune(2, 6);
    expect_names("12 14");
    expect_warnings(0, "");
}

/* A checkpoint stays when a user has put a file or a folder into it. */
static void test_prune_beside_other_files(void **state)
{
    (void)state;
    new_run();
    make_steps("2 4 6 8");
    put(at("step-00000002"), "notes.txt", "mine", NULL);
    assert_int_equal(folder_make(at("step-00000004/eval"), &why), OK);
    prune(1, -1);
    prune(1, -1);
    expect_names("02 04 08");
    expect_warnings(2, "step-00000004/eval: does not belong to this checkpoint");
    assert_true(file_exists(at("step-00000002/notes.txt")));
}

/* What does not verify neither stops pruning nor counts. */
static void test_prune_beside_damage(void **state)
{
    (void)state;
    new_run();
    make_steps("2 4 6 8");
    damage("step-00000008", false);
    prune(2, -1);
    expect_names("04 06 08");
    expect_warnings(1, "passing over");
    make_steps("7"); /* the run has gone back */
    prune(2, -1);
    expect_names("06 07 08");
    make_steps("9 10"); /* and is past it: the damaged one has been replaced by newer ones */
    prune(2, -1);
    expect_names("09 10");
    expect_warnings(1, "step-00000008/model.safetensors: is damaged"); /* once */

    /* With nothing whole to keep, nothing goes. */
    new_run();
    make_steps("2 4 6");
    damage("step-00000002", false);
    damage("step-00000004", false);
    damage("step-00000006", false);
    prune(1, -1);
    expect_names("02 04 06");
    expect_warnings(3, "step-00000002");
    char folder[PATH_BYTES];
    assert_int_equal(checkpoint_newest(run, comm_self(), folder, &why), ERR_INPUT);
    if (!strstr(why.text, "none of its 3 checkpoints is whole; the oldest: ") ||
        !strstr(why.text, "step-00000002/model.safetensors: is damaged"))
        fail_msg("%s", why.text);
    expect_warnings(3, "step-00000002");
}

/* Folders, files and links that are not ours. */
static void test_foreign(void **state)
{
    (void)state;
    new_run();
    make_steps("2 4 6");
    make("step-5", 5);
    make("step-00000004.old", 4);
    make("step-00000004.tmp", 4);
    make("step-00000004.trash", 4);
    make("step-00000001", 6); /* a copy of another step, older than all that is kept */
    make("step-00000099", 2); /* newer */
    assert_int_equal(folder_make(at("step-00000003"), &why), OK); /* a user's, among those that are kept */
    put(at("step-00000003"), "notes.txt", "mine", NULL);
    assert_int_equal(folder_make(at("step-00000098"), &why), OK);
    assert_int_equal(symlink("nowhere", at("step-00000097")), 0);
    put(at(""), "step-00000096", "a file", NULL);
    const char all[] = "01 02 03 04 04.old 04.tmp 04.trash 06 96 97 98 99 step-5";
    expect_names(all);
    assert_int_equal(checkpoint_clean(run, &why), OK);
    expect_names(all);
    expect_newest("step-00000006");
    expect_warnings(2, "but its folder is called step-00000099");
    prune(1, -1);
    expect_names("01 03 04.old 04.tmp 04.trash 06 96 97 98 99 step-5");
    prune(1, -1);
    expect_names("01 03 04.old 04.tmp 04.trash 06 96 97 98 99 step-5");
    expect_warnings(4, "step-00000003/MANIFEST.json: is missing");

    /* Alone, they are no checkpoints that have been lost. */
    new_run();
    assert_int_equal(folder_make(at("step-00000098"), &why), OK);
    expect_newest("");
    /* A checkpoint without its manifest is. */
    make_steps("2");
    assert_int_equal(unlink(at("step-00000002/MANIFEST.json")), 0);
    char folder[PATH_BYTES];
    assert_int_equal(checkpoint_newest(run, comm_self(), folder, &why), ERR_INPUT);
}

/* A folder is read once: a bit that a disk loses afterwards is not seen, a file that a user writes is. */
static void test_read_once(void **state)
{
    (void)state;
    new_run();
    make_steps("2 4 6");
    prune(2, -1);
    damage("step-00000006", true);
    make_steps("8");
    prune(2, -1);
    expect_names("06 08");
    expect_warnings(0, "");
    damage("step-00000006", false);
    make_steps("10");
    prune(2, -1);
    expect_names("08 10"); /* older than two whole ones in any case */
    damage("step-00000010", false);
    make_steps("12");
    prune(2, -1);
    expect_names("08 10 12");
    expect_warnings(1, "step-00000010");
    make_steps("10"); /* written again: whole again */
    prune(2, -1);
    expect_names("10 12");
}

static void expect_vacant(int64_t step, const char *obstacle, bool replaces)
{
    bool got = !replaces;
    const status s = checkpoint_vacant(run, step, &got, &why);
    if ((s == OK) != !obstacle) fail_msg("step %lld: %s", (long long)step, s == OK ? "" : why.text);
    if (obstacle && !strstr(why.text, obstacle)) fail_msg("no \"%s\" in: %s", obstacle, why.text);
    if (s == OK) assert_int_equal(got, replaces);
}

static void test_in_the_way(void **state)
{
    (void)state;
    new_run();
    make_steps("1 2");
    damage("step-00000002", false);
    make_steps("3");
    assert_int_equal(unlink(at("step-00000003/MANIFEST.json")), 0);
    assert_int_equal(folder_make(at("step-00000004"), &why), OK);
    assert_int_equal(folder_make(at("step-00000005"), &why), OK);
    put(at("step-00000005"), "notes.txt", "mine", NULL);
    put(at(""), "step-00000006", "a file", NULL);
    assert_int_equal(symlink("nowhere", at("step-00000007")), 0);
    make("step-00000009", 3); /* a copy */
    expect_vacant(9, "it is a copy of another step's", false);
    expect_vacant(0, NULL, false);
    expect_vacant(1, NULL, true);
    expect_vacant(2, NULL, true);
    expect_vacant(3, NULL, true);
    expect_vacant(4, NULL, false);
    expect_vacant(5, "in the way of the checkpoint of step 5: it is a folder of other files; move it", false);
    expect_vacant(6, "it is not a folder", false);
    expect_vacant(7, "it is a link", false);
    for (int64_t step = 0; step < 8; step++) {
        char name[64];
        snprintf(name, sizeof name, ".remla-tmp-step-%08lld", (long long)step);
        make(name, step);
        assert_int_equal(checkpoint_publish(run, step, &why), step < 5 ? OK : ERR_INPUT);
    }
    expect_names(".remla-tmp-step-00000005 .remla-tmp-step-00000006 .remla-tmp-step-00000007 "
                 "00 01 02 03 04 05 06 07 09");
    assert_true(file_exists(at("step-00000005/notes.txt")) && file_exists(at("step-00000006")));
    assert_int_equal(checkpoint_clean(run, &why), OK);
    expect_names("00 01 02 03 04 05 06 07 09");
    for (int64_t step = 0; step < 5; step++) {
        char folder[PATH_BYTES];
        checkpoint_folder(folder, run, step);
        if (checkpoint_verify(folder, &why) != OK) fail_msg("%s", why.text);
    }
    expect_warnings(0, "");
}

/* Killed between the two renames of a replacement, or behind them. */
static void test_old(void **state)
{
    (void)state;
    new_run();
    make(".remla-old-step-00000002", 2);
    make(".remla-tmp-step-00000002", 2);
    make(".remla-old-step-5", 5); /* nobody's that we know */
    assert_int_equal(checkpoint_clean(run, &why), OK);
    expect_names(".remla-old-step-5 02");
    expect_newest("step-00000002");
    /* One that was being replaced because it was damaged goes back as well: nothing is lost of what there
     * was. */
    make(".remla-old-step-00000004", 4);
    damage(".remla-old-step-00000004", false);
    assert_int_equal(checkpoint_clean(run, &why), OK);
    expect_names(".remla-old-step-5 02 04");
    expect_newest("step-00000002");
    expect_warnings(1, "step-00000004");
    /* A checkpoint that was replaced goes only when the new one is complete. */
    make(".remla-old-step-00000002", 2);
    make(".remla-old-step-00000004", 4);
    assert_int_equal(checkpoint_clean(run, &why), OK);
    expect_names(".remla-old-step-00000004 .remla-old-step-5 02 04");
    expect_warnings(2, ".remla-old-step-00000004 stays");
    /* And does not stop the next one of its step. */
    make(".remla-tmp-step-00000004", 4);
    assert_int_equal(checkpoint_publish(run, 4, &why), OK);
    expect_names(".remla-old-step-5 02 04");
    expect_newest("step-00000004");
}

/* Warnings go into a file while a test runs, so that they can be counted. */
/* What a run can go back to, and that nothing of the way that it goes back on is left to start from. */
static void test_going_back(void **state)
{
    (void)state;
    new_run();
    expect_before(INT64_MAX, -1);
    make_steps("10 20 30 50");
    make_far("step-00000040", 40, true);
    make("step-00000031", 30); /* somebody's copy */
    expect_before(9, -1);
    expect_before(10, 10);
    expect_before(29, 20);
    expect_before(49, 30);
    expect_before(50, 50);
    expect_warnings(1, "step-00000031");
    damage("step-00000030", false);
    expect_before(49, 20);
    assert_int_equal(checkpoint_remove_after(run, 20, &why), OK);
    expect_names("10 20 30 31"); /* damaged ones are no place to start from */
    expect_newest("step-00000020");
    assert_int_equal(checkpoint_remove_after(run, 20, &why), OK);

    new_run();
    make_steps("10 20 30 40");
    assert_int_equal(folder_make(at("step-00000030/mine"), &why), OK);
    assert_int_equal(checkpoint_remove_after(run, 10, &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "step-00000030"));
    expect_names("10 20 30"); /* the newest first */
}

static int standard_error = -1;

static int catch_warnings(void **state)
{
    (void)state;
    snprintf(warnings, sizeof warnings, "%s", scratch_text("warnings", ""));
    standard_error = dup(2);
    const int file = open(warnings, O_WRONLY | O_APPEND);
    if (standard_error < 0 || file < 0 || dup2(file, 2) < 0) return -1;
    return close(file);
}

/* What is no warning is a check that failed. */
static int let_warnings_go(void **state)
{
    (void)state;
    if (dup2(standard_error, 2) < 0) return -1;
    char line[2048];
    FILE *file = fopen(warnings, "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "remla: warning:", 15) != 0) fputs(line, stderr);
    return file && fclose(file) == 0 ? close(standard_error) : -1;
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, catch_warnings, let_warnings_go)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_names),
        TEST(test_prune),
        TEST(test_prune_beside_other_files),
        TEST(test_prune_beside_damage),
        TEST(test_foreign),
        TEST(test_read_once),
        TEST(test_in_the_way),
        TEST(test_old),
        TEST(test_going_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
