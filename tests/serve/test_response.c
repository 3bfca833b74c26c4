/* Answers made of events that are written down here. */
#include "serve/response.h"
#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static tokenizer *t;

static int open_tokenizer(void **state)
{
    (void)state;
    char path[1000];
    message why;
    snprintf(path, sizeof path, "%s/tests/golden/tokenizer", getenv("REMLA_SOURCE"));
    return tokenizer_open(&t, path, &why) == OK ? 0 : -1;
}

static int close_tokenizer(void **state)
{
    (void)state;
    tokenizer_close(t);
    return 0;
}

static engine_event token(int choice, int32_t id, const char *piece, const char *text)
{
    return (engine_event){.kind = EVENT_TOKEN,
                          .choice = choice,
                          .token = id,
                          .piece = piece,
                          .piece_bytes = (int64_t)strlen(piece),
                          .text = text,
                          .text_bytes = (int64_t)strlen(text)};
}

static engine_event scored(engine_event e, double logprob, const token_chance *top, int tops)
{
    e.scored = true, e.logprob = logprob, e.top = top, e.tops = tops;
    return e;
}

static engine_event end(int choice, int64_t count, finish_reason reason)
{
    return (engine_event){
        .kind = EVENT_FINISHED, .choice = choice, .token = -1, .index = count, .reason = reason, .stop = -1};
}

/* Everything that comes of these events, but for the time. */
static void expect(const char *body, bool chat, const engine_event *events, int count, const char *want)
{
    completion_request q;
    message why = {""};
    text_buffer out = {0};
    if (completion_request_parse(&q, chat, body, (int64_t)strlen(body), &why) != OK) fail_msg("%s", why.text);
    response *r = response_new(&q, t, "id", "m", 0, 3);
    for (int i = 0; i < count; i++) response_add(r, &events[i], &out);
    response_end(r, &out);
    text_buffer_append(&out, "", 1);
    char *got = out.text;
    for (char *c = got; (c = strstr(c, "\"created\":"));) { /* seconds since 1970 become 0 */
        c += strlen("\"created\":");
        char *behind = strchr(c, ',');
        *c = '0';
        memmove(c + 1, behind, strlen(behind) + 1);
    }
    if (strcmp(got, want)) fail_msg("%s\nexpected:\n%s", got, want);
    text_buffer_free(&out);
    response_free(r);
    completion_request_free(&q);
}

#define EVENTS(...)                                                                                          \
    (const engine_event[]){__VA_ARGS__}, sizeof((const engine_event[]){__VA_ARGS__}) / sizeof(engine_event)
#define HEAD(object) "{\"id\":\"id\",\"object\":\"" object "\",\"created\":0,\"model\":\"m\",\"choices\":["
#define USAGE(n, all)                                                                                        \
    "],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":" #n ",\"total_tokens\":" #all "}}"

static void test_text(void **state)
{
    (void)state;
    expect("{\"prompt\": \"x\", \"n\": 2}", false,
           EVENTS(token(1, 2, "b", "b"), token(0, 1, "a", ""), end(1, 1, FINISH_LENGTH),
                  token(0, 1, "\"", "a\""), end(0, 2, FINISH_STOP)),
           HEAD("text_completion") "{\"index\":0,\"text\":\"a\\\"\",\"logprobs\":null,\"finish_reason\":"
                                   "\"stop\"},"
                                   "{\"index\":1,\"text\":\"b\",\"logprobs\":null,\"finish_reason\":"
                                   "\"length\"}" USAGE(3, 6));
}

/* What is not a number, infinite or below -9999; numbers that are equal; texts that two tokens share. */
static void test_logprobs(void **state)
{
    (void)state;
    const token_chance none[] = {{65, -INFINITY}}, twice[] = {{100, -0.1}, {101, -0.3}};
    engine_event first = token(0, 65, "\xc3\xa9", "\xc3\xa9"), second = token(0, 66, "b", "b");
    expect("{\"prompt\": \"x\", \"logprobs\": 2}", false,
           EVENTS(scored(first, -INFINITY, none, 1), scored(second, NAN, NULL, 0),
                  scored(second, -1e5, NULL, 0), scored(token(0, 102, "", ""), -0.1, twice, 2),
                  end(0, 4, FINISH_LENGTH)),
           HEAD("text_completion") "{\"index\":0,\"text\":\"\xc3\xa9"
                                   "bb\",\"logprobs\":{\"tokens\":[\"\xc3\xa9\",\"b\",\"b\",\"\"],\"token_"
                                   "logprobs\":["
                                   "-9999.0,-9999.0,-9999.0,-0.10000000000000001],\"top_logprobs\":[{"
                                   "\"\xc3\xa9\":-9999.0"
                                   "},{\"b\":-9999.0},{\"b\":-9999.0},{\"\xef\xbf\xbd\":-0.10000000000000001,"
                                   "\"token_id:101\":-0.29999999999999999,\"\":-0.10000000000000001}],"
                                   "\"text_offset\":[0,1,2,3]},\"finish_reason\":\"length\"}" USAGE(4, 7));
}

static void test_echo(void **state)
{
    (void)state;
    const token_chance best[] = {{66, -0.5}};
    engine_event prompt = token(0, 65, "a", "");
    prompt.kind = EVENT_PROMPT_TOKEN;
    expect("{\"prompt\": \"x\", \"logprobs\": 1, \"echo\": true, \"max_tokens\": 1, \"n\": 2}", false,
           EVENTS(prompt, token(0, 66, "b", "b"), end(0, 1, FINISH_LENGTH),
                  scored(token(1, 66, "b", "b"), -0.5, best, 1), end(1, 1, FINISH_LENGTH)),
           HEAD("text_completion") "{\"index\":0,\"text\":\"ab\",\"logprobs\":{\"tokens\":[\"a\",\"b\"],"
                                   "\"token_logprobs\":"
                                   "[null,null],\"top_logprobs\":[null,null],\"text_offset\":[0,1]},\"finish_"
                                   "reason\":"
                                   "\"length\"},{\"index\":1,\"text\":\"ab\",\"logprobs\":{\"tokens\":[\"a\","
                                   "\"b\"],"
                                   "\"token_logprobs\":[null,-0.5],\"top_logprobs\":[null,{\"b\":-0.5}],"
                                   "\"text_offset\":"
                                   "[0,1]},\"finish_reason\":\"length\"}" USAGE(2, 5));
}

static void test_stream(void **state)
{
    (void)state;
    expect(
        "{\"prompt\": \"x\", \"stream\": true}", false,
        EVENTS(token(0, 1, "a", "a"), token(0, 1, "", ""), token(0, 1, "b", ""), end(0, 3, FINISH_STOP)),
        "data: " HEAD(
            "text_completion") "{\"index\":0,\"text\":\"a\",\"logprobs\":null,\"finish_reason\":null}]}\n\n"
                               "data: " HEAD("text_completion") "{\"index\":0,\"text\":\"\",\"logprobs\":"
                                                                "null,\"finish_reason\":\"stop\"}]}\n\n"
                                                                "data: [DONE]\n\n");
}

#define CHAT "\"messages\": [{\"role\": \"user\", \"content\": \"x\"}]"

static void test_chat(void **state)
{
    (void)state;
    const token_chance best[] = {{33, -0.25}};
    expect("{" CHAT ", \"logprobs\": true, \"top_logprobs\": 1}", true,
           EVENTS(scored(token(0, 33, "A", "A"), -0.25, best, 1), end(0, 1, FINISH_STOP)),
           HEAD("chat.completion") "{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"A\"},"
                                   "\"logprobs\":{"
                                   "\"content\":[{\"token\":\"A\",\"logprob\":-0.25,\"bytes\":[65],\"top_"
                                   "logprobs\":[{"
                                   "\"token\":\"A\",\"logprob\":-0.25,\"bytes\":[65]}]}]},\"finish_reason\":"
                                   "\"stop\"}" USAGE(1, 4));
#define CHUNK    "data: " HEAD("chat.completion.chunk")
#define NO_USAGE ",\"usage\":null}\n\n" /* until the end */
    expect(
        "{" CHAT ", \"stream\": true, \"stream_options\": {\"include_usage\": true}}", true,
        EVENTS(token(0, 1, "A", "A"), end(0, 1, FINISH_LENGTH)),
        CHUNK
        "{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"logprobs\":null,"
        "\"finish_reason\":null}]" NO_USAGE CHUNK
        "{\"index\":0,\"delta\":{\"content\":\"A\"},\"logprobs\":null,\"finish_reason\":null}]" NO_USAGE CHUNK
        "{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"length\"}]" NO_USAGE CHUNK USAGE(
            1, 4) "\n\ndata: [DONE]\n\n");
#undef CHUNK
#undef NO_USAGE
}

static void test_errors(void **state)
{
    (void)state;
    text_buffer out = {0};
    response_error(&out, 429, "busy \xff\"");
    text_buffer_append(&out, "", 1);
    assert_string_equal(
        out.text, "{\"error\":{\"message\":\"busy ?\\\"\",\"type\":\"rate_limit_error\",\"code\":429}}");
    out.bytes = 0;
    response_error_event(&out, 503, "stop");
    text_buffer_append(&out, "", 1);
    assert_string_equal(
        out.text, "data: {\"error\":{\"message\":\"stop\",\"type\":\"unavailable_error\",\"code\":503}}\n\n");
    text_buffer_free(&out);
}

int main(void)
{
    if (!getenv("REMLA_SOURCE")) return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_text), cmocka_unit_test(test_logprobs),
                                       cmocka_unit_test(test_echo), cmocka_unit_test(test_stream),
                                       cmocka_unit_test(test_chat), cmocka_unit_test(test_errors)};
    return cmocka_run_group_tests(tests, open_tokenizer, close_tokenizer);
}
