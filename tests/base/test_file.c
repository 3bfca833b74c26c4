/* Files: what is written is what is read and hashed, every failure has its sentence, and after a failure
 * nothing is left: no file, no open descriptor. The full disk is a real one (a small tmpfs) where the test
 * may mount, and always a limit on the size of files. */
#include "base/file.h"
#include "tests/support/scratch.h"
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>
#include <xxhash.h>

enum { MANY = (3 << 20) + 12345 /* more than two chunks, and not whole ones */ };

static char content(int64_t i) { return (char)(i * 131 + i / 4099); }

static char *contents(int64_t bytes)
{
    char *data = malloc((size_t)bytes);
    assert_non_null(data);
    for (int64_t i = 0; i < bytes; i++) data[i] = content(i);
    return data;
}

static int open_files(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir)) count++;
    closedir(dir);
    return count;
}

static void expect_ok(status s, const message *why)
{
    if (s != OK) fail_msg("status %d: %s", (int)s, why->text);
}

/* An ERR_INPUT whose sentence starts with the path and contains `text`. */
static void expect_refused(status s, const message *why, const char *path, const char *text)
{
    assert_int_equal(s, ERR_INPUT);
    if (strncmp(why->text, path, strlen(path)) != 0 || !strstr(why->text, text))
        fail_msg("expected \"%s ... %s\", got: %s", path, text, why->text);
}

static void expect_closed(const file_writer *w)
{
    assert_int_equal(w->fd, -1);
    assert_null(w->hash);
}

/* ---- names --------------------------------------------------------------------------------------------- */

static void test_names(void **state)
{
    (void)state;
    char out[PATH_BYTES];
    assert_string_equal(path_join(out, "a/b", "c"), "a/b/c");
    assert_string_equal(path_base("a/b/c"), "c");
    assert_string_equal(path_base("c"), "c");
    const char *path = scratch_text("five", "12345"), *folder = scratch_path(".");
    assert_true(file_exists(path) && !folder_exists(path));
    assert_true(folder_exists(folder) && !file_exists(folder));
    assert_int_equal(file_bytes(path), 5);
    assert_int_equal(file_bytes(folder), -1);
    assert_int_equal(file_bytes(scratch_path("absent")), -1);
}

/* ---- reading ------------------------------------------------------------------------------------------- */

static void test_read_text(void **state)
{
    (void)state;
    message why = {""};
    char *text;
    int64_t bytes;
    const char *path = scratch_write("text", "ab\0cd", 5);
    expect_ok(file_read_text(path, 5, &text, &bytes, &why), &why); /* the limit itself is allowed */
    assert_int_equal(bytes, 5);
    assert_memory_equal(text, "ab\0cd", 6);
    free(text);
    expect_ok(file_read_text(scratch_text("empty", ""), 0, &text, &bytes, &why), &why);
    assert_int_equal(bytes, 0);
    assert_string_equal(text, "");
    free(text);
}

static void test_read_text_refused(void **state)
{
    (void)state;
    message why = {""};
    char *text;
    int64_t bytes;
    const int before = open_files();
    const char *path = scratch_text("long", "123456"), *absent = scratch_path("absent");
    expect_refused(file_read_text(path, 5, &text, &bytes, &why), &why, path, "6 bytes, at most 5");
    assert_null(text);
    expect_refused(file_read_text(absent, 5, &text, &bytes, &why), &why, absent, "No such file");
    assert_null(text);
    path = scratch_path(".");
    expect_refused(file_read_text(path, 5, &text, &bytes, &why), &why, path, "not a regular file");
    assert_int_equal(open_files(), before);
}

/* A pipe without a writer would make a plain open wait for ever. */
static void test_open_pipe(void **state)
{
    (void)state;
    message why = {""};
    int fd;
    int64_t bytes;
    const char *path = scratch_path("pipe");
    assert_int_equal(mkfifo(path, 0600), 0);
    alarm(5);
    expect_refused(file_open(path, &fd, &bytes, &why), &why, path, "not a regular file");
    alarm(0);
}

static void test_read_at(void **state)
{
    (void)state;
    message why = {""};
    int fd;
    int64_t bytes;
    char out[4] = "???";
    const char *path = scratch_text("digits", "0123456789");
    expect_ok(file_open(path, &fd, &bytes, &why), &why);
    assert_int_equal(bytes, 10);
    expect_ok(file_read_at(fd, path, out, 3, 7, &why), &why);
    assert_string_equal(out, "789");
    expect_ok(file_read_at(fd, path, out, 0, 10, &why), &why);
    expect_refused(file_read_at(fd, path, out, 4, 7, &why), &why, path, "ends at byte 10, 1 more");
    expect_refused(file_read_at(fd, path, out, 1, 11, &why), &why, path, "ends at byte 11, 1 more");
    close(fd);
    expect_refused(file_read_at(fd, path, out, 1, 0, &why), &why, path, "cannot be read at byte 0");
}

/* ---- writing ------------------------------------------------------------------------------------------- */

/* Reads the file and compares; `hash` must be that of its bytes, by the library in one go. */
static void expect_file(const char *path, int64_t bytes, uint64_t hash)
{
    message why = {""};
    char *data;
    int64_t found;
    expect_ok(file_read_text(path, MANY, &data, &found, &why), &why);
    assert_int_equal(found, bytes);
    for (int64_t i = 0; i < bytes; i++)
        if (data[i] != content(i)) fail_msg("%s: byte %lld is wrong", path, (long long)i);
    assert_true(hash == XXH3_64bits(data, (size_t)bytes));
    free(data);
    uint64_t again;
    expect_ok(file_hash(path, &again, &found, &why), &why);
    assert_true(again == hash);
    assert_int_equal(found, bytes);
}

static void test_writer(void **state)
{
    (void)state;
    message why = {""};
    char *data = contents(MANY);
    const char *path = scratch_path("written");
    const int before = open_files();
    /* Nothing, too little and too much reserved; pieces of unequal size, an empty one among them. */
    const int64_t expected[] = {0, 1000, MANY + 5000}, piece[] = {1, 0, 4096, 2 << 20, MANY};
    for (int i = 0; i < 3; i++) {
        file_writer w;
        uint64_t hash;
        expect_ok(file_create(&w, path, expected[i], &why), &why);
        int64_t done = 0;
        for (int j = 0; j < 5; j++) {
            const int64_t n = piece[j] < MANY - done ? piece[j] : MANY - done;
            expect_ok(file_append(&w, data + done, n, &why), &why);
            done += n;
            assert_int_equal(w.bytes, done);
        }
        assert_int_equal(done, MANY);
        expect_ok(file_finish(&w, &hash, &why), &why);
        expect_closed(&w);
        expect_file(path, MANY, hash);
    }
    assert_int_equal(open_files(), before);
    free(data);
}

static void test_write_and_copy(void **state)
{
    (void)state;
    message why = {""};
    uint64_t hash, copied;
    int64_t bytes;
    char *data = contents(MANY);
    const char *path = scratch_path("source"), *copy = scratch_path("copy");
    const int before = open_files();
    const int64_t sizes[] = {0, 1, 1 << 20, MANY};
    for (int i = 3; i >= 0; i--) { /* falling: an old, longer file must not shine through */
        expect_ok(file_write(path, data, sizes[i], &hash, &why), &why);
        expect_file(path, sizes[i], hash);
        expect_ok(file_copy(path, copy, &copied, &bytes, &why), &why);
        assert_int_equal(bytes, sizes[i]);
        assert_true(copied == hash);
        expect_file(copy, sizes[i], hash);
    }
    expect_ok(file_write(path, data, 10, NULL, &why), &why);
    assert_int_equal(open_files(), before);
    free(data);
}

static void test_abandon(void **state)
{
    (void)state;
    message why = {""};
    file_writer w;
    const char *path = scratch_path("abandoned");
    const int before = open_files();
    expect_ok(file_create(&w, path, 100, &why), &why);
    expect_ok(file_append(&w, "x", 1, &why), &why);
    file_abandon(&w);
    expect_closed(&w);
    assert_false(file_exists(path));
    file_abandon(&w); /* twice is harmless */
    assert_int_equal(open_files(), before);
}

static void test_create_refused(void **state)
{
    (void)state;
    message why = {""};
    file_writer w;
    const int before = open_files();
    const char *path = scratch_path("no/such/folder");
    expect_refused(file_create(&w, path, 10, &why), &why, path, "cannot be created: No such file");
    expect_closed(&w);
    char endless[PATH_BYTES + 100];
    memset(endless, 'a', sizeof endless);
    for (size_t i = 0; i < sizeof endless; i += 100) endless[i] = '/';
    endless[sizeof endless - 1] = 0;
    expect_refused(file_create(&w, endless, 10, &why), &why, "/aaa", "name is too long");
    uint64_t hash;
    int64_t bytes;
    const char *absent = scratch_path("absent"), *to = scratch_path("to");
    expect_refused(file_copy(absent, to, &hash, &bytes, &why), &why, absent, "No such file");
    assert_false(file_exists(to));
    assert_int_equal(open_files(), before);
}

/* A device or a pipe given as output is refused and stays: a failure would otherwise remove it. (Links,
 * because a wrong program run by root would take away the real /dev/null.) */
static void test_create_device(void **state)
{
    (void)state;
    message why = {""};
    const char *path = scratch_path("null");
    assert_int_equal(symlink("/dev/null", path), 0);
    expect_refused(file_write(path, "x", 1, NULL, &why), &why, path, "not a regular file");
    struct stat s;
    assert_int_equal(lstat(path, &s), 0);
}

/* ---- full disk ----------------------------------------------------------------------------------------- */

/* In `folder` there is room for less than MANY bytes; the system calls that `reason`. */
static void check_full(const char *folder, const char *reason)
{
    message why = {""};
    file_writer w;
    uint64_t hash;
    int64_t bytes;
    char path[PATH_BYTES], *data = contents(MANY);
    const int before = open_files();
    path_join(path, folder, "large");
    expect_refused(file_create(&w, path, MANY, &why), &why, path, reason);
    expect_closed(&w);
    assert_false(file_exists(path));

    expect_ok(file_create(&w, path, 0, &why), &why);
    expect_ok(file_append(&w, data, 1000, &why), &why);
    expect_refused(file_append(&w, data + 1000, MANY - 1000, &why), &why, path, reason);
    expect_closed(&w);
    assert_false(file_exists(path));

    expect_refused(file_write(path, data, MANY, &hash, &why), &why, path, reason);
    assert_false(file_exists(path));

    /* Growing beyond what was reserved, as a writer that was told too little does. */
    expect_ok(file_create(&w, path, 1000, &why), &why);
    expect_refused(file_append(&w, data, MANY, &why), &why, path, reason);
    assert_false(file_exists(path));

    const char *source = scratch_path("kept"); /* written before the disk was full */
    expect_refused(file_copy(source, path, &hash, &bytes, &why), &why, path, reason);
    assert_false(file_exists(path));
    assert_int_equal(file_bytes(source), MANY);

    expect_ok(file_write(path, data, 1000, &hash, &why), &why); /* all room has been given back */
    expect_file(path, 1000, hash);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(open_files(), before);
    free(data);
}

static void test_size_limit(void **state)
{
    (void)state;
    struct rlimit kept, small;
    char *data = contents(MANY);
    scratch_write("kept", data, MANY);
    free(data);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &kept), 0);
    small = (struct rlimit){.rlim_cur = 1 << 20, .rlim_max = kept.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    check_full(scratch_path("."), "File too large");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &kept), 0);
    signal(SIGXFSZ, handler);
}

/* The mount lives in a name space of this process: whatever happens to the test, nothing of it stays. */
static void test_full_disk(void **state)
{
    (void)state;
    const char *folder = scratch_path("disk");
    assert_int_equal(mkdir(folder, 0700), 0);
    if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("tmpfs", folder, "tmpfs", 0, "size=1m") != 0) {
        print_message("this process may not mount: the full disk is only tested by a size limit\n");
        rmdir(folder);
        skip();
    }
    check_full(folder, "No space left on device");
    assert_int_equal(umount(folder), 0);
    assert_int_equal(rmdir(folder), 0);
}

/* ---- folders ------------------------------------------------------------------------------------------- */

static void test_folder_make(void **state)
{
    (void)state;
    message why = {""};
    char path[PATH_BYTES];
    const char *top = scratch_path("make");
    path_join(path, top, "a//b/c/");
    expect_ok(folder_make(path, &why), &why);
    assert_true(folder_exists(path));
    expect_ok(folder_make(path, &why), &why); /* again */
    expect_ok(folder_make("/", &why), &why);
    path_join(path, top, "file");
    expect_ok(file_write(path, "x", 1, NULL, &why), &why);
    expect_refused(folder_make(path, &why), &why, path, "not a folder");
    path_join(path, top, "file/below");
    expect_refused(folder_make(path, &why), &why, path, "Not a directory");
    assert_int_equal(folder_make("", &why), ERR_INPUT);
    char endless[PATH_BYTES + 100];
    memset(endless, 'a', sizeof endless);
    memcpy(endless, "/tmp/", 5);
    for (size_t i = 100; i < sizeof endless; i += 100) endless[i] = '/';
    endless[sizeof endless - 1] = 0;
    expect_refused(folder_make(endless, &why), &why, "/tmp/aaa", "name is too long");
    assert_false(folder_exists("/tmp/aaaaaaaaaa"));
    expect_ok(folder_remove(top, &why), &why);
}

/* Everything below goes, links are not followed, and a name that is not there is fine. */
static void test_folder_remove(void **state)
{
    (void)state;
    message why = {""};
    char path[PATH_BYTES];
    const char *top = scratch_path("remove"), *kept = scratch_path("outside");
    expect_ok(folder_make(path_join(path, top, "a/b"), &why), &why);
    expect_ok(file_write(path_join(path, top, "a/b/.hidden"), "x", 1, NULL, &why), &why);
    expect_ok(folder_make(kept, &why), &why);
    expect_ok(file_write(path_join(path, kept, "file"), "x", 1, NULL, &why), &why);
    assert_int_equal(symlink(kept, path_join(path, top, "link")), 0);
    const int before = open_files();
    expect_ok(folder_remove(top, &why), &why);
    assert_false(folder_exists(top));
    assert_true(file_exists(path_join(path, kept, "file")));
    expect_ok(folder_remove(top, &why), &why);
    expect_ok(folder_remove(kept, &why), &why);
    assert_int_equal(open_files(), before);
}

static void test_folder_commit(void **state)
{
    (void)state;
    message why = {""};
    char path[PATH_BYTES];
    const char *temporary = scratch_path("step.part"), *final = scratch_path("step");
    expect_ok(folder_make(temporary, &why), &why);
    expect_ok(file_write(path_join(path, temporary, "file"), "x", 1, NULL, &why), &why);
    expect_ok(folder_commit(temporary, final, &why), &why);
    assert_false(folder_exists(temporary));
    assert_true(file_exists(path_join(path, final, "file")));

    /* An older folder of that name with files in it is not replaced, and the new one not lost. */
    expect_ok(folder_make(temporary, &why), &why);
    expect_refused(folder_commit(temporary, final, &why), &why, temporary, "cannot be renamed");
    assert_true(folder_exists(temporary) && file_exists(path));
    expect_ok(folder_remove(temporary, &why), &why);
    expect_refused(folder_commit(temporary, final, &why), &why, temporary, "No such file");
    expect_ok(folder_remove(final, &why), &why);
}

/* Names without a slash lie in the current folder. */
static void test_folder_commit_here(void **state)
{
    (void)state;
    message why = {""};
    char here[PATH_BYTES];
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(scratch_path(".")), 0);
    expect_ok(folder_make("here.part", &why), &why);
    expect_ok(folder_commit("here.part", "here", &why), &why);
    assert_true(folder_exists("here"));
    expect_ok(folder_remove("here", &why), &why);
    assert_int_equal(chdir(here), 0);
}

/* ---- patterns ------------------------------------------------------------------------------------------ */

static void test_expand(void **state)
{
    (void)state;
    message why = {""};
    char third[256], second[256], pattern[256];
    path_list list;
    snprintf(third, sizeof third, "%s", scratch_text("part3.ds", ""));
    snprintf(second, sizeof second, "%s", scratch_text("part2.ds", ""));
    snprintf(pattern, sizeof pattern, "%s", scratch_path("part*.ds"));
    expect_ok(path_list_expand(&list, (const char *[]){third, pattern}, 2, &why), &why);
    assert_int_equal(list.count, 3);
    assert_string_equal(list.path[0], third);
    assert_string_equal(list.path[1], second);
    assert_string_equal(list.path[2], third);
    path_list_free(&list);
    assert_int_equal(list.count, 0);
    path_list_free(&list);
    expect_ok(path_list_expand(&list, NULL, 0, &why), &why);
    assert_int_equal(list.count, 0);
    path_list_free(&list);
}

static void test_expand_without_match(void **state)
{
    (void)state;
    message why = {""};
    path_list list;
    const char *good = scratch_text("good.ds", "");
    const char *wrong[] = {scratch_path("none*.ds"), scratch_path("absent.ds"), ""};
    for (int i = 0; i < 3; i++) {
        const char *const patterns[] = {good, wrong[i]};
        expect_refused(path_list_expand(&list, patterns, 2, &why), &why, wrong[i], "no file matches");
        assert_int_equal(list.count, 0);
        assert_null(list.path);
    }
}

/* A file whose name looks like a pattern is found by its name. */
static void test_expand_brackets(void **state)
{
    (void)state;
    message why = {""};
    path_list list;
    const char *path = scratch_text("run[1].ds", "");
    expect_ok(path_list_expand(&list, &path, 1, &why), &why);
    assert_int_equal(list.count, 1);
    assert_string_equal(list.path[0], path);
    path_list_free(&list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_read_text),
        cmocka_unit_test(test_read_text_refused),
        cmocka_unit_test(test_open_pipe),
        cmocka_unit_test(test_read_at),
        cmocka_unit_test(test_writer),
        cmocka_unit_test(test_write_and_copy),
        cmocka_unit_test(test_abandon),
        cmocka_unit_test(test_create_refused),
        cmocka_unit_test(test_create_device),
        cmocka_unit_test(test_size_limit),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_folder_make),
        cmocka_unit_test(test_folder_remove),
        cmocka_unit_test(test_folder_commit),
        cmocka_unit_test(test_folder_commit_here),
        cmocka_unit_test(test_expand),
        cmocka_unit_test(test_expand_without_match),
        cmocka_unit_test(test_expand_brackets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
