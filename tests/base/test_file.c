/* Files and folders in a scratch folder; what goes wrong with disks happens in child processes. */
#include "tests/support/check.h"
#include "tests/support/scratch.h"
#include "base/file.h"
#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

static bool skipped;
static char root[PATH_BYTES]; /* a folder of each test's own */
static message why;

static int open_files(void)
{
    int count = 0;
    DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir)) count++;
    closedir(dir);
    return count;
}

static int open_before;

static int make_root(void **state)
{
    (void)state;
    open_before = open_files();
    snprintf(root, sizeof root, "%s", scratch_path("root"));
    why.text[0] = 0;
    return folder_make(root, &why) == OK ? 0 : -1;
}

/* No test leaves a descriptor open, whatever failed in it. */
static int remove_root(void **state)
{
    (void)state;
    if (open_files() != open_before) {
        print_error("%d descriptors are open, %d were before\n", open_files(), open_before);
        return -1;
    }
    return folder_remove(root, &why) == OK && !folder_exists(root) ? 0 : -1;
}

/* root/name; good until eight calls later. */
static const char *in_root(const char *name)
{
    static char path[8][PATH_BYTES];
    static int turn;
    return path_join(path[turn++ % 8], root, name);
}

static void expect_ok(status s)
{
    if (s != OK) fail_msg("status %d: %s", s, why.text);
}

static void expect_failure(status s, const char *path, const char *text)
{
    if (s != ERR_INPUT) fail_msg("status %d, expected a failure with '%s'", s, text);
    if (strncmp(why.text, path, strlen(path)) != 0 || !strstr(why.text, text))
        fail_msg("'%s' should begin with '%s' and contain '%s'", why.text, path, text);
}

static void expect_content(const char *path, const char *content)
{
    char *text;
    int64_t bytes;
    expect_ok(file_read_text(path, 1000, &text, &bytes, &why));
    assert_string_equal(text, content);
    assert_int_equal(bytes, strlen(content));
    free(text);
}

/* The names in root, sorted, with a space after each. */
static void expect_names(const char *expected)
{
    char names[500] = "";
    path_list list;
    const char *pattern = in_root("*");
    if (path_list_expand(&list, &pattern, 1, &why) == OK) {
        for (int i = 0; i < list.count; i++) {
            strcat(names, path_base(list.path[i]));
            strcat(names, " ");
        }
        path_list_free(&list);
    }
    assert_string_equal(names, expected);
}

static void expect_written(const char *path, const char *content)
{
    expect_ok(file_write(path, content, (int64_t)strlen(content), NULL, &why));
}

/* ---- paths and reading -------------------------------------------------------------------------------- */

static void too_long(void *context)
{
    char name[PATH_BYTES], out[PATH_BYTES];
    (void)context;
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = 0;
    path_join(out, "folder", name);
}

static void test_paths(void **state)
{
    (void)state;
    char out[PATH_BYTES];
    assert_string_equal(path_join(out, "a/b", "c"), "a/b/c");
    assert_string_equal(path_base("a/b/c"), "c");
    assert_string_equal(path_base("c"), "c");
    static const char *const stripped[][2] = {
        {"a/b//", "a/b"}, {"a", "a"}, {"///", "/"}, {"/", "/"}, {"", ""}};
    for (size_t i = 0; i < sizeof stripped / sizeof *stripped; i++) {
        strcpy(out, stripped[i][0]);
        path_strip(out);
        assert_string_equal(out, stripped[i][1]);
    }
    expect_ok(path_print(out, &why, "%.2s%s", "a/b", ".part"));
    assert_string_equal(out, "a/.part");
    expect_ok(path_print(out, &why, "%0*d", PATH_BYTES - 1, 7));
    expect_failure(path_print(out, &why, "%0*d", PATH_BYTES, 7), "000", "...: this path is too long");
    check_stops(too_long, NULL, ERR_INPUT, "this path is too long, at most 1023 bytes are possible");
}

static void test_existence(void **state)
{
    (void)state;
    const char *path = in_root("a");
    expect_written(path, "12345");
    assert_true(file_exists(path) && !folder_exists(path));
    assert_true(folder_exists(root) && !file_exists(root));
    assert_false(file_exists(in_root("b")) || folder_exists(in_root("b")));
    assert_int_equal(file_bytes(path), 5);
    assert_int_equal(file_bytes(root), -1);
    assert_int_equal(file_bytes(in_root("b")), -1);
}

static void test_reading(void **state)
{
    (void)state;
    int fd;
    int64_t bytes;
    char *text, part[8] = "";
    const char *path = in_root("a"), *none = in_root("none"), *empty = in_root("empty");
    expect_written(path, "0123456789");
    expect_written(empty, "");
    expect_content(path, "0123456789");
    expect_content(empty, "");
    expect_ok(file_open(path, &fd, &bytes, &why));
    assert_int_equal(bytes, 10);
    expect_ok(file_read_at(fd, path, part, 4, 3, &why));
    assert_string_equal(part, "3456");
    expect_failure(file_read_at(fd, path, part, 4, 8, &why), path, ": ends at byte 10, 2 more were expected");
    close(fd);
    expect_failure(file_open(none, &fd, &bytes, &why), none, ": cannot be opened: No such file or directory");
    expect_failure(file_open(root, &fd, &bytes, &why), root, ": is not a regular file");
    expect_failure(file_read_text(none, 100, &text, &bytes, &why), none, "No such file");
    assert_null(text);
    expect_ok(file_read_text(path, 10, &text, &bytes, &why));
    free(text);
    expect_failure(file_read_text(path, 9, &text, &bytes, &why), path,
                   ": has 10 bytes, at most 9 were expected");
    assert_null(text);
    fd = open(path, O_WRONLY | O_CLOEXEC); /* reading it fails for a reason of the system's */
    expect_failure(file_read_at(fd, path, part, 4, 3, &why), path, ": cannot be read at byte 3: Bad file");
    close(fd);
}

/* A pipe without a writer would make a plain open wait forever. */
static void test_pipe(void **state)
{
    (void)state;
    int fd;
    int64_t bytes;
    const char *pipe_path = in_root("pipe");
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    alarm(5);
    expect_failure(file_open(pipe_path, &fd, &bytes, &why), pipe_path, ": is not a regular file");
    alarm(0);
}

/* ---- writing ------------------------------------------------------------------------------------------ */

/* More than one chunk, given in pieces of all sizes; reserved too little, exactly, too much, not at all. */
static void test_writing(void **state)
{
    (void)state;
    enum { BYTES = (3 << 20) + 17 };
    static const int64_t reserved[] = {0, 1, BYTES, BYTES + 100000};
    unsigned char *data = malloc(BYTES);
    assert_non_null(data);
    for (int i = 0; i < BYTES; i++) data[i] = (unsigned char)(i * 2654435761u >> 24);
    for (int r = 0; r < 4; r++) {
        const char *path = in_root("data"), *copy = in_root("copy");
        file_writer w;
        uint64_t hash = 0, again = 0, copied = 0;
        int64_t bytes = 0, copied_bytes = 0, piece = 0;
        expect_ok(file_create(&w, path, reserved[r], &why));
        expect_names(r == 0 ? "data.part " : "copy data data.part ");
        for (int64_t done = 0; done < BYTES; done += piece) {
            piece = piece * 3 + 1 < BYTES - done ? piece * 3 + 1 : BYTES - done;
            expect_ok(file_append(&w, data + done, piece, &why));
        }
        assert_int_equal(w.bytes, BYTES);
        expect_ok(file_finish(&w, &hash, &why));
        assert_int_equal(w.fd, -1);
        assert_true(hash == XXH3_64bits(data, BYTES));
        expect_ok(file_hash(path, &again, &bytes, &why));
        assert_true(again == hash && bytes == BYTES);
        expect_ok(file_copy(path, copy, &copied, &copied_bytes, &why));
        assert_true(copied == hash && copied_bytes == BYTES);
        expect_ok(file_hash(copy, &again, &bytes, &why));
        assert_true(again == hash && bytes == BYTES);
        expect_names("copy data ");
    }
    free(data);
}

/* The published value for no bytes at all: the hash is XXH3-64 without a seed. */
static void test_hash(void **state)
{
    (void)state;
    uint64_t hash = 0;
    expect_ok(file_write(in_root("empty"), "", 0, &hash, &why));
    assert_true(hash == 0x2d06800538d394c2u);
}

static void test_replacing(void **state)
{
    (void)state;
    file_writer w;
    const char *path = in_root("a");
    int64_t bytes;
    expect_written(path, "old");
    expect_ok(file_create(&w, path, 10, &why));
    expect_ok(file_append(&w, "new", 3, &why));
    expect_content(path, "old");
    file_abandon(&w);
    expect_content(path, "old");
    file_abandon(&w); /* nothing more to give up */
    expect_names("a ");
    expect_written(path, "newer");
    expect_content(path, "newer");
    /* Onto itself, and from nowhere. */
    expect_ok(file_copy(path, path, NULL, &bytes, &why));
    expect_content(path, "newer");
    expect_failure(file_copy(in_root("none"), path, NULL, &bytes, &why), in_root("none"), "cannot be opened");
    expect_content(path, "newer");
    expect_names("a ");
}

/* Two that write one path: the second is told so, and harms nothing. What a killed one has left is no lock.
 */
static void test_two_writers(void **state)
{
    (void)state;
    file_writer first, second;
    const char *path = in_root("a");
    expect_written(in_root("a.part"), "left by a job that was killed");
    expect_ok(file_create(&first, path, 0, &why));
    expect_ok(file_append(&first, "first", 5, &why));
    expect_failure(file_create(&second, path, 0, &why), path, ": another process is writing it (");
    assert_int_equal(second.fd, -1);
    file_abandon(&second);
    expect_ok(file_append(&first, "!", 1, &why));
    expect_failure(file_create(&second, path, 0, &why), path, "a.part is locked): wait for that one");
    expect_ok(file_finish(&first, NULL, &why));
    expect_content(path, "first!");
    expect_ok(file_create(&first, path, 0, &why));
    file_abandon(&first);
    expect_ok(file_create(&second, path, 0, &why));
    expect_ok(file_append(&second, "second", 6, &why));
    expect_ok(file_finish(&second, NULL, &why));
    expect_content(path, "second");
    expect_names("a ");
}

static void test_refused(void **state)
{
    (void)state;
    file_writer w;
    char longer[PATH_BYTES + 1];
    const char *path = in_root("none/a"), *folder = in_root("folder");
    struct stat s;
    expect_failure(file_create(&w, path, 0, &why), path, ": cannot be created: No such file or directory");
    expect_ok(folder_make(folder, &why));
    expect_failure(file_create(&w, folder, 0, &why), folder, ": cannot be written: it is not a regular file");
    /* A link, because a wrong program run by root would take away the device itself. */
    const char *null = in_root("null");
    assert_int_equal(symlink("/dev/null", null), 0);
    expect_failure(file_write(null, "x", 1, NULL, &why), null, "it is not a regular file");
    assert_true(lstat(null, &s) == 0 && S_ISLNK(s.st_mode));
    assert_int_equal(unlink(null), 0);
    memset(longer, 'a', PATH_BYTES);
    longer[PATH_BYTES] = 0;
    expect_failure(file_create(&w, longer, 0, &why), "aaa", "...: this path is too long");
    expect_failure(folder_make(longer, &why), "aaa", "...: this path is too long");
    expect_names("folder ");
}

/* What a link leads to is written, and the link stays. */
static void test_link(void **state)
{
    (void)state;
    struct stat s;
    const char *link = in_root("link"), *path = in_root("a");
    expect_written(path, "old");
    assert_int_equal(symlink("a", link), 0);
    expect_ok(file_write(link, "new", 3, NULL, &why));
    assert_true(lstat(link, &s) == 0 && S_ISLNK(s.st_mode));
    expect_content(path, "new");
    assert_int_equal(unlink(link), 0);
    expect_names("a ");
}

static void test_standard_output(void **state)
{
    (void)state;
    const char *path = in_root("a");
    expect_written(path, "old");
    const int kept = dup(STDOUT_FILENO), fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_true(kept >= 0 && fd >= 0);
    fflush(stdout);
    assert_int_equal(dup2(fd, STDOUT_FILENO), STDOUT_FILENO);
    const status refused = file_write(path, "x", 1, NULL, &why);
    assert_int_equal(dup2(kept, STDOUT_FILENO), STDOUT_FILENO);
    close(kept);
    close(fd);
    expect_failure(refused, path, ": cannot be written: it is the standard output");
    expect_content(path, "old");
}

/* A descriptor that cannot be written to stands for a disk that fails. */
static void test_failing_disk(void **state)
{
    (void)state;
    file_writer w;
    const char *path = in_root("a");
    expect_written(path, "old");
    expect_ok(file_create(&w, path, 0, &why));
    expect_ok(file_append(&w, "12345", 5, &why));
    close(w.fd);
    w.fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_true(w.fd >= 0);
    expect_failure(file_append(&w, "1234567", 7, &why), path,
                   ": cannot write bytes 5 to 12: No space left on device");
    assert_int_equal(w.fd, -1);
    expect_names("a ");
    expect_content(path, "old");
    expect_ok(file_create(&w, path, 0, &why));
    expect_ok(file_append(&w, "12345", 5, &why));
    close(w.fd);
    w.fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    expect_failure(file_finish(&w, NULL, &why), path, ": cannot make durable bytes 0 to 5: Invalid argument");
    expect_names("a ");
    /* The folder goes away while the file is written. */
    const char *folder = in_root("b"), *lost = in_root("b/c");
    expect_ok(folder_make(folder, &why));
    expect_ok(file_create(&w, lost, 3, &why));
    expect_ok(folder_remove(folder, &why));
    expect_ok(file_append(&w, "123", 3, &why));
    expect_failure(file_finish(&w, NULL, &why), lost,
                   ": cannot finish its 3 bytes: No such file or directory");
    expect_names("a ");
    expect_content(path, "old");
}

/* ---- full disks and sudden ends, in child processes --------------------------------------------------- */

/* Runs `body` in a child and returns how that ended. Failed checks of cmocka end the child with 1. */
static int outcome_of(int (*body)(void))
{
    fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) _exit(body());
    int result = 0;
    assert_int_equal(waitpid(child, &result, 0), child);
    return result;
}

#define CHILD_CHECK(condition)                                                                               \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, why.text);                    \
            return 1;                                                                                        \
        }                                                                                                    \
    } while (0)

/* Where only 256 KiB fit: old files stay, nothing of the new one does, and its space is free again. */
static int full_disk(const char *reason)
{
    enum { FITS = 100000, DOES_NOT = 400000 };
    static char data[DOES_NOT];
    const char *big = in_root("big"), *small = in_root("small");
    uint64_t hash;
    int64_t bytes;
    file_writer w;
    CHILD_CHECK(file_write(small, data, FITS, NULL, &why) == OK);
    CHILD_CHECK(file_create(&w, big, DOES_NOT, &why) == ERR_INPUT);
    CHILD_CHECK(strstr(why.text, big) == why.text &&
                strstr(why.text, ": cannot reserve bytes 0 to 400000: "));
    CHILD_CHECK(strstr(why.text, reason));
    CHILD_CHECK(file_create(&w, big, 0, &why) == OK);
    status s = OK;
    while (s == OK && w.bytes < DOES_NOT) s = file_append(&w, data, 10000, &why);
    CHILD_CHECK(s == ERR_INPUT && strstr(why.text, ": cannot write bytes ") && strstr(why.text, reason));
    CHILD_CHECK(file_write(small, data, DOES_NOT, NULL, &why) == ERR_INPUT);
    CHILD_CHECK(file_hash(small, &hash, &bytes, &why) == OK && bytes == FITS);
    CHILD_CHECK(!file_exists(big) && !file_exists(in_root("big.part")) &&
                !file_exists(in_root("small.part")));
    CHILD_CHECK(file_write(big, data, FITS, NULL, &why) == OK);
    return 0;
}

/* A small disk in memory that only this process sees; as an ordinary user it takes a user namespace. */
static int on_small_disk(void)
{
    if (unshare(CLONE_NEWNS) != 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) return SKIPPED_CODE;
    if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return SKIPPED_CODE;
    if (mount("none", root, "tmpfs", 0, "size=256k") != 0) return SKIPPED_CODE;
    return full_disk("No space left on device");
}

static void test_full_disk(void **state)
{
    (void)state;
    const int result = outcome_of(on_small_disk);
    assert_true(WIFEXITED(result));
    if (WEXITSTATUS(result) == SKIPPED_CODE) {
        skipped = true;
        skip();
    }
    assert_int_equal(WEXITSTATUS(result), 0);
}

static int under_limit(void)
{
    const struct rlimit limit = {.rlim_cur = 256 << 10, .rlim_max = RLIM_INFINITY};
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &limit);
    return full_disk("File too large");
}

/* Bytes that were written are replaced; the hash stays that of what was appended. */
static void test_patch(void **state)
{
    (void)state;
    file_writer w;
    uint64_t hash, plain;
    int64_t bytes;
    char *text;
    assert_int_equal(file_write(scratch_path("plain"), "0123456789", 10, &plain, &why), OK);
    assert_int_equal(file_create(&w, scratch_path("patched"), 0, &why), OK);
    assert_int_equal(file_append(&w, "0123456789", 10, &why), OK);
    assert_int_equal(file_patch(&w, 3, "abc", 3, &why), OK);
    assert_int_equal(file_patch(&w, 9, "z", 1, &why), OK);
    assert_int_equal(file_finish(&w, &hash, &why), OK);
    assert_int_equal(file_read_text(scratch_path("patched"), 100, &text, &bytes, &why), OK);
    assert_string_equal(text, "012abc678z");
    assert_true(hash == plain);
    free(text);
}

static void test_file_limit(void **state)
{
    (void)state;
    assert_int_equal(outcome_of(under_limit), 0);
}

static int killed_while_writing(void)
{
    file_writer w;
    CHILD_CHECK(file_create(&w, in_root("a"), 100, &why) == OK);
    CHILD_CHECK(file_append(&w, "new", 3, &why) == OK);
    raise(SIGKILL);
    return 0;
}

static void test_kill(void **state)
{
    (void)state;
    expect_written(in_root("a"), "old");
    assert_true(WIFSIGNALED(outcome_of(killed_while_writing)));
    expect_content(in_root("a"), "old");
    expect_written(in_root("a"), "newest"); /* what the dead one left is no obstacle */
    expect_names("a ");
}

/* ---- folders ------------------------------------------------------------------------------------------ */

static void test_folders(void **state)
{
    (void)state;
    const char *deep = in_root("a/b/c"), *file = in_root("a/b/c/file"), *below = in_root("a/b/c/file/d");
    expect_ok(folder_make(deep, &why));
    expect_ok(folder_make(deep, &why));
    expect_written(file, "x");
    expect_failure(folder_make(file, &why), file, ": exists and is not a folder");
    expect_failure(folder_make(below, &why), below, ": cannot be made: Not a directory");
    assert_int_equal(folder_make("", &why), ERR_INPUT);
    expect_failure(folder_sync(in_root("none"), &why), in_root("none"), "No such file");
    /* A link is removed, not what it leads to; what is not there is gone. */
    expect_written(in_root("kept"), "kept");
    assert_int_equal(symlink(in_root("kept"), in_root("a/link")), 0);
    assert_int_equal(symlink(root, in_root("a/up")), 0);
    expect_ok(folder_remove(in_root("a"), &why));
    expect_names("kept ");
    expect_ok(folder_remove(in_root("a"), &why));
}

static void test_commit(void **state)
{
    (void)state;
    const char *from = in_root("step.tmp"), *to = in_root("step"), *other = in_root("other/");
    expect_ok(folder_make(from, &why));
    expect_written(in_root("step.tmp/file"), "x");
    expect_ok(folder_commit(from, to, &why));
    expect_content(in_root("step/file"), "x");
    expect_names("step ");
    expect_failure(folder_commit(from, to, &why), from, "No such file");
    expect_ok(folder_make(from, &why));
    expect_failure(folder_commit(from, to, &why), from, "cannot be renamed to");
    expect_content(in_root("step/file"), "x");
    expect_ok(folder_commit(from, other, &why)); /* a slash at the end */
    expect_names("other step ");
    /* Names without a folder lie in the current one, and the root has itself above it. */
    char before[PATH_BYTES];
    assert_non_null(getcwd(before, sizeof before));
    assert_int_equal(chdir(root), 0);
    expect_ok(folder_commit("other", "third", &why));
    expect_written("file", "x");
    assert_int_equal(chdir(before), 0);
    expect_names("file step third ");
}

static void test_vacant(void **state)
{
    (void)state;
    expect_ok(folder_check_vacant(in_root("missing"), &why));
    expect_ok(folder_make(in_root("empty"), &why));
    expect_ok(folder_check_vacant(in_root("empty"), &why));
    expect_written(in_root("empty/.file"), "x");
    expect_failure(folder_check_vacant(in_root("empty"), &why), in_root("empty"), "exists and is not empty");
    expect_failure(folder_check_vacant(in_root("empty/.file"), &why), in_root("empty/.file"),
                   "cannot be written as a folder");
    assert_int_equal(symlink("missing", in_root("link")), 0);
    expect_failure(folder_check_vacant(in_root("link"), &why), in_root("link"), "is a symbolic link");
}

static void test_lock(void **state)
{
    (void)state;
    int first, second;
    expect_ok(folder_lock(root, "some.option", 0, &first, &why));
    expect_failure(folder_lock(root, "some.option", 0, &second, &why), root,
                   "another live job is writing there: wait for it, or give another some.option");
    assert_int_equal(second, -1);
    close(first);
    expect_ok(folder_lock(root, "some.option", 0, &second, &why));
    close(second);
    /* Waits for an owner that ends meanwhile. */
    const pid_t child = fork();
    if (child == 0) {
        int fd;
        const bool got = folder_lock(root, "some.option", 0, &fd, &why) == OK;
        usleep(300000);
        _exit(got ? 0 : 1);
    }
    usleep(100000);
    expect_failure(folder_lock(root, "some.option", 0, &second, &why), root, "another live job");
    expect_ok(folder_lock(root, "some.option", 5, &second, &why));
    close(second);
    int result = 0;
    assert_true(waitpid(child, &result, 0) == child && result == 0);
    expect_failure(folder_lock(in_root("none"), "some.option", 0, &first, &why), in_root("none/lock"),
                   "cannot be opened");
}

static void test_follows_a_folder(void **state)
{
    (void)state;
    char now[PATH_BYTES];
    expect_ok(folder_make(in_root("here"), &why));
    const int fd = open(in_root("here"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0 && path_leads_to(in_root("here"), fd) && folder_path(fd, now));
    assert_int_equal(rename(in_root("here"), in_root("there")), 0);
    expect_ok(folder_make(in_root("here"), &why)); /* another one */
    assert_false(path_leads_to(in_root("here"), fd));
    assert_true(folder_path(fd, now) && path_leads_to(now, fd));
    assert_string_equal(path_base(now), "there");
    expect_ok(folder_remove(in_root("there"), &why));
    assert_false(folder_path(fd, now));
    close(fd);
}

/* ---- patterns ----------------------------------------------------------------------------------------- */

static void test_patterns(void **state)
{
    (void)state;
    static const char *const names[] = {"b2.ds", "a1.ds", "b1.ds", "[ab]1.ds", "a1.txt"};
    for (int i = 0; i < 5; i++) expect_written(in_root(names[i]), "x");
    path_list list;
    const char *some[] = {in_root("b*.ds"), in_root("a1.ds"), in_root("[ab]1.ds"), in_root("?1.ds")};
    static const char *const expected[] = {"b1.ds", "b2.ds", "a1.ds", "[ab]1.ds", "a1.ds", "b1.ds"};
    expect_ok(path_list_expand(&list, some, 4, &why));
    assert_int_equal(list.count, 6);
    for (int i = 0; i < 6; i++) assert_string_equal(path_base(list.path[i]), expected[i]);
    path_list_free(&list);
    assert_int_equal(list.count, 0);
    path_list_free(&list);
    expect_ok(path_list_expand(&list, NULL, 0, &why));
    assert_int_equal(list.count, 0);
    some[1] = in_root("c*.ds");
    expect_failure(path_list_expand(&list, some, 3, &why), some[1], ": no file matches");
    assert_int_equal(list.count, 0);
    some[1] = in_root("c.ds");
    expect_failure(path_list_expand(&list, some, 3, &why), some[1], ": no file matches");
}

#define FILE_TEST(function) cmocka_unit_test_setup_teardown(function, make_root, remove_root)

int main(void)
{
    const struct CMUnitTest tests[] = {
        FILE_TEST(test_paths),
        FILE_TEST(test_existence),
        FILE_TEST(test_reading),
        FILE_TEST(test_pipe),
        FILE_TEST(test_writing),
        FILE_TEST(test_hash),
        FILE_TEST(test_replacing),
        FILE_TEST(test_two_writers),
        FILE_TEST(test_refused),
        FILE_TEST(test_link),
        FILE_TEST(test_standard_output),
        FILE_TEST(test_failing_disk),
        FILE_TEST(test_full_disk),
        FILE_TEST(test_patch),
        FILE_TEST(test_file_limit),
        FILE_TEST(test_kill),
        FILE_TEST(test_folders),
        FILE_TEST(test_commit),
        FILE_TEST(test_patterns),
        FILE_TEST(test_vacant),
        FILE_TEST(test_lock),
        FILE_TEST(test_follows_a_folder),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed ? failed : skipped ? SKIPPED_CODE : 0;
}
