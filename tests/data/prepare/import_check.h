/* Helpers that the tests of the importers share: files that the original programs wrote
 * (tests/golden/import), reading all of a source at once, edited copies. Included once per test program. */
#ifndef REMLA_TESTS_IMPORT_CHECK_H
#define REMLA_TESTS_IMPORT_CHECK_H
#include "data/prepare/import.h"
#include "tests/support/scratch.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MOST_IDS = 4096, MOST_ENDS = 256 };

/* Ids, and the number of ids at which each document ended. */
typedef struct documents {
    int64_t count, ends;
    uint32_t id[MOST_IDS];
    int64_t end[MOST_ENDS];
} documents;

static const import_settings nothing_given = {.eos = -1, .column = ""};

__attribute__((unused)) static const char *golden(const char *name)
{
    static char path[8][PATH_BYTES];
    static int turn;
    const char *source = getenv("REMLA_SOURCE");
    char *out = path[turn++ % 8];
    snprintf(out, PATH_BYTES, "%s/tests/golden/import/%s", source ? source : ".", name);
    return out;
}

/* Of narrow.txt or wide.txt. */
__attribute__((unused)) static void read_expected(documents *d, const char *name)
{
    char line[4096], *at, *end;
    FILE *file = fopen(golden(name), "r");
    assert_non_null(file);
    d->count = d->ends = 0;
    while (fgets(line, sizeof line, file)) {
        for (at = line; *at && *at != '\n'; at = end) d->id[d->count++] = (uint32_t)strtoul(at, &end, 10);
        d->end[d->ends++] = d->count;
    }
    fclose(file);
    assert_true(d->ends > 0);
}

/* Reads a whole source, `most` ids at a time. */
__attribute__((unused)) static status read_source(documents *d, const char *path,
                                                  const import_settings *settings, int64_t most, message *why)
{
    import_source s;
    d->count = d->ends = 0;
    status result = import_open(&s, path, settings, why);
    if (result != OK) {
        assert_null(s.state);
        return result;
    }
    for (bool more = true; more && result == OK;) {
        int64_t count;
        bool ends;
        assert_true(d->count + most <= MOST_IDS && d->ends < MOST_ENDS);
        result = import_next(&s, d->id + d->count, most, &count, &ends, why);
        more = result == OK && (count > 0 || ends);
        if (more) assert_true(count <= most);
        if (more) d->count += count;
        if (more && ends) d->end[d->ends++] = d->count;
    }
    if (result == OK && s.tokens >= 0) assert_int_equal(s.tokens, d->count);
    if (result == OK) assert_int_equal(s.done, s.bytes);
    import_close(&s);
    return result;
}

__attribute__((unused)) static void expect_ids(const documents *got, const documents *want)
{
    assert_int_equal(got->count, want->count);
    assert_memory_equal(got->id, want->id, sizeof *got->id * (size_t)got->count);
}

/* marked: the source says where documents end. */
__attribute__((unused)) static void expect_source(const char *path, const import_settings *settings,
                                                  const char *expected, bool marked)
{
    static documents got, want;
    static const int64_t rooms[] = {1, 7, 1000};
    read_expected(&want, expected);
    for (int i = 0; i < 3; i++) {
        message why = {""};
        if (read_source(&got, path, settings, rooms[i], &why) != OK) fail_msg("%s", why.text);
        expect_ids(&got, &want);
        assert_int_equal(got.ends, marked ? want.ends : 0);
        if (marked) assert_memory_equal(got.end, want.end, sizeof *got.end * (size_t)got.ends);
    }
}

/* Opening or reading fails, in a sentence with all of `parts`, which are separated by |. */
__attribute__((unused)) static void expect_refused_as(status code, const char *path,
                                                      const import_settings *settings, const char *parts)
{
    static documents got;
    message why = {""};
    char each[400];
    const status s = read_source(&got, path, settings, 100, &why);
    if (s != code) fail_msg("%s: status %d, expected %d with: %s (%s)", path, s, code, parts, why.text);
    snprintf(each, sizeof each, "%s", parts);
    for (char *part = strtok(each, "|"); part; part = strtok(NULL, "|"))
        if (!strstr(why.text, part)) fail_msg("expected \"%s\" in: %s", part, why.text);
}

__attribute__((unused)) static void expect_refused(const char *path, const char *parts)
{
    expect_refused_as(ERR_INPUT, path, &nothing_given, parts);
}

/* A golden file's bytes; the caller frees. */
__attribute__((unused, noinline)) static char *golden_bytes(const char *name, int64_t *bytes)
{
    char *text;
    message why = {""};
    if (file_read_text(golden(name), 1 << 20, &text, bytes, &why) != OK) fail_msg("%s", why.text);
    return text;
}

/* A copy in the scratch folder whose bytes [at, at+count) are others, and that ends at byte `end` (-1: where
 * it did). Returns its path. */
__attribute__((unused)) static const char *edited(const char *name, const char *as, int64_t at,
                                                  const void *other, int64_t count, int64_t end)
{
    int64_t bytes;
    char *text = golden_bytes(name, &bytes);
    assert_true(at + count <= bytes && end <= bytes);
    memcpy(text + at, other, (size_t)count);
    const char *path = scratch_write(as, text, end < 0 ? bytes : end);
    free(text);
    return path;
}

#endif
