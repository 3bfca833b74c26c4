/* Bodies of requests: what is read from good ones, and the sentence that a bad one gets. */
#include "serve/request.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

static status parse(completion_request *r, bool chat, const char *body, message *why)
{
    return completion_request_parse(r, chat, body, (int64_t)strlen(body), why);
}

static void good(completion_request *r, bool chat, const char *body)
{
    message why = {""};
    if (parse(r, chat, body, &why) != OK) fail_msg("%s: %s", body, why.text);
}

static void bad(bool chat, const char *body, const char *sentence)
{
    completion_request r;
    message why = {""};
    if (parse(&r, chat, body, &why) != ERR_INPUT) fail_msg("%s is accepted", body);
    if (strcmp(why.text, sentence)) fail_msg("%s:\n%s\nexpected:\n%s", body, why.text, sentence);
    completion_request_free(&r);
}

static void test_defaults(void **state)
{
    (void)state;
    completion_request r;
    good(&r, false, "{\"prompt\": \"a\", \"nobody knows this\": [{}], \"seed\": null, \"stop\": null}");
    assert_int_equal(r.prompts, 1);
    assert_string_equal(r.prompt[0].text, "a");
    assert_int_equal(r.prompt[0].bytes, 1);
    assert_null(r.model);
    assert_int_equal(r.max_tokens, -1);
    assert_true(r.temperature == 1 && r.top_p == 1 && r.min_p == 0 && r.repetition_penalty == 1);
    assert_int_equal(r.top_k, 0);
    assert_int_equal(r.n, 1);
    assert_int_equal(r.logprobs, -1);
    assert_false(r.echo || r.stream || r.stream_usage || r.seeded);
    assert_int_equal(r.stops, 0);
    completion_request_free(&r);
}

static void test_everything(void **state)
{
    (void)state;
    completion_request r;
    good(&r, false,
         "{\"model\": \"m\", \"prompt\": [[1, 15043], [], [7.0]], \"max_tokens\": 0, \"temperature\": 0, "
         "\"top_p\": "
         "0.5, \"top_k\": -1, \"min_p\": 0.25, \"repetition_penalty\": 1.5, \"n\": 3, \"stop\": [\"x\", "
         "\"\xc3\xa9\"], "
         "\"seed\": -1, \"echo\": true, \"logprobs\": 20, \"stream\": true, \"stream_options\": "
         "{\"include_usage\": "
         "true}, \"frequency_penalty\": 0, \"best_of\": 3}");
    assert_string_equal(r.model, "m");
    assert_int_equal(r.prompts, 3);
    assert_null(r.prompt[0].text);
    assert_int_equal(r.prompt[0].ids.count, 2);
    assert_int_equal(r.prompt[0].ids.id[1], 15043);
    assert_int_equal(r.prompt[1].ids.count, 0);
    assert_int_equal(r.prompt[2].ids.id[0], 7);
    assert_int_equal(r.max_tokens, 0);
    assert_true(r.temperature == 0 && r.top_p == 0.5 && r.min_p == 0.25 && r.repetition_penalty == 1.5);
    assert_int_equal(r.top_k, 0);
    assert_int_equal(r.n, 3);
    assert_int_equal(r.stops, 2);
    assert_string_equal(r.stop[1].text, "\xc3\xa9");
    assert_true(r.seeded && r.seed == UINT64_MAX);
    assert_true(r.echo && r.stream && r.stream_usage);
    assert_int_equal(r.logprobs, 20);
    completion_request_free(&r);
}

static void test_prompts(void **state)
{
    (void)state;
    completion_request r;
    good(&r, false, "{\"prompt\": [\"a\\u0000b\", \"\"]}");
    assert_int_equal(r.prompts, 2);
    assert_int_equal(r.prompt[0].bytes, 3);
    assert_int_equal(r.prompt[1].bytes, 0);
    completion_request_free(&r);
    good(&r, false, "{\"prompt\": [4, 5]}");
    assert_int_equal(r.prompts, 1);
    assert_int_equal(r.prompt[0].ids.count, 2);
    completion_request_free(&r);
    bad(false, "{}", "prompt is missing: a string or token ids, or a list of these");
    bad(false, "{\"prompt\": []}", "prompt is an empty list; expected at least one prompt");
    bad(false, "{\"prompt\": {}}", "prompt is an object; expected a string or token ids, or a list of these");
    bad(false, "{\"prompt\": [\"a\", 3]}",
        "prompt has 3 in its list; expected strings only, or lists of token ids only");
    bad(false, "{\"prompt\": [[1], \"a\"]}",
        "prompt has \"a\" in its list; expected strings only, or lists of token ids only");
    bad(false, "{\"prompt\": [\"a\", [1]]}",
        "prompt has a list in its list; expected strings only, or lists of token ids only");
    bad(false, "{\"prompt\": [1, -1]}", "prompt has -1 among its token ids; expected whole numbers from 0");
    bad(false, "{\"prompt\": [[1, 2147483648]]}",
        "prompt has 2147483648 among its token ids; expected whole numbers from 0");
    bad(false, "{\"prompt\": [[1.5]]}", "prompt has 1.5 among its token ids; expected whole numbers from 0");
}

static void test_chat(void **state)
{
    (void)state;
    completion_request r;
    good(&r, true,
         "{\"messages\": [{\"role\": \"system\", \"content\": \"s\"}, {\"role\": \"user\", \"content\": "
         "[{\"type\": "
         "\"text\", \"text\": \"a\"}, {\"type\": \"text\", \"text\": \"b\"}]}, {\"role\": \"assistant\"}], "
         "\"max_completion_tokens\": 5, \"logprobs\": true, \"top_logprobs\": 2, \"stop\": \"end\"}");
    assert_int_equal(r.messages, 3);
    assert_string_equal(r.message[1].role, "user");
    assert_int_equal(r.message[1].content.bytes, 2);
    assert_memory_equal(r.message[1].content.text, "ab", 2);
    assert_int_equal(r.message[2].content.bytes, 0);
    assert_int_equal(r.max_tokens, 5);
    assert_int_equal(r.logprobs, 2);
    assert_int_equal(r.stops, 1);
    completion_request_free(&r);
    good(&r, true, "{\"messages\": [{\"role\": \"user\", \"content\": \"\"}], \"logprobs\": true}");
    assert_int_equal(r.logprobs, 0);
    completion_request_free(&r);
#define MESSAGES "\"messages\": [{\"role\": \"user\", \"content\": \"x\"}]"
    bad(true, "{\"prompt\": \"a\"}", "messages is missing: a list of {\"role\": ..., \"content\": ...}");
    bad(true, "{\"messages\": []}",
        "messages is an empty list; expected a list of {\"role\": ..., \"content\": ...}");
    bad(true, "{\"messages\": [{\"content\": \"x\"}]}",
        "messages: message 0 has no role; expected {\"role\": ..., \"content\": ...}");
    bad(true, "{\"messages\": [7]}",
        "messages: message 0 has no role; expected {\"role\": ..., \"content\": ...}");
    bad(true, "{\"messages\": [{\"role\": \"user\", \"content\": 3}]}",
        "messages: content is 3; expected a string or a list of parts of text");
    bad(true, "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"image_url\"}]}]}",
        "messages: a part of content is not {\"type\": \"text\", \"text\": ...}");
    bad(true, "{" MESSAGES ", \"top_logprobs\": 2}", "top_logprobs is given, but logprobs is not true");
    bad(true, "{" MESSAGES ", \"logprobs\": 2}", "logprobs is 2; expected true or false");
    bad(true, "{" MESSAGES ", \"tools\": [{}]}", "tools is not supported by this server");
    bad(true, "{" MESSAGES ", \"response_format\": {\"type\": \"json_object\"}}",
        "response_format is not {\"type\": \"text\"}, the only one of this server");
}

/* Each value of a wrong type or out of its range. */
static void test_ranges(void **state)
{
    (void)state;
#define BAD(fields, sentence) bad(false, "{\"prompt\": \"a\", " fields "}", sentence)
    BAD("\"temperature\": \"hot\"", "temperature is \"hot\"; expected a number from 0 to 100");
    BAD("\"temperature\": -1", "temperature is -1; expected a number from 0 to 100");
    BAD("\"top_p\": 1.5", "top_p is 1.5; expected a number from 0 to 1");
    BAD("\"min_p\": true", "min_p is true; expected a number from 0 to 1");
    BAD("\"repetition_penalty\": 0", "repetition_penalty is 0; expected a number from 0.01 to 100");
    BAD("\"max_tokens\": -1", "max_tokens is -1; expected a whole number from 0 to 2147483647");
    BAD("\"max_tokens\": 1.5", "max_tokens is 1.5; expected a whole number from 0 to 2147483647");
    BAD("\"max_tokens\": 1e300", "max_tokens is 1e+300; expected a whole number from 0 to 2147483647");
    BAD("\"max_tokens\": 0", "max_tokens is 0 without echo: nothing would be answered");
    BAD("\"n\": 0", "n is 0; expected a whole number from 1 to 128");
    BAD("\"n\": [2]", "n is a list; expected a whole number from 1 to 128");
    BAD("\"logprobs\": 21", "logprobs is 21; expected a whole number from 0 to 20");
    BAD("\"logprobs\": true", "logprobs is true; expected a whole number from 0 to 20");
    BAD("\"echo\": 1", "echo is 1; expected true or false");
    BAD("\"stream\": \"yes\"", "stream is \"yes\"; expected true or false");
    BAD("\"stream_options\": 1", "stream_options is 1; expected an object");
    BAD("\"model\": 1", "model is 1; expected a string");
    BAD("\"stop\": \"\"", "stop has \"\"; expected strings of 1 to 256 bytes without a zero");
    BAD("\"stop\": [\"a\", 1]", "stop has 1; expected strings of 1 to 256 bytes without a zero");
    BAD("\"stop\": \"a\\u0000\"", "stop has \"a\"; expected strings of 1 to 256 bytes without a zero");
    BAD("\"stop\": "
        "[\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\","
        "\"a\"]",
        "stop has more than 16 strings");
    BAD("\"frequency_penalty\": 0.5", "frequency_penalty is 0.5; this server has repetition_penalty only");
    BAD("\"best_of\": 2", "best_of is 2; expected n, which is 1");
    BAD("\"suffix\": \"x\"", "suffix is not supported by this server");
    BAD("\"model\": null, \"temperature\": "
        "\"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
        "\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9x\xc3\xa9\xc3\xa9\"",
        "temperature is "
        "\"\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9"
        "\xc3\xa9\xc3\xa9x...\"; expected a number from 0 to 100");
}

static void test_not_json(void **state)
{
    (void)state;
    bad(false, "[]", "the request's body is an empty list; expected an object");
    bad(false, "", "the request's body is not JSON: '[' or '{' expected near end of file (line 1, column 0)");
    bad(false, "{\"prompt\": \"a\", \"prompt\": \"b\"}",
        "the request's body is not JSON: duplicate object key near '\"prompt\"' (line 1, column 24)");
    char deep[100] = {0};
    memset(deep, '[', 40);
    bad(false, deep, "the request's body: its JSON is nested too deeply");
    completion_request r;
    message why;
    assert_int_equal(parse(&r, false, "{\"prompt\": \"\xff\"}", &why), ERR_INPUT);
    completion_request_free(&r);
}

static void test_tokenize(void **state)
{
    (void)state;
    tokenize_request r;
    message why = {""};
    const char *body = "{\"prompt\": \"test\", \"add_special_tokens\": false}";
    assert_int_equal(tokenize_request_parse(&r, false, body, (int64_t)strlen(body), &why), OK);
    assert_string_equal(r.prompt.text, "test");
    assert_false(r.add_special_tokens);
    tokenize_request_free(&r);
    body = "{\"tokens\": [1, 2]}";
    assert_int_equal(tokenize_request_parse(&r, true, body, (int64_t)strlen(body), &why), OK);
    assert_int_equal(r.prompt.ids.count, 2);
    assert_true(r.add_special_tokens);
    tokenize_request_free(&r);
    assert_int_equal(tokenize_request_parse(&r, false, body, (int64_t)strlen(body), &why), ERR_INPUT);
    assert_string_equal(why.text, "prompt is missing: a string");
    tokenize_request_free(&r);
    body = "{\"tokens\": 5}";
    assert_int_equal(tokenize_request_parse(&r, true, body, (int64_t)strlen(body), &why), ERR_INPUT);
    assert_string_equal(why.text, "tokens is 5; expected a list of token ids");
    tokenize_request_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults), cmocka_unit_test(test_everything), cmocka_unit_test(test_prompts),
        cmocka_unit_test(test_chat),     cmocka_unit_test(test_ranges),     cmocka_unit_test(test_not_json),
        cmocka_unit_test(test_tokenize),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
