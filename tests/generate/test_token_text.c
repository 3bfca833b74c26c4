/* Text of tokens one by one is the text of all at once, in whole characters, at the first moment at which it
 * is certain: for an alphabet of bytes, and for characters with byte fallback as Llama 2 has them. */
#include "generate/token_text.h"
#include "data/tokenizer/unicode.h"
#include "tests/support/draw.h"
#include "tests/support/scratch.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>

#define REPLACEMENT "\xef\xbf\xbd"

/* Every byte is a token, with "he", a special token and one that is two bytes of different characters. */
static const char *byte_level(void)
{
    static char json[16384];
    char *p = json;
    int bytes = 0;
    p += sprintf(p, "{\"added_tokens\": [{\"id\": 258, \"content\": \"<|end|>\", \"special\": true}], "
                    "\"decoder\": {\"type\": "
                    "\"ByteLevel\"}, \"pre_tokenizer\": {\"type\": \"ByteLevel\", \"add_prefix_space\": "
                    "false}, \"model\": "
                    "{\"type\": \"BPE\", \"merges\": [], \"vocab\": {");
    for (int byte = 0; byte < 256; byte++) { /* GPT-2's alphabet */
        const bool shown = (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
        p += sprintf(p, "\"\\u%04x\": %d, ", shown ? byte : 256 + bytes++, byte);
    }
    sprintf(p, "\"he\": 256, \"\\u00a9\\u00e6\": 257, \"<|end|>\": 258}}}");
    return json;
}

static const char *byte_fallback(void)
{
    static char json[16384];
    char *p = json;
    p += sprintf(p, "{\"added_tokens\": [{\"id\": 260, \"content\": \"<s>\", \"special\": true}], "
                    "\"decoder\": {\"type\": "
                    "\"Sequence\", \"decoders\": [{\"type\": \"Replace\", \"pattern\": {\"String\": "
                    "\"\\u2581\"}, \"content\": "
                    "\" \"}, {\"type\": \"ByteFallback\"}, {\"type\": \"Fuse\"}, {\"type\": \"Strip\", "
                    "\"content\": \" \", "
                    "\"start\": 1, \"stop\": 0}]}, \"model\": {\"type\": \"BPE\", \"byte_fallback\": true, "
                    "\"merges\": [], "
                    "\"vocab\": {");
    for (int byte = 0; byte < 256; byte++) p += sprintf(p, "\"<0x%02X>\": %d, ", byte, byte);
    sprintf(p, "\"a\": 256, \"\\u2581\": 257, \"\\u2581he\": 258, \"\\u00e9\": 259, \"<s>\": 260}}}");
    return json;
}

static tokenizer *open_json(const char *json)
{
    tokenizer *t;
    message why;
    if (tokenizer_open(&t, scratch_text("tokenizer.json", json), &why) != OK) fail_msg("%s", why.text);
    return t;
}

/* Pushes tokens; checks that every piece is whole characters. */
static void push_all(const tokenizer *t, const int32_t *tokens, int count, bool special, bool inside,
                     text_buffer *out)
{
    token_text *x = token_text_new(t, special, inside);
    for (int i = 0; i < count; i++) {
        const int64_t before = out->bytes;
        token_text_push(x, tokens[i], out);
        assert_true(out->bytes == before || utf8_check(out->text + before, out->bytes - before) < 0);
    }
    token_text_end(x, out);
    token_text_free(x);
}

static void check_all(const tokenizer *t, const int32_t *tokens, int count, bool special)
{
    text_buffer found = {0}, wanted = {0};
    message why;
    push_all(t, tokens, count, special, false, &found);
    if (tokenizer_decode(t, (const uint32_t *)tokens, count, !special, &wanted, &why) != OK)
        fail_msg("%s", why.text);
    text_buffer_append(&found, "", 1);
    text_buffer_append(&wanted, "", 1);
    if (found.bytes != wanted.bytes || memcmp(found.text, wanted.text, (size_t)found.bytes) != 0)
        fail_msg("%s, expected %s", found.text, wanted.text);
    text_buffer_free(&found);
    text_buffer_free(&wanted);
}

/* Any bytes at all, mostly parts of characters. */
static void bytes_of_characters(void **state)
{
    (void)state;
    tokenizer *t = open_json(byte_level());
    static const int32_t often[] = {0xe6, 0xbc, 0xa2, 0xf0, 0x9f, 0x98, 0x80, 0xc3, 0xa9,
                                    ' ',  'x',  256,  257,  258,  0xef, 0xbf, 0xbd};
    uint64_t seed = 5;
    for (int round = 0; round < 2000; round++) {
        int32_t tokens[24];
        const int count = 1 + (int)draw_below(&seed, 24);
        for (int i = 0; i < count; i++)
            tokens[i] = draw_below(&seed, 8) ? often[draw_below(&seed, 17)] : (int32_t)draw_below(&seed, 259);
        check_all(t, tokens, count, round % 2);
    }
    tokenizer_close(t);
}

/* Characters, some byte by byte, and words. */
static void fallen_back(void **state)
{
    (void)state;
    tokenizer *t = open_json(byte_fallback());
    static const int32_t parts[][4] = {
        {0xe6, 0xbc, 0xa2}, {0xf0, 0x9f, 0x98, 0x80}, {0xc3, 0xa9}, {256}, {257}, {258}, {259}, {260}, {'x'}};
    static const int lengths[] = {3, 4, 2, 1, 1, 1, 1, 1, 1};
    uint64_t seed = 6;
    for (int round = 0; round < 2000; round++) {
        int32_t tokens[80];
        int count = 0;
        for (int i = (int)draw_below(&seed, 20); i > 0; i--) {
            const uint32_t part = draw_below(&seed, 9);
            memcpy(tokens + count, parts[part], (size_t)lengths[part] * sizeof *tokens);
            count += lengths[part];
        }
        if (draw_below(&seed, 4) == 0 && count) { /* a broken one, between words */
            tokens[count++] = 256;
            for (int i = 1 + (int)draw_below(&seed, 6); i > 0; i--) tokens[count++] = 0xe6;
            tokens[count++] = 258;
        }
        check_all(t, tokens, count, round % 2);
    }
    tokenizer_close(t);
}

static void check_pieces(token_text *x, const int32_t *tokens, const char *const *pieces, int count)
{
    for (int i = 0; i < count; i++) {
        text_buffer out = {0};
        token_text_push(x, tokens[i], &out);
        text_buffer_append(&out, "", 1);
        assert_string_equal(out.text, pieces[i]);
        text_buffer_free(&out);
    }
}

/* What comes with which token. */
static void moments(void **state)
{
    (void)state;
    tokenizer *t = open_json(byte_level());
    token_text *x = token_text_new(t, false, true);
    check_pieces(
        x, (const int32_t[]){256, 0xf0, 0x9f, 0x98, 0x80, 0xc3, 257, 0xbc, 0xa2, 258, 99999, 'a', 0x80, 'b'},
        (const char *const[]){"he", "", "", "", "\xf0\x9f\x98\x80", "", "\xc3\xa9", "", "\xe6\xbc\xa2", "",
                              "", "a", "", REPLACEMENT "b"},
        14);
    token_text_free(x);
    tokenizer_close(t);
    t = open_json(byte_fallback());
    x = token_text_new(t, false, true); /* behind a prompt a word keeps its space */
    check_pieces(x, (const int32_t[]){258, 258, 0xe6, 0xbc, 0xa2},
                 (const char *const[]){" he", " he", "", "", "\xe6\xbc\xa2"}, 5);
    token_text_free(x);
    x = token_text_new(t, false, false); /* at the beginning it loses it */
    check_pieces(x, (const int32_t[]){260, 258, 258}, (const char *const[]){"", "he", " he"}, 3);
    token_text_free(x);
    tokenizer_close(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(bytes_of_characters), cmocka_unit_test(fallen_back),
                                       cmocka_unit_test(moments)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
