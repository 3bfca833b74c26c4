/* A tokenizer.json from opening to text and back: what is recognised where, which sentence a bad file gets.
 * That ids are the library's is e2e/tokenizer's to show; here expected ids are worked out by hand. */
#include "data/tokenizer/tokenizer.h"
#include "tests/support/scratch.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <cmocka.h>

/* Letters spell bytes: Ġ a space, Ċ a newline, Ã© the two bytes of é. */
#define MODEL                                                                                                  \
    "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"Ġ\": 2, \"Ċ\": 3, \"Ã\": 4, \"©\": " \
    "5, \"ab\": 6, "                                                                                           \
    "\"Ġab\": 7, \"<s>\": 8, \"1\": 9}, \"merges\": [\"a b\", \"Ġ ab\"]}"
#define BYTE_LEVEL(flags)                                                                                    \
    "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true" flags "}"
#define PARTS(normalizer, pre_tokenizer, decoder)                                                            \
    "\"normalizer\": " normalizer ", \"pre_tokenizer\": " pre_tokenizer ", \"decoder\": " decoder ", "
#define ADDED                                                                                                \
    "\"added_tokens\": [{\"id\": 8, \"content\": \"<s>\", \"special\": true, \"normalized\": false}], "
#define FFFD  "\xef\xbf\xbd"
#define PLAIN "{" ADDED PARTS("null", BYTE_LEVEL(""), BYTE_LEVEL("")) MODEL "}"

static tokenizer *open_text(const char *json)
{
    tokenizer *t;
    message why;
    if (tokenizer_open(&t, scratch_text("tokenizer.json", json), &why) != OK) fail_msg("%s", why.text);
    return t;
}

/* "0 1 2" */
static const char *ids_text(const token_list *ids)
{
    static char text[1024];
    text[0] = 0;
    for (int64_t i = 0; i < ids->count; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), i ? " %u" : "%u", ids->id[i]);
    return text;
}

static void expect_ids(const tokenizer *t, const char *text, const char *want)
{
    token_list ids = {0};
    message why;
    tokenizer_work *w = tokenizer_work_new(t);
    if (tokenizer_encode(w, text, (int64_t)strlen(text), &ids, &why) != OK) fail_msg("%s", why.text);
    if (strcmp(ids_text(&ids), want) != 0) fail_msg("\"%s\" is %s, expected %s", text, ids_text(&ids), want);
    token_list_free(&ids);
    tokenizer_work_free(w);
}

static void expect_text(const tokenizer *t, const uint32_t *id, int64_t count, bool skip, const char *want)
{
    text_buffer text = {0};
    message why;
    if (tokenizer_decode(t, id, count, skip, &text, &why) != OK) fail_msg("%s", why.text);
    assert_int_equal(text.bytes, strlen(want));
    if (text.bytes) assert_memory_equal(text.text, want, text.bytes);
    text_buffer_free(&text);
}

/* ---- encoding and decoding ----------------------------------------------------------------------------- */

static void test_bytes(void **state)
{
    (void)state;
    tokenizer *t = open_text(PLAIN);
    expect_ids(t, "", "");
    expect_ids(t, "abab ab", "6 6 7");
    expect_ids(t, "é\na <s>b", "4 5 3 0 2 8 1");
    expect_ids(t, "a<s", "0"); /* < and s have no token, and there is no unknown one */
    expect_text(t, (const uint32_t[]){7, 4, 5, 3, 8, 0}, 6, false, " abé\n<s>a");
    expect_text(t, (const uint32_t[]){7, 4, 5, 3, 8, 0}, 6, true, " abé\na");
    /* Half a character, or the wrong halves, are U+FFFD each. */
    expect_text(t, (const uint32_t[]){4, 0, 5, 4, 4, 5}, 6, false,
                "\xef\xbf\xbd"
                "a"
                "\xef\xbf\xbd\xef\xbf\xbd"
                "é");
    expect_text(t, NULL, 0, false, "");
    assert_int_equal(tokenizer_vocabulary(t), 10);
    assert_int_equal(tokenizer_id(t, "<s>"), 8);
    assert_int_equal(tokenizer_id(t, "Ġab"), 7);
    assert_int_equal(tokenizer_id(t, " ab"), -1);
    tokenizer_close(t);
}

static void test_bad_text(void **state)
{
    (void)state;
    tokenizer *t = open_text(PLAIN);
    tokenizer_work *w = tokenizer_work_new(t);
    token_list ids = {0};
    message why;
    assert_int_equal(tokenizer_encode(w, "ab", 2, &ids, &why), OK);
    assert_int_equal(tokenizer_encode(w, "a<s>\xed\xa0\x80", 7, &ids, &why), ERR_INPUT); /* a surrogate */
    assert_string_equal(why.text, "the text is not UTF-8: byte 4 is 0xed");
    assert_int_equal(ids.count, 1);
    text_buffer text = {0};
    assert_int_equal(tokenizer_decode(t, (const uint32_t[]){0, 10}, 2, false, &text, &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "token 1 has id 10, which is none of "));
    assert_int_equal(text.bytes, 0);
    token_list_free(&ids);
    tokenizer_work_free(w);
    tokenizer_close(t);
}

/* The flags of added tokens, one tokenizer each; U+3000 is a space too. */
static void test_added(void **state)
{
    (void)state;
    static const struct {
        const char *flags, *text, *ids;
    } cases[] = {
        {"\"lstrip\": true", "a \xe3\x80\x80<x> b", "0 10 2 1"},
        {"\"rstrip\": true", "a <x> \n\nb", "0 2 10 1"},
        {"\"lstrip\": true, \"rstrip\": true", "a <x>  <x> b", "0 10 10 1"},
        {"\"single_word\": true", "a<x> a <x>, <x>",
         "0 2 0 2 10 2 10"}, /* < > x and the comma have no tokens */
        {"\"special\": false", "a<x>", "0 10"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char json[2048];
        snprintf(json, sizeof json, "{\"added_tokens\": [{\"id\": 10, \"content\": \"<x>\", %s}], %s}",
                 cases[i].flags, PARTS("null", BYTE_LEVEL(""), BYTE_LEVEL("")) MODEL);
        tokenizer *t = open_text(json);
        expect_ids(t, cases[i].text, cases[i].ids);
        tokenizer_close(t);
    }
}

/* Looked for before normalizing or after; the longest counts. */
static void test_added_normalized(void **state)
{
    (void)state;
    tokenizer *t =
        open_text("{\"added_tokens\": [{\"id\": 10, \"content\": \"bb\", \"normalized\": true},"
                  " {\"id\": 11, \"content\": \"xx\", \"normalized\": false},"
                  " {\"id\": 12, \"content\": \"xxx\", \"normalized\": false}], " //
                  PARTS("{\"type\": \"Replace\", \"pattern\": {\"String\": \"x\"}, \"content\": \"b\"}",
                        BYTE_LEVEL(""), BYTE_LEVEL("")) MODEL "}");
    expect_ids(t, "axa bb xb bx bbb", "6 0 2 10 2 10 2 10 2 10 1");
    expect_ids(t, "xxxxx xxxx", "12 11 2 12 1");
    tokenizer_close(t);
}

static void test_folder(void **state)
{
    (void)state;
    mkdir(scratch_path("model"), 0700);
    const char *folder = scratch_path("model");
    message why;
    tokenizer *t;
    assert_int_equal(tokenizer_open(&t, folder, &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "/model: there is no tokenizer.json in it"));
    scratch_text("model/tokenizer.json", PLAIN);
    scratch_text("model/tokenizer_config.json",
                 "{\"eos_token\": {\"content\": \"<s>\"}, \"pad_token\": null, \"bos_token\": \"no\"}");
    scratch_text("model/generation_config.json",
                 "{\"eos_token_id\": 1, \"pad_token_id\": [5, 1], \"bos_token_id\": 77}");
    scratch_text("model/config.json", "{\"bos_token_id\": 4}");
    assert_int_equal(tokenizer_open(&t, folder, &why), OK);
    assert_int_equal(tokenizer_eos(t), 8);
    assert_int_equal(tokenizer_pad(t), 5);
    assert_int_equal(tokenizer_bos(t), 4);
    assert_string_equal(tokenizer_name(t), "model");
    assert_int_equal(strlen(tokenizer_sha256(t)), 64);
    tokenizer_close(t);
    scratch_text("model/config.json", "{");
    assert_int_equal(tokenizer_open(&t, folder, &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "config.json"));
    assert_null(t);
}

static bool skipped;

/* The fixtures' tokenizer: the ids are bytes, and 256 is the end of the text. */
static void test_fixture(void **state)
{
    (void)state;
    const char *path = fixture_path("tokenizer.json");
    skipped = !path;
    if (skipped) skip();
    tokenizer *t;
    message why;
    assert_int_equal(tokenizer_open(&t, path, &why), OK);
    expect_ids(t, "!a\xc2\xa1<|endoftext|>", "33 97 194 161 256");
    /* One U+FFFD for what could have become a character, one for each byte that could not. */
    expect_text(t, (const uint32_t[]){0xf0, 0x9f, 0x98, 'a', 0xe2, 0x82, 0xe2, 0xff, 0xc0, 0x80}, 10, false,
                FFFD "a" FFFD FFFD FFFD FFFD FFFD);
    expect_text(t, (const uint32_t[]){0xe0, 0x80, 0x80, 0xed, 0xa0, 0x80, 0xf4, 0x90}, 8, false,
                FFFD FFFD FFFD FFFD FFFD FFFD FFFD FFFD);
    assert_int_equal(tokenizer_vocabulary(t), 257);
    tokenizer_close(t);
}

/* ---- bad files ----------------------------------------------------------------------------------------- */

static void expect_refused(const char *json, const char *text)
{
    tokenizer *t;
    message why = {""};
    assert_int_equal(tokenizer_open(&t, scratch_text("bad.json", json), &why), ERR_INPUT);
    assert_null(t);
    if (!strstr(why.text, "bad.json: ") || !strstr(why.text, text))
        fail_msg("expected \"%s\" in: %s", text, why.text);
}

static void test_unsupported(void **state)
{
    (void)state;
    static const char *const normalizers[][2] = {
        {"{\"type\": \"Lowercase\"}", "normalizer Lowercase is not supported; supported: NFC,"},
        {"{\"type\": \"Sequence\", \"normalizers\": [{\"type\": \"NFC\"}, {\"type\": \"Nmt\"}]}",
         "normalizer Nmt is not"},
        {"{\"type\": \"Replace\", \"pattern\": {\"Regex\": \"a\"}, \"content\": \"b\"}",
         "normalizer Replace is supported for"},
        {"{}", "normalizer (none)"},
    };
    static const char *const pre_tokenizers[][2] = {
        {"{\"type\": \"BertPreTokenizer\"}",
         "pre_tokenizer BertPreTokenizer is not supported; supported: ByteLevel,"},
        {"{\"type\": \"Sequence\", \"pretokenizers\": [" BYTE_LEVEL("") ", {\"type\": \"Digits\"}]}",
         "pre_tokenizer Digits behind ByteLevel is not supported"},
        {"{\"type\": \"Split\", \"pattern\": {\"Regex\": \"\\\\w\"}, \"behavior\": \"Isolated\"}",
         "\"\\w\" in the regular expression"},
        {"{\"type\": \"Split\", \"pattern\": {\"Regex\": \"a\"}, \"behavior\": \"Sideways\"}",
         "behavior Sideways"},
        {"{\"type\": \"Split\", \"pattern\": {}, \"behavior\": \"Isolated\"}",
         "the pattern of a Split is missing or empty"},
        {"{\"type\": \"Metaspace\", \"replacement\": \"xy\"}", "replacement is not one character"},
        {"{\"type\": \"Metaspace\", \"replacement\": \"_\", \"add_prefix_space\": false}",
         "prepend_scheme is always"},
    };
    static const char *const decoders[][2] = {
        {"{\"type\": \"WordPiece\"}", "decoder WordPiece is not supported; supported: ByteLevel,"},
        {"{\"type\": \"Strip\", \"content\": \" \", \"start\": -1, \"stop\": 0}", "decoder.start is -1"},
    };
    char json[4096];
    for (size_t i = 0; i < sizeof normalizers / sizeof normalizers[0]; i++) {
        snprintf(json, sizeof json, "{\"normalizer\": %s, %s}", normalizers[i][0], MODEL);
        expect_refused(json, normalizers[i][1]);
    }
    for (size_t i = 0; i < sizeof pre_tokenizers / sizeof pre_tokenizers[0]; i++) {
        snprintf(json, sizeof json, "{\"pre_tokenizer\": %s, %s}", pre_tokenizers[i][0], MODEL);
        expect_refused(json, pre_tokenizers[i][1]);
    }
    for (size_t i = 0; i < sizeof decoders / sizeof decoders[0]; i++) {
        snprintf(json, sizeof json, "{\"decoder\": %s, %s}", decoders[i][0], MODEL);
        expect_refused(json, decoders[i][1]);
    }
}

static void test_bad_models(void **state)
{
    (void)state;
    static const char *const models[][2] = {
        {"{\"type\": \"Unigram\", \"vocab\": []}", "model type Unigram is not supported; supported: BPE"},
        {"{\"vocab\": {\"a\": 0}}", "model type (none)"},
        {"{\"type\": \"BPE\", \"merges\": []}", "model.vocab is missing"},
        {"{\"type\": \"BPE\", \"vocab\": {}, \"merges\": []}", "model.vocab is empty"},
        {"{\"type\": \"BPE\", \"vocab\": {\"a\": 0}}", "model.merges is missing"},
        {"{\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 0}, \"merges\": []}",
         "\"b\" has id 0, and so has \"a\""},
        {"{\"type\": \"BPE\", \"vocab\": {\"a\": -1}, \"merges\": []}",
         "the id of \"a\" is not a whole number below"},
        {"{\"type\": \"BPE\", \"vocab\": {\"a\": 4000000000}, \"merges\": []}",
         "the id of \"a\" is not a whole number below"},
        {"{\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [\"a b\"]}",
         "entry 0: there is no token \"b\""},
        {"{\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [\"a a\"]}",
         "entry 0: there is no token \"aa\""},
        {"{\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [\"a a a\"]}", "entry 0 is not two tokens"},
        {"{\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [[\"a\"]]}", "entry 0 is not two tokens"},
        {"{\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [7]}", "entry 0 is not two tokens"},
        {"{\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [], \"dropout\": 0.1}",
         "model.dropout is given"},
        {"{\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [], \"end_of_word_suffix\": \"</w>\"}",
         "end_of_word_suffix is \"</w>\""},
        {"{\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": [], \"fuse_unk\": 1}",
         "model.fuse_unk is 1, expected true or false"},
        {"7", "model is 7, expected an object"},
    };
    char json[2048];
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        snprintf(json, sizeof json, "{\"model\": %s}", models[i][0]);
        expect_refused(json, models[i][1]);
    }
    expect_refused("{}", "model is missing");
    expect_refused("[]", "its JSON is not an object");
    expect_refused("", "broken JSON");
    expect_refused("{\"a\": [[[[[[[[[[[[]]]]]]]]]]]]}", "nested too deeply");
    expect_refused("{\"model\": {\"vocab\": {\"\\ud800\": 0}}}", "broken JSON");
}

static void test_bad_added(void **state)
{
    (void)state;
    static const char *const lists[][2] = {
        {"7", "added_tokens is 7, expected a list"},
        {"[7]", "added_tokens[0] is not an object"},
        {"[{}]", "added_tokens[0].content is missing"},
        {"[{\"content\": \"x\", \"lstrip\": 2}]", "added_tokens[0].lstrip is 2"},
        {"[{\"content\": \"\xef\xbc\xa1\"}, {\"content\": \"A\"}]", "normalized, empty or like another one"},
    };
    char json[2048];
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        snprintf(json, sizeof json, "{\"added_tokens\": %s, \"normalizer\": {\"type\": \"NFKC\"}, %s}",
                 lists[i][0], MODEL);
        expect_refused(json, lists[i][1]);
    }
    expect_refused("{\"added_tokens\": [{\"content\": \"b\"}, {\"content\": \"x\"}],"
                   "\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 2}, \"merges\": []}}",
                   "the added tokens \"b\" and \"x\" both get id 2");
}

/* ---- bounds -------------------------------------------------------------------------------------------- */

#define DOUBLE "{\"type\": \"Replace\", \"pattern\": {\"String\": \"a\"}, \"content\": \"aa\"}"
#define FIVE   DOUBLE ", " DOUBLE ", " DOUBLE ", " DOUBLE ", " DOUBLE
#define METASPACE(sign)                                                                                      \
    "{\"type\": \"Metaspace\", \"replacement\": \"" sign "\", \"prepend_scheme\": \"always\"}"

/* 40 doublings would make a terabyte of one letter. What grows 16-fold is still read. */
static void test_growth(void **state)
{
    (void)state;
    enum { LETTERS = 1000 };
    static const struct {
        const char *steps;
        status encode, decode;
    } cases[] = {
        {DOUBLE ", " DOUBLE ", " DOUBLE ", " DOUBLE, OK, OK},
        {FIVE ", " FIVE ", " FIVE ", " FIVE ", " FIVE ", " FIVE ", " FIVE ", " FIVE, ERR_INPUT, ERR_INPUT},
    };
    static char letters[LETTERS];
    static uint32_t id[LETTERS];
    memset(letters, 'a', sizeof letters);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char json[8192];
        snprintf(json, sizeof json,
                 "{\"normalizer\": {\"type\": \"Sequence\", \"normalizers\": [%s]}, \"decoder\": {\"type\": "
                 "\"Sequence\", \"decoders\": [%s]}, %s}",
                 cases[i].steps, cases[i].steps, MODEL);
        tokenizer *t = open_text(json);
        tokenizer_work *w = tokenizer_work_new(t);
        token_list ids = {0};
        text_buffer text = {0};
        message why = {""};
        assert_int_equal(tokenizer_encode(w, letters, LETTERS, &ids, &why), cases[i].encode);
        assert_int_equal(ids.count, cases[i].encode == OK ? 16 * LETTERS : 0);
        if (cases[i].encode != OK)
            assert_non_null(strstr(why.text,
                                   "tokenizer.json: its normalizer makes more than 16256 bytes of a "
                                   "text of 1000: that it grows more than 16-fold"));
        assert_int_equal(tokenizer_decode(t, id, LETTERS, false, &text, &why), cases[i].decode);
        assert_int_equal(text.bytes, cases[i].decode == OK ? 16 * LETTERS : 0);
        if (cases[i].decode != OK)
            assert_non_null(strstr(why.text, "tokenizer.json: its decoder makes more than 16256 bytes of "
                                             "tokens of 1000: that a text grows more than 16-fold"));
        text_buffer_free(&text);
        token_list_free(&ids);
        tokenizer_work_free(w);
        tokenizer_close(t);
    }
    expect_refused("{\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [" METASPACE(
                       "x") ", " METASPACE("y") ", " METASPACE("z") "]}, " MODEL "}",
                   "pre_tokenizer has more than 2 Metaspace stages");
}

static void test_no_file(void **state)
{
    (void)state;
    tokenizer *t;
    message why = {""};
    assert_int_equal(tokenizer_open(&t, scratch_path("none"), &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "none"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),       cmocka_unit_test(test_bad_text),
        cmocka_unit_test(test_added),       cmocka_unit_test(test_added_normalized),
        cmocka_unit_test(test_folder),      cmocka_unit_test(test_fixture),
        cmocka_unit_test(test_unsupported), cmocka_unit_test(test_bad_models),
        cmocka_unit_test(test_bad_added),   cmocka_unit_test(test_growth),
        cmocka_unit_test(test_no_file),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return failed ? failed : skipped ? SKIPPED_CODE : 0;
}
