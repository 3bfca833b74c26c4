/* Those of a tokenizer's files that are there are copied and listed, and nothing else. */
#include "model/hf/tokenizer_files.h"
#include "base/file.h"
#include "tests/support/scratch.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

static message why;

static void expect_listed(const written_file *f, const char *name, const char *folder)
{
    char copy[PATH_BYTES];
    uint64_t hash;
    int64_t bytes;
    assert_string_equal(f->name, name);
    assert_int_equal(file_hash(path_join(copy, folder, name), &hash, &bytes, &why), OK);
    assert_int_equal(f->bytes, bytes);
    assert_true(f->hash == hash);
}

static void test_copy(void **state)
{
    (void)state;
    const char *from = scratch_path("from"), *to = scratch_path("to");
    char name[PATH_BYTES];
    assert_int_equal(folder_make(from, &why), OK);
    assert_int_equal(folder_make(to, &why), OK);
    written_files written = {0};
    assert_int_equal(tokenizer_files_copy(from, to, &written, &why), OK); /* none is there */
    assert_int_equal(written.count, 0);

    scratch_text("from/tokenizer.json", "{}");
    scratch_text("from/chat_template.jinja", "hello");
    scratch_text("from/README.md", "x");
    assert_int_equal(tokenizer_files_copy(from, to, &written, &why), OK);
    assert_int_equal(written.count, 2);
    expect_listed(&written.file[0], "tokenizer.json", to);
    expect_listed(&written.file[1], "chat_template.jinja", to);
    written_free(&written);
    assert_int_equal(file_bytes(path_join(name, to, "tokenizer.json")), 2);
    assert_int_equal(file_bytes(path_join(name, to, "chat_template.jinja")), 5);
    assert_false(file_exists(path_join(name, to, "README.md")));

    assert_int_equal(tokenizer_files_copy(from, to, NULL, &why), OK);
    assert_int_equal(tokenizer_files_copy(from, "/proc/nowhere", NULL, &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "/proc/nowhere"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_copy)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
