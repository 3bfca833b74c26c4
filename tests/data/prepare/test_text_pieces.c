/* Files are found in order; the pieces cover every byte of them once; and a piece's name changes with the
 * work. */
#include "data/prepare/text_pieces.h"
#include "tests/support/scratch.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utime.h>
#include <cmocka.h>

static message why;
static char root[256];

static char *at(const char *name)
{
    static char path[8][400];
    static int turn;
    char *out = path[turn++ % 8];
    snprintf(out, sizeof path[0], "%s%s%s", root, name[0] ? "/" : "", name);
    return out;
}

/* A file of so many bytes, sparse. */
static void put(const char *name, int64_t bytes)
{
    FILE *file = fopen(at(name), "wb");
    assert_non_null(file);
    assert_int_equal(ftruncate(fileno(file), bytes), 0);
    fclose(file);
}

static int make_root(void **state)
{
    (void)state;
    snprintf(root, sizeof root, "%s", scratch_path("root"));
    assert_int_equal(folder_make(at("t/sub/deep"), &why), OK);
    assert_int_equal(folder_make(at("t/.hidden"), &why), OK);
    assert_int_equal(folder_make(at("none"), &why), OK);
    put("t/b.txt", 5);
    put("t/a.jsonl", 7);
    put("t/sub.txt", 1);
    put("t/sub/z.md", 0);
    put("t/sub/deep/q.jsonl.gz", 9);
    put("t/.hidden/x.txt", 3);
    put("t/.y.txt", 3);
    put("one.txt", 2);
    return 0;
}

static int remove_root(void **state)
{
    (void)state;
    return folder_remove(root, &why) == OK ? 0 : 1;
}

static status find(text_pieces *t, int count, const char *const *sources)
{
    return text_pieces_find(t, sources, count, "work", &why);
}

/* The files, less the root, each followed by a space. */
static void expect_files(int count, const char *const *sources, const char *want)
{
    text_pieces t;
    char got[1024] = "";
    if (find(&t, count, sources) != OK) fail_msg("%s", why.text);
    for (int i = 0; i < t.files.count; i++) {
        strcat(got, t.files.path[i] + strlen(root) + 1);
        strcat(got, " ");
    }
    assert_string_equal(got, want);
    text_pieces_free(&t);
}

static void expect_refused(int count, const char *const *sources, const char *sentence)
{
    text_pieces t;
    assert_int_equal(find(&t, count, sources), ERR_INPUT);
    if (!strstr(why.text, sentence)) fail_msg("expected \"%s\" in: %s", sentence, why.text);
    assert_int_equal(t.pieces, 0);
}

static void test_files(void **state)
{
    (void)state;
    static const char all[] = "t/a.jsonl t/b.txt t/sub.txt t/sub/deep/q.jsonl.gz t/sub/z.md ";
    expect_files(1, (const char *[]){at("t")}, all);
    expect_files(1, (const char *[]){at("t//")}, all);
    expect_files(2, (const char *[]){at("one.txt"), at("t/*.txt")}, "one.txt t/b.txt t/sub.txt ");
    expect_files(1, (const char *[]){at("[!n]*")},
                 "one.txt t/a.jsonl t/b.txt t/sub.txt t/sub/deep/q.jsonl.gz t/sub/z.md ");
    expect_files(1, (const char *[]){at("t/.y.txt")}, "t/.y.txt "); /* named, so meant */
    /* A link to a file is that file; one to a folder could lead in circles. */
    assert_int_equal(symlink("../one.txt", at("t/link.txt")), 0);
    assert_int_equal(symlink("..", at("t/sub/up")), 0);
    expect_files(1, (const char *[]){at("t")},
                 "t/a.jsonl t/b.txt t/link.txt t/sub.txt t/sub/deep/q.jsonl.gz t/sub/z.md ");
    expect_files(1, (const char *[]){at("t/sub/up/b.txt")}, "t/sub/up/b.txt ");
}

static void test_refused(void **state)
{
    (void)state;
    expect_refused(1, (const char *[]){at("nothing.txt")}, "nothing.txt: no file matches");
    expect_refused(2, (const char *[]){at("one.txt"), at("*.md")}, "*.md: no file matches");
    expect_refused(1, (const char *[]){at("none")}, "none: there are no files in this folder");
    expect_refused(2, (const char *[]){at("t"), at("t/b.txt")}, "t/b.txt: is named twice among the sources");
    expect_refused(1, (const char *[]){at("t/sub/z.md")}, "z.md: the file is empty");
    expect_refused(1, (const char *[]){"/dev/null"}, "/dev/null: is not a regular file");
}

/* ---- pieces ------------------------------------------------------------------------------------------- */

/* Every part follows the one before it, and every file is covered. */
static void check_cover(const text_pieces *t)
{
    int64_t part = 0, in_file = 0, all = 0;
    int file = 0;
    for (int64_t i = 0; i < t->pieces; i++) {
        int64_t bytes = 0;
        assert_int_equal(t->piece[i].first, part);
        assert_true(t->piece[i].parts > 0);
        for (; part < t->piece[i].first + t->piece[i].parts; part++) {
            const text_part *p = &t->part[part];
            assert_ptr_equal(p->path, t->files.path[file]);
            assert_int_equal(p->from, in_file);
            in_file = text_part_whole(p) ? file_bytes(p->path) : p->to;
            assert_int_equal(p->bytes, in_file - p->from);
            if (!text_part_whole(p)) assert_int_equal(t->piece[i].parts, 1);
            bytes += p->bytes;
            if (in_file < file_bytes(p->path)) continue;
            file++;
            in_file = 0;
        }
        assert_int_equal(t->piece[i].bytes, bytes);
        all += bytes;
    }
    assert_int_equal(part, t->parts);
    assert_int_equal(file, t->files.count);
    assert_int_equal(all, t->bytes);
}

static void test_pieces(void **state)
{
    (void)state;
    enum { MIB = 1 << 20 };
    static const struct {
        const char *name;
        int64_t bytes;
    } files[] = {
        {"p/a.txt", 600000},
        {"p/b.jsonl", 300000},
        {"p/c.jsonl", 200000},      /* 1.1 MB: the first piece */
        {"p/d.jsonl", 3 * MIB + 1}, /* four pieces */
        {"p/e.txt", 3 * MIB},       /* one: not cut */
        {"p/f.jsonl.zst", 2 * MIB}, /* one */
        {"p/g.txt", 0},
        {"p/h.jsonl", MIB},
        {"p/i.txt", 1},
    };
    text_pieces t;
    assert_int_equal(folder_make(at("p"), &why), OK);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) put(files[i].name, files[i].bytes);
    assert_int_equal(find(&t, 1, (const char *[]){at("p")}), OK);
    check_cover(&t);
    assert_int_equal(t.pieces, 1 + 4 + 1 + 1 + 1 + 1);
    text_pieces_free(&t);
    put("p/large.jsonl", (int64_t)100 * MIB); /* pieces grow with the whole, */
    assert_int_equal(find(&t, 1, (const char *[]){at("p")}), OK);
    check_cover(&t);
    assert_true(t.pieces > 50 && t.pieces < 70);
    text_pieces_free(&t);
    put("p/large.jsonl", (int64_t)8192 * MIB); /* to 64 MiB */
    assert_int_equal(find(&t, 1, (const char *[]){at("p")}), OK);
    check_cover(&t);
    assert_in_range(t.pieces, 128, 140);
    text_pieces_free(&t);
}

static void name_of(char *out, const char *path, const char *work)
{
    text_pieces t;
    assert_int_equal(text_pieces_find(&t, &path, 1, work, &why), OK);
    snprintf(out, 33, "%s", t.piece[0].name);
    text_pieces_free(&t);
}

static void test_names(void **state)
{
    (void)state;
    char first[33], again[33];
    const char *path = at("one.txt");
    name_of(first, path, "work");
    name_of(again, path, "work");
    assert_string_equal(first, again);
    name_of(again, path, "other work");
    assert_string_not_equal(first, again);
    struct utimbuf times = {1, 1};
    assert_int_equal(utime(path, &times), 0);
    name_of(again, path, "work");
    assert_string_not_equal(first, again);
    assert_int_equal(utime(path, &(struct utimbuf){2, 2}), 0);
    name_of(first, path, "work");
    assert_string_not_equal(first, again);
    put("copy.txt", 2);
    assert_int_equal(utime(at("copy.txt"), &times), 0);
    name_of(first, at("copy.txt"), "work");
    assert_string_not_equal(first, again);
    put("copy.txt", 3);
    assert_int_equal(utime(at("copy.txt"), &times), 0);
    name_of(again, at("copy.txt"), "work");
    assert_string_not_equal(first, again);
}

#define ROOT_TEST(function) cmocka_unit_test_setup_teardown(function, make_root, remove_root)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ROOT_TEST(test_files),
        ROOT_TEST(test_refused),
        ROOT_TEST(test_pieces),
        ROOT_TEST(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
