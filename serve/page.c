/* The page is a C array that CMake makes of page.html. The policy's hashes are of what stands between
 * <script> and
 * </script>, <style> and </style>. */
#include "serve/page.h"
#include "base/digest.h"
#include "base/status.h"
#include <nettle/base64.h>
#include <stdio.h>
#include <string.h>

extern const char page_html[];

void page_text(text_buffer *out) { text_buffer_append(out, page_html, (int64_t)strlen(page_html)); }

static void hash_between(const char *from, const char *to,
                         char out[BASE64_ENCODE_RAW_LENGTH(SHA256_BYTES) + 1])
{
    const char *begin = strstr(page_html, from);
    REQUIRE(begin, "the page has no %s", from);
    begin += strlen(from);
    const char *end = strstr(begin, to);
    REQUIRE(end, "the page has no %s", to);
    char text[SHA256_TEXT];
    uint8_t digest[SHA256_BYTES];
    digest_sha256(begin, (size_t)(end - begin), text);
    REQUIRE(digest_hex_read(digest, text, SHA256_BYTES), "%s is no hash", text);
    base64_encode_raw(out, SHA256_BYTES, digest);
    out[BASE64_ENCODE_RAW_LENGTH(SHA256_BYTES)] = 0;
}

void page_policy(char out[PAGE_POLICY_BYTES])
{
    char script[BASE64_ENCODE_RAW_LENGTH(SHA256_BYTES) + 1], style[sizeof script];
    hash_between("<script>", "</script>", script);
    hash_between("<style>", "</style>", style);
    snprintf(out, PAGE_POLICY_BYTES,
             "default-src 'none'; script-src 'sha256-%s'; style-src 'sha256-%s'; connect-src 'self'; img-src "
             "data:; "
             "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
             script, style);
}
