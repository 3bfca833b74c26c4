/* A manifest certifies what was given to be written, not what the disk has of it; and every file that a
 * reader would take for a part of the checkpoint is listed. */
#include "train/manifest.h"
#include "base/file.h"
#include "tests/support/scratch.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static message why;
static char folder[PATH_BYTES];

static const char *inside(const char *name)
{
    static char path[PATH_BYTES];
    return path_join(path, folder, name);
}

static status verify(void) { return manifest_verify_share(folder, 0, 1, &why); }

static void put(const char *name, const char *text)
{
    assert_int_equal(file_write(inside(name), text, (int64_t)strlen(text), NULL, &why), OK);
}

/* A folder of two files; the list as their writer would have made it. */
static written_files begin(const char *name)
{
    written_files list = {0};
    uint64_t hash;
    snprintf(folder, sizeof folder, "%s", scratch_path(name));
    assert_int_equal(folder_make(folder, &why), OK);
    assert_int_equal(file_write(inside("state.json"), "{}", 2, &hash, &why), OK);
    written_add(&list, "any/path/state.json", 2, hash);
    assert_int_equal(file_write(inside("model.safetensors"), "weights", 7, &hash, &why), OK);
    written_add(&list, "model.safetensors", 7, hash);
    written_add(NULL, "nobody wants to know", 0, 0);
    assert_int_equal(list.count, 2);
    return list;
}

static void expect(const char *sentence)
{
    assert_int_equal(verify(), ERR_INPUT);
    if (!strstr(why.text, sentence)) fail_msg("no \"%s\" in: %s", sentence, why.text);
}

static void test_whole(void **state)
{
    (void)state;
    written_files list = begin("whole");
    assert_false(manifest_exists(folder));
    expect("is not a checkpoint that was finished");
    assert_int_equal(manifest_write(folder, &list, &why), OK);
    written_free(&list);
    assert_true(manifest_exists(folder));
    if (verify() != OK) fail_msg("%s", why.text);
    put("model.safetensors", "w3ights");
    expect("model.safetensors: is damaged");
    assert_int_equal(manifest_check(folder, &why), OK); /* looks at the manifest alone */
    put("model.safetensors", "weight");
    expect("model.safetensors: has 6 bytes, its manifest says 7");
}

static void test_changed_before_the_manifest(void **state)
{
    (void)state;
    written_files list = begin("changed");
    put("model.safetensors", "w3ights"); /* the disk, after fsync */
    assert_int_equal(manifest_write(folder, &list, &why), OK);
    written_free(&list);
    expect("model.safetensors: is damaged");
}

static void test_unlisted(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool read; /* by some reader, as a part of the checkpoint */
    } files[] = {
        {"model.safetensors.index.json", true},
        {"model-00001-of-00002.safetensors", true},
        {"optim-00001.safetensors", true},
        {"config.json", true},
        {"options.yaml", true},
        {"README.md", false},
        {"tokenizer.json", false},
        {"optim-notes.txt", false},
        {"adapter_model.safetensors", false},
        {"model.safetensors.part", false},
    };
    written_files list = begin("unlisted");
    assert_int_equal(manifest_write(folder, &list, &why), OK);
    written_free(&list);
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        put(files[i].name, "x");
        const status s = verify();
        if ((s == ERR_INPUT) != files[i].read) fail_msg("%s: %s", files[i].name, s == OK ? "" : why.text);
        if (s != OK) assert_non_null(strstr(why.text, files[i].name));
        assert_int_equal(folder_remove(inside(files[i].name), &why), OK);
    }
    assert_int_equal(verify(), OK);
}

/* Shares together read every file, each file is read once, and no share has all of the large ones. */
static void test_shares(void **state)
{
    (void)state;
    static const char *const names[] = {"model-00001-of-00002.safetensors",
                                        "model-00002-of-00002.safetensors", "optim-00000.safetensors",
                                        "optim-00001.safetensors"};
    enum { FILES = 4 };
    static const char text[] = "weights and weights and weights";
    written_files list = begin("shares");
    for (int i = 0; i < FILES; i++) {
        uint64_t hash;
        assert_int_equal(file_write(inside(names[i]), text, sizeof text, &hash, &why), OK);
        written_add(&list, names[i], sizeof text, hash);
    }
    assert_int_equal(manifest_write(folder, &list, &why), OK);
    for (int shares = 1; shares < 9; shares++) {
        int large[9] = {0};
        for (int64_t f = 0; f < list.count; f++) {
            int found = 0;
            put(list.file[f].name, "other");
            for (int share = 0; share < shares; share++) {
                if (manifest_verify_share(folder, share, shares, &why) == OK) continue;
                assert_non_null(strstr(why.text, list.file[f].name));
                large[share] += list.file[f].bytes > 7;
                found++;
            }
            assert_int_equal(found, 1);
            assert_int_equal(file_write(inside(list.file[f].name),
                                        list.file[f].bytes > 7    ? text
                                        : list.file[f].bytes == 2 ? "{}"
                                                                  : "weights",
                                        list.file[f].bytes, NULL, &why),
                             OK);
        }
        for (int share = 0; share < shares; share++)
            assert_true(large[share] <= (FILES + shares - 1) / shares);
        assert_int_equal(verify(), OK);
    }
    written_free(&list);
}

/* Every byte of the manifest counts, but for white space. */
static void test_damaged_manifest(void **state)
{
    (void)state;
    written_files list = begin("damaged");
    assert_int_equal(manifest_write(folder, &list, &why), OK);
    written_free(&list);
    char *text;
    int64_t bytes;
    assert_int_equal(file_read_text(inside("MANIFEST.json"), 4096, &text, &bytes, &why), OK);
    for (int64_t i = 0; i < bytes; i++) {
        if (strchr(" \n", text[i])) continue;
        text[i] ^= 1;
        put("MANIFEST.json", text);
        assert_int_equal(manifest_check(folder, &why), ERR_INPUT);
        assert_int_equal(verify(), ERR_INPUT);
        text[i] ^= 1;
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_whole),    cmocka_unit_test(test_changed_before_the_manifest),
        cmocka_unit_test(test_unlisted), cmocka_unit_test(test_damaged_manifest),
        cmocka_unit_test(test_shares),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
