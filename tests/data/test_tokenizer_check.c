/* Shards and the tokenizer.json of a model: the same, saved anew, another one, none. */
#include "data/tokenizer_check.h"
#include "base/file.h"
#include "base/digest.h"
#include "data/shards/shard_writer.h"
#include "tests/support/scratch.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

static const char tokenizer[] = "{\"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0, \"b\": 1, \"ab\": 2}, "
                                "\"merges\": [\"a b\"]}}";

static void write_shard(const char *path, const char *sha256, int64_t vocabulary)
{
    message why = {""};
    shard_writer *w;
    shard_summary summary;
    shard_identity i = {.token_bytes = 2, .vocabulary = vocabulary, .eos = -1, .bos = -1, .pad = -1};
    strcpy(i.tokenizer_sha256, sha256);
    assert_int_equal(shard_writer_create(&w, path, &i, &why), OK);
    assert_int_equal(shard_writer_append(w, (const uint32_t[]){0, 1, 2}, 3, &why), OK);
    assert_int_equal(shard_writer_finish(w, &summary, &why), OK);
}

static status check(const char *sha256, int64_t vocabulary, message *why)
{
    dataset d;
    const char *path = scratch_path("t.ds.zst");
    const dataset_form form = {.T = 2, .vocabulary = 8};
    write_shard(path, sha256, vocabulary);
    if (dataset_open(&d, "data.train", &path, 1, &form, why) != OK) fail_msg("%s", why->text);
    const status s = tokenizer_check(&d, "data.train", scratch_path("model"), why);
    dataset_close(&d);
    return s;
}

static void test_tokenizers(void **state)
{
    (void)state;
    message why = {""};
    char same[SHA256_TEXT], other[SHA256_TEXT];
    digest_sha256(tokenizer, strlen(tokenizer), same);
    digest_sha256("", 0, other);
    assert_int_equal(folder_make(scratch_path("model"), &why), OK);
    assert_int_equal(check(other, 4, &why), OK); /* the model has no tokenizer */
    scratch_text("model/tokenizer.json", tokenizer);
    assert_int_equal(check(same, 3, &why), OK);
    assert_int_equal(check("", -1, &why), OK);   /* the shard names none */
    assert_int_equal(check(other, 3, &why), OK); /* saved anew: a warning */
    assert_int_equal(check(other, 4, &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "t.ds.zst was tokenized with a vocabulary of 4, but "));
    assert_non_null(strstr(why.text, "model/tokenizer.json has 3 tokens"));
    scratch_text("model/tokenizer.json", "{}"); /* not ours to judge: a warning */
    assert_int_equal(check(other, 4, &why), OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_tokenizers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
