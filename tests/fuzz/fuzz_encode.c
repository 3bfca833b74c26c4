/* A text, for two tokenizers: bytes that fall apart into words by GPT-2's expression, NFC in front; and
 * characters with all bytes to fall back to. What is not UTF-8 is refused; else the ids are good, encoding
 * again gives them again, and the second tokenizer, which changes nothing, gives the text back. */
#include "data/tokenizer/tokenizer.h"
#include "data/tokenizer/unicode.h"
#include "tests/fuzz/fuzz.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char bytes_json[] =
    "{\"added_tokens\": [{\"content\": \"<s>\", \"lstrip\": true, \"normalized\": false, \"id\": 9},"
    " {\"content\": \"ab\", \"single_word\": true, \"rstrip\": true, \"normalized\": true, \"id\": 10}],"
    " \"normalizer\": {\"type\": \"NFC\"}, \"pre_tokenizer\": {\"type\": \"ByteLevel\", "
    "\"add_prefix_space\": true},"
    " \"decoder\": {\"type\": \"ByteLevel\"}, \"model\": {\"vocab\": {\"a\": 0, \"b\": 1, \"\xc4\xa0\": 2, "
    "\"\xc3\x83\": 3,"
    " \"\xc2\xa9\": 4, \"\xc3\x83\xc2\xa9\": 5, \"\xc4\xa0"
    "a\": 6, \"aa\": 7, \"aab\": 8}, \"merges\": [\"\xc3\x83 \xc2\xa9\","
    " \"\xc4\xa0 a\", \"a a\", \"aa b\"]}}";

/* "<0x00>" to "<0xFF>", then letters and what they merge to. */
static const char *fallback_json(void)
{
    static char json[8192];
    char *p = json;
    p += sprintf(
        p, "{\"decoder\": {\"type\": \"Sequence\", \"decoders\": [{\"type\": \"ByteFallback\"}, {\"type\": "
           "\"Fuse\"}]},"
           " \"model\": {\"byte_fallback\": true, \"merges\": [\"a b\", \"ab a\", \"b b\"], \"vocab\": {");
    for (int i = 0; i < 256; i++) p += sprintf(p, "\"<0x%02X>\": %d, ", (unsigned)i, i);
    sprintf(p, "\"a\": 256, \"b\": 257, \"ab\": 258, \"aba\": 259, \"bb\": 260, \"\xe6\xbc\xa2\": 261}}}");
    return json;
}

static tokenizer *open_text(const char *json)
{
    tokenizer *t;
    message why;
    if (tokenizer_open(&t, fuzz_file("tokenizer.json", json, strlen(json)), &why) != OK) {
        fprintf(stderr, "%s\n", why.text);
        abort();
    }
    return t;
}

static void encode(const tokenizer *t, tokenizer_work *w, const char *text, int64_t bytes, bool lossless)
{
    token_list ids = {0}, again = {0};
    text_buffer back = {0};
    message why;
    const status s = tokenizer_encode(w, text, bytes, &ids, &why);
    if ((s == OK) != (utf8_check(text, bytes) < 0)) abort();
    if (s == OK && (tokenizer_encode(w, text, bytes, &again, &why) != OK || again.count != ids.count ||
                    tokenizer_decode(t, ids.id, ids.count, false, &back, &why) != OK))
        abort();
    if (s == OK && ids.count && memcmp(ids.id, again.id, sizeof *ids.id * (size_t)ids.count) != 0) abort();
    if (s == OK && lossless &&
        (back.bytes != bytes || (bytes && memcmp(back.text, text, (size_t)bytes) != 0)))
        abort();
    token_list_free(&ids);
    token_list_free(&again);
    text_buffer_free(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static tokenizer *t[2];
    static tokenizer_work *w[2];
    for (int i = 0; i < 2; i++) {
        if (!t[i]) t[i] = open_text(i ? fallback_json() : bytes_json);
        if (!w[i]) w[i] = tokenizer_work_new(t[i]);
        encode(t[i], w[i], (const char *)data, (int64_t)size, i == 1);
    }
    return 0;
}
