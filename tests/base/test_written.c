/* A file is listed with the hash of what was given to be written, by its name alone. */
#include "base/file.h"
#include "base/json_text.h"
#include "tests/support/scratch.h"
#include <jansson.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>
#include <cmocka.h>

static message why;

static void expect_file(const written_file *f, const char *name, const char *text)
{
    char *found;
    int64_t bytes;
    assert_int_equal(file_read_text(scratch_path(name), 1000, &found, &bytes, &why), OK);
    assert_string_equal(found, text);
    free(found);
    assert_string_equal(f->name, name);
    assert_int_equal(f->bytes, strlen(text));
    assert_true(f->hash == XXH3_64bits(text, strlen(text)));
}

static void test_text_and_json(void **state)
{
    (void)state;
    written_files list = {0};
    assert_int_equal(written_text(&list, scratch_path("a.txt"), "text", &why), OK);
    assert_int_equal(
        json_text_write(json_pack("{s:i}", "key", 1), JSON_INDENT(1), scratch_path("b.json"), &list, &why),
        OK);
    assert_int_equal(json_text_write(json_array(), 0, scratch_path("c.json"), NULL, &why), OK);
    assert_int_equal(list.count, 2);
    expect_file(&list.file[0], "a.txt", "text");
    expect_file(&list.file[1], "b.json", "{\n \"key\": 1\n}");
    assert_int_equal(file_bytes(scratch_path("c.json")), 2);
    /* What was not written is not listed. */
    assert_int_equal(json_text_write(json_array(), 0, scratch_path("none/d.json"), &list, &why), ERR_INPUT);
    assert_int_equal(list.count, 2);
    written_free(&list);
}

static void expect_refused(const char *path, int64_t limit, const char *sentence)
{
    json_t *json;
    assert_int_equal(json_text_read(&json, path, limit, &why), ERR_INPUT);
    if (!strstr(why.text, sentence)) fail_msg("no \"%s\" in: %s", sentence, why.text);
    assert_null(json);
}

static void test_json_back(void **state)
{
    (void)state;
    json_t *json;
    const char *path = scratch_path("back.json");
    assert_int_equal(json_text_write(json_pack("{s:i}", "key", 7), 0, path, NULL, &why), OK);
    assert_int_equal(json_text_read(&json, path, 10, &why), OK);
    assert_int_equal(json_integer_value(json_object_get(json, "key")), 7);
    json_decref(json);
    expect_refused(path, 9, "back.json: has 10 bytes, at most 9 were expected");
    scratch_text("back.json", "{\"key\": 7");
    expect_refused(path, 10, "back.json: broken JSON");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_text_and_json),
                                       cmocka_unit_test(test_json_back)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
