/* The server over a socket, with an engine that needs no model: every route, every refusal, clients that are
 * slow or vanish, and the stop. */
#include "serve/service.h"
#include "tests/serve/fake_engine.h"
#include "tests/serve/client.h"
#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

enum { RUNNING = 4, WAITING = 4, MAX_BODY = 20000 };

/* A server that is up. */
typedef struct server {
    tokenizer *t;
    served_model model[2];
    engine *engine[2];
    worker *worker;
    counters *counters;
    service *service;
    http_server *http;
    int port;
    pthread_t thread;
    double grace;
    int64_t cancelled; /* by the stop */
} server;

static const worker_limits no_limits = {.capacity = RUNNING + WAITING, .patience = 1000, .duration = 1000};

static atomic_int stopping;
static int stop_asked(void) { return atomic_load(&stopping); }

static void *work(void *argument)
{
    server *s = argument;
    s->cancelled = worker_run(s->worker, stop_asked, s->grace);
    return NULL;
}

/* timeout: of requests and answers; grace: of running requests at the stop. In seconds. */
static void server_start_limited(server *s, const access_rules *access, double timeout, double grace,
                                 const worker_limits *limits)
{
    static const int32_t end[] = {0};
    char path[1000];
    message why;
    const engine_settings settings = {.running = RUNNING, .queue = RUNNING + WAITING};
    snprintf(path, sizeof path, "%s/tests/golden/tokenizer", getenv("REMLA_SOURCE"));
    *s = (server){.grace = grace};
    if (tokenizer_open(&s->t, path, &why) != OK) fail_msg("%s", why.text);
    const char *name[] = {"recovered", "original"};
    for (int i = 0; i < 2; i++) {
        s->model[i] = (served_model){.name = name[i],
                                     .tokenizer = s->t,
                                     .vocabulary = tokenizer_vocabulary(s->t),
                                     .longest = FAKE_LONGEST,
                                     .end = end,
                                     .ends = 1,
                                     .first = -1};
        s->engine[i] = engine_new(NULL, s->t, &settings);
    }
    s->counters = counters_new();
    s->worker = worker_new(s->engine, 2, limits, (void (*)(void *, const engine_event *))counters_finished,
                           s->counters);
    s->service = service_new(&(service_settings){.model = {&s->model[0], &s->model[1]},
                                                 .models = 2,
                                                 .worker = s->worker,
                                                 .counters = s->counters,
                                                 .access = *access,
                                                 .chat_tokens = 100});
    int fd;
    if (http_bind("127.0.0.1", 0, &fd, &s->port, &why) != OK) fail_msg("%s", why.text);
    const http_settings http = {.fd = fd,
                                .connections = 64,
                                .max_body = MAX_BODY,
                                .timeout = timeout,
                                .context = s->service,
                                .admit = service_admit,
                                .handle = service_handle,
                                .too_large = service_too_large};
    if (http_start(&s->http, &http, &why) != OK) fail_msg("%s", why.text);
    atomic_store(&stopping, 0);
    atomic_store(&fake_step_nanoseconds, 0);
    atomic_store(&fake_cancelled, 0);
    atomic_store(&fake_breaks, 0);
    pthread_create(&s->thread, NULL, work, s);
}

static void server_start(server *s, const access_rules *access, double timeout, double grace)
{
    server_start_limited(s, access, timeout, grace, &no_limits);
}

static void server_stop(server *s)
{
    atomic_store(&stopping, 1);
    pthread_join(s->thread, NULL);
    http_stop(s->http, 5);
    service_free(s->service);
    worker_free(s->worker);
    counters_free(s->counters);
    for (int i = 0; i < 2; i++) engine_free(s->engine[i]);
    tokenizer_close(s->t);
}

static const access_rules open_to_all = {.host = "127.0.0.1"};

/* ---- looking at answers -------------------------------------------------------------------------------- */

static json_t *parse(const char *text)
{
    json_error_t error;
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (!json) fail_msg("no JSON: %s: %s", error.text, text);
    return json;
}

static json_t *post(const server *s, const char *path, const char *body)
{
    reply r = client_post(s->port, path, body);
    if (r.code != 200) fail_msg("%d: %s", r.code, r.body);
    assert_non_null(strcasestr(r.head, "Content-Type: application/json\r\n"));
    json_t *json = parse(r.body);
    reply_free(&r);
    return json;
}

static void expect_refusal(reply r, int code, const char *type, const char *sentence)
{
    if (r.code != code) fail_msg("code %d instead of %d: %s", r.code, code, r.body);
    json_t *json = parse(r.body);
    const char *got_type, *got;
    int got_code;
    assert_int_equal(json_unpack(json, "{s:{s:s,s:s,s:i}}", "error", "message", &got, "type", &got_type,
                                 "code", &got_code),
                     0);
    if (!strstr(got, sentence)) fail_msg("%s\nexpected: %s", got, sentence);
    assert_string_equal(got_type, type);
    assert_int_equal(got_code, code);
    json_decref(json);
    reply_free(&r);
}

static void expect_bad(const server *s, const char *path, const char *body, const char *sentence)
{
    expect_refusal(client_post(s->port, path, body), 400, "invalid_request_error", sentence);
}

static const json_t *choice(const json_t *answer, size_t i)
{
    return json_array_get(json_object_get(answer, "choices"), i);
}
static const char *choice_text(const json_t *answer, size_t i)
{
    return json_string_value(json_object_get(choice(answer, i), "text"));
}

/* Puts the chunks of a stream together: the text of each choice, and how many chunks had one. */
static int join_stream(const char *body, char text[][1000], int choices, bool chat)
{
    int chunks = 0;
    bool done = false;
    for (int i = 0; i < choices; i++) text[i][0] = 0;
    for (const char *at = body; *at;) {
        const char *end = strstr(at, "\n\n");
        if (!end || strncmp(at, "data: ", 6)) fail_msg("no event: %s", at);
        assert_false(done);
        char *line = strndup(at + 6, (size_t)(end - at - 6));
        at = end + 2;
        if (!strcmp(line, "[DONE]"))
            done = true;
        else {
            json_t *json = parse(line);
            const json_t *one = choice(json, 0), *delta = json_object_get(one, "delta");
            const char *piece =
                json_string_value(chat ? json_object_get(delta, "content") : json_object_get(one, "text"));
            if (one && piece) strcat(text[json_integer_value(json_object_get(one, "index"))], piece);
            chunks += piece && piece[0];
            json_decref(json);
        }
        free(line);
    }
    assert_true(done);
    return chunks;
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void test_tokens(void **state)
{
    (void)state;
    server s;
    server_start(&s, &open_to_all, 10, 5);
    json_t *json = post(&s, "/tokenize", "{\"prompt\": \"test\", \"add_special_tokens\": false}");
    const json_t *ids = json_object_get(json, "tokens");
    assert_true(json_array_size(ids) > 0 && json_is_integer(json_array_get(ids, 0)));
    json_t *back = json_pack("{s:O}", "tokens", ids);
    char *text = json_dumps(back, 0);
    json_t *prompt = post(&s, "/detokenize", text);
    assert_string_equal(json_string_value(json_object_get(prompt, "prompt")), "test");
    free(text);
    json_decref(back);
    json_decref(prompt);
    json_decref(json);
    json = post(&s, "/tokenize", "{\"prompt\": \"<|endoftext|>\", \"add_special_tokens\": false}");
    char *dump = json_dumps(json_object_get(json, "tokens"), 0);
    assert_string_equal(dump, "[0]");
    free(dump);
    json_decref(json);
    reply r = client_ask(s.port, "GET /tokenizer_info", "", "");
    json = parse(r.body);
    assert_string_equal(json_string_value(json_object_get(json, "eos_token")), "<|endoftext|>");
    assert_true(json_is_null(json_object_get(json, "bos_token")) &&
                json_is_null(json_object_get(json, "pad_token")) &&
                json_is_null(json_object_get(json, "chat_template")));
    json_decref(json);
    reply_free(&r);
    expect_bad(&s, "/detokenize", "{\"tokens\": [100000]}", "100000");
    server_stop(&s);
}

/* A model with a token before texts, which is not part of what the client sees. */
static void test_first(void **state)
{
    (void)state;
    server s;
    server_start(&s, &open_to_all, 10, 5);
    s.model[1].first = 0, s.model[1].first_always = true;
    const struct {
        const char *body, *ids;
    } cases[] = {
        {"{\"model\": \"original\", \"prompt\": \"AB\", \"add_special_tokens\": false}", "[0, 33, 34]"},
        {"{\"model\": \"original\", \"prompt\": \"AB\"}", "[0, 33, 34]"},
        {"{\"model\": \"original\", \"prompt\": \"<|endoftext|>\", \"add_special_tokens\": false}", "[0]"},
        {"{\"model\": \"recovered\", \"prompt\": \"AB\"}", "[33, 34]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        json_t *json = post(&s, "/tokenize", cases[i].body);
        char *ids = json_dumps(json_object_get(json, "tokens"), 0);
        assert_string_equal(ids, cases[i].ids);
        free(ids);
        json_decref(json);
    }
    json_t *json = post(&s, "/v1/completions",
                        "{\"model\": \"original\", \"prompt\": \"AB\", \"max_tokens\": 0, \"echo\": true, "
                        "\"logprobs\": 0}");
    assert_string_equal(choice_text(json, 0), "AB");
    const json_t *logprobs = json_object_get(choice(json, 0), "logprobs");
    char *tokens = json_dumps(json_object_get(logprobs, "tokens"), 0);
    char *offsets = json_dumps(json_object_get(logprobs, "text_offset"), 0);
    assert_string_equal(tokens, "[\"\", \"A\", \"B\"]");
    assert_string_equal(offsets, "[0, 0, 1]");
    free(tokens);
    free(offsets);
    json_decref(json);
    server_stop(&s);
}

/* What lm-eval reads: one entry for each token of the prompt and one for the generated one. */
static void check_scores(const json_t *one, const int *ids, size_t count, int V)
{
    const json_t *logprobs = json_object_get(one, "logprobs"),
                 *tops = json_object_get(logprobs, "top_logprobs");
    const json_t *values = json_object_get(logprobs, "token_logprobs"),
                 *tokens = json_object_get(logprobs, "tokens");
    const json_t *offsets = json_object_get(logprobs, "text_offset");
    assert_int_equal(json_array_size(values), count + 1);
    assert_int_equal(json_array_size(tops), count + 1);
    assert_int_equal(json_array_size(tokens), count + 1);
    assert_true(json_is_null(json_array_get(values, 0)) && json_is_null(json_array_get(tops, 0)));
    for (size_t i = 1; i <= count; i++) {
        const int best = (3 * ids[i - 1] + 1) % V, token = i < count ? ids[i] : best;
        const double want = -0.1 - 0.25 * ((token - best + V) % V);
        const double got = json_real_value(json_array_get(values, i));
        if (fabs(got - (want > -9999 ? want : -9999)) > 1e-12)
            fail_msg("entry %zu: %.17g, expected %.17g", i, got, want);
        double top = -INFINITY;
        bool found = false;
        const char *key;
        json_t *value, *list = json_array_get(tops, i);
        json_object_foreach(list, key, value)
        {
            if (json_real_value(value) > top) top = json_real_value(value);
            found |= json_real_value(value) == got;
        }
        assert_true(found);
        assert_int_equal(json_object_size(list), token == best ? 1 : 2);
        assert_true((top == got) == (token == best)); /* greedy, by exact equality */
    }
    const char *text = json_string_value(json_object_get(one, "text"));
    char joined[1000] = "";
    int64_t points = 0;
    for (size_t i = 0; i <= count; i++) {
        const char *token = json_string_value(json_array_get(tokens, i));
        assert_int_equal(json_integer_value(json_array_get(offsets, i)), points);
        for (const char *c = token; *c; c++) points += (*c & 0xc0) != 0x80;
        strcat(joined, token);
    }
    assert_string_equal(joined, text);
}

static void test_scores(void **state)
{
    (void)state;
    server s;
    server_start(&s, &open_to_all, 10, 5);
    const int V = FAKE_VOCABULARY, first[] = {0, 65, 90, 70}, second[] = {66, (3 * 66 + 1) % V};
    const int to_end = (V * 2 - 1) % 3 == 0 ? (V * 2 - 1) / 3
                       : (V - 1) % 3 == 0   ? (V - 1) / 3
                                            : (3 * V - 1) / 3;
    assert_int_equal((3 * to_end + 1) % V, 0); /* behind this one comes the end token */
    char body[500];
    snprintf(body, sizeof body,
             "{\"model\":\"m\",\"prompt\":[[0,65,90,70],[66,%d],[%d]],\"temperature\":0,\"max_tokens\":1,"
             "\"logprobs\":1,"
             "\"seed\":1234,\"echo\":true}",
             second[1], to_end);
    json_t *json = post(&s, "/v1/completions", body);
    check_scores(choice(json, 0), first, 4, V);
    check_scores(choice(json, 1), second, 2, V);
    check_scores(choice(json, 2), &to_end, 1, V);
    assert_string_equal(json_string_value(json_object_get(choice(json, 2), "finish_reason")), "stop");
    assert_string_equal(json_string_value(json_object_get(choice(json, 0), "finish_reason")), "length");
    for (int i = 0; i < 3; i++)
        assert_int_equal(json_integer_value(json_object_get(choice(json, (size_t)i), "index")), i);
    const json_t *usage = json_object_get(json, "usage");
    assert_int_equal(json_integer_value(json_object_get(usage, "prompt_tokens")), 7);
    assert_int_equal(json_integer_value(json_object_get(usage, "completion_tokens")), 3);
    assert_int_equal(json_integer_value(json_object_get(usage, "total_tokens")), 10);
    json_decref(json);
    /* The prompt alone; without log-probabilities; no model is asked to go on. */
    json = post(&s, "/v1/completions", "{\"prompt\": \"caf\xc3\xa9\", \"max_tokens\": 0, \"echo\": true}");
    assert_string_equal(choice_text(json, 0), "caf\xc3\xa9");
    assert_true(json_is_null(json_object_get(choice(json, 0), "logprobs")));
    json_decref(json);
    server_stop(&s);
}

static void test_texts(void **state)
{
    (void)state;
    server s;
    char text[6][1000], alone[1000];
    server_start(&s, &open_to_all, 10, 5);
    json_t *json = post(&s, "/v1/completions",
                        "{\"prompt\": \"a\", \"max_tokens\": 30, \"temperature\": 0, \"seed\": 1}");
    strcpy(alone, choice_text(json, 0));
    assert_true(strlen(alone) > 10);
    assert_string_equal(json_string_value(json_object_get(json, "model")), "recovered");
    assert_string_equal(json_string_value(json_object_get(json, "object")), "text_completion");
    json_decref(json);
    /* The same in a stream, and beside others. */
    reply r = client_post(
        s.port, "/v1/completions",
        "{\"prompt\": [\"b\", \"a\"], \"max_tokens\": 30, \"temperature\": 0, \"stream\": true, \"n\": 2, "
        "\"stream_options\": {\"include_usage\": true}, \"model\": \"original\"}");
    assert_int_equal(r.code, 200);
    assert_non_null(strcasestr(r.head, "Content-Type: text/event-stream"));
    assert_true(join_stream(r.body, text, 4, false) > 20);
    assert_string_equal(text[2], alone);
    assert_non_null(strstr(r.body, "\"model\":\"original\""));
    assert_non_null(strstr(r.body, "\"usage\":{"));
    assert_non_null(strstr(r.body, "\"usage\":null"));
    reply_free(&r);
    /* A stop string is not in the text, in a stream neither. */
    char stop[4] = {alone[4], alone[5], 0}, body[300], *quoted, cut[1000];
    *strstr(strcpy(cut, alone), stop) = 0;
    json_t *string = json_string(stop);
    quoted = json_dumps(string, JSON_ENCODE_ANY);
    for (int streamed = 0; streamed < 2; streamed++) {
        snprintf(
            body, sizeof body,
            "{\"prompt\": \"a\", \"max_tokens\": 30, \"temperature\": 0, \"stop\": [%s], \"stream\": %s}",
            quoted, streamed ? "true" : "false");
        r = client_post(s.port, "/v1/completions", body);
        if (streamed)
            join_stream(r.body, text, 1, false);
        else {
            json = parse(r.body);
            strcpy(text[0], choice_text(json, 0));
            assert_string_equal(json_string_value(json_object_get(choice(json, 0), "finish_reason")), "stop");
            json_decref(json);
        }
        assert_string_equal(text[0], cut);
        reply_free(&r);
    }
    free(quoted);
    json_decref(string);
    server_stop(&s);
}

static void test_models(void **state)
{
    (void)state;
    server s;
    server_start(&s, &open_to_all, 10, 5);
    reply r = client_ask(s.port, "GET /v1/models?x=1", "", "");
    json_t *json = parse(r.body);
    const json_t *list = json_object_get(json, "data");
    assert_int_equal(json_array_size(list), 2);
    assert_string_equal(json_string_value(json_object_get(json_array_get(list, 1), "id")), "original");
    assert_int_equal(json_integer_value(json_object_get(json_array_get(list, 0), "max_model_len")),
                     FAKE_LONGEST);
    json_decref(json);
    reply_free(&r);
    r = client_ask(s.port, "GET /health", "", "");
    assert_string_equal(r.body, "{\"status\":\"ok\"}");
    reply_free(&r);
    r = client_ask(s.port, "GET /", "", "");
    assert_int_equal(r.code, 200);
    assert_non_null(strcasestr(r.head, "Content-Security-Policy: default-src 'none'; script-src 'sha256-"));
    assert_non_null(strstr(r.body, "</html>"));
    reply_free(&r);
    r = client_ask(s.port, "HEAD /", "", "");
    assert_int_equal(r.code, 200);
    assert_string_equal(r.body, "");
    reply_free(&r);
    json_decref(post(&s, "/v1/completions", "{\"prompt\": \"a\", \"max_tokens\": 3}"));
    r = client_ask(s.port, "GET /metrics", "", "");
    assert_non_null(strstr(r.body, "\nremla_requests_total{route=\"/v1/completions\",code=\"200\"} 1\n"));
    assert_non_null(strstr(r.body, "\nremla_first_token_seconds_count 1\n"));
    assert_non_null(strstr(r.body, "\nremla_first_token_seconds_bucket{le=\"+Inf\"} 1\n"));
    assert_non_null(strstr(r.body, "\nremla_generated_tokens_total{model=\"recovered\"} 3\n"));
    assert_non_null(strstr(r.body, "\nremla_cache_pages{model=\"original\"} 100\n"));
    reply_free(&r);
    server_stop(&s);
}

static void test_refusals(void **state)
{
    (void)state;
    server s;
    static const char json_type[] = "Content-Type: application/json\r\n";
    const char *known[] = {"http://page.example"};
    server_start(&s, &(access_rules){.host = "127.0.0.1", .key = "k", .origins = known, .num_origins = 1}, 10,
                 5);
    expect_refusal(client_post(s.port, "/v1/completions", "{\"prompt\": \"a\"}"), 401, "authentication_error",
                   "wants a key");
    static const char with_key[] =
        "Content-Type: application/json; charset=utf-8\r\nAuthorization: Bearer k\r\n";
    reply r = client_ask(s.port, "POST /v1/completions", with_key, "{\"prompt\": \"a\"}");
    assert_int_equal(r.code, 200);
    reply_free(&r);
    expect_refusal(client_ask(s.port, "GET /v1/models", "Origin: http://evil.example\r\n", ""), 403,
                   "permission_error", "evil.example");
    r = client_ask(s.port, "OPTIONS /v1/completions", "Origin: http://page.example\r\n", "");
    assert_int_equal(r.code, 204);
    assert_non_null(strcasestr(r.head, "Access-Control-Allow-Origin: http://page.example\r\n"));
    reply_free(&r);
    r = client_ask(s.port, "GET /health", "", "");
    assert_int_equal(r.code, 200);
    reply_free(&r);
    server_stop(&s);

    server_start(&s, &open_to_all, 10, 5);
    expect_refusal(client_ask(s.port, "GET /v1/nothing", "", ""), 404, "not_found_error",
                   "nothing at /v1/nothing");
    r = client_ask(s.port, "GET /v1/completions", "", "");
    assert_non_null(strcasestr(r.head, "Allow: POST\r\n"));
    expect_refusal(r, 405, "invalid_request_error", "expected POST");
    expect_refusal(client_ask(s.port, "POST /v1/completions", "Content-Type: text/plain\r\n", "{}"), 415,
                   "invalid_request_error", "expected application/json");
    expect_bad(&s, "/v1/completions", "{\"prompt\": \"a\"", "not JSON");
    expect_bad(&s, "/v1/completions", "{\"prompt\": \"a\", \"temperature\": \"x\"}", "temperature is \"x\"");
    expect_bad(&s, "/v1/completions", "{\"prompt\": [[1, 99999999]]}", "token id 99999999");
    expect_bad(&s, "/v1/completions", "{\"prompt\": \"\"}", "prompt is empty");
    expect_bad(&s, "/v1/completions", "{\"prompt\": \"a\", \"max_tokens\": 256}", "more than the 256");
    expect_bad(&s, "/v1/completions", "{\"prompt\": [\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\",\"a\"]}",
               "9 texts at once; this server takes 8");
    expect_bad(&s, "/v1/completions", "{\"prompt\": \"a\", \"top_p\": 0}", "top_p");
    expect_bad(&s, "/v1/chat/completions", "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}",
               "no chat template");
    char *large = malloc(3 * MAX_BODY);
    memset(large, ' ', 3 * MAX_BODY - 1), large[3 * MAX_BODY - 1] = 0;
    expect_refusal(client_post(s.port, "/v1/completions", large), 413, "invalid_request_error",
                   "serve.max_body");
    large[MAX_BODY] = 0;
    expect_bad(&s, "/v1/completions", large, "not JSON");
    /* In chunks nothing is announced. */
    int fd = client_connect(s.port);
    client_send(
        fd,
        "POST /tokenize HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n");
    client_send(fd, json_type);
    client_send(fd, "\r\n");
    for (int i = 0; i < 5; i++) {
        char chunk[6000];
        memset(chunk, ' ', sizeof chunk);
        memcpy(chunk, "1388\r\n", 6);
        strcpy(chunk + 6 + 0x1388, "\r\n");
        client_send(fd, chunk);
    }
    client_send(fd, "0\r\n\r\n");
    expect_refusal(client_read(fd), 413, "invalid_request_error", "serve.max_body");
    free(large);
    atomic_store(&fake_breaks, 1);
    expect_refusal(client_post(s.port, "/v1/completions", "{\"prompt\": \"a\"}"), 500, "server_error",
                   "not finite");
    server_stop(&s);
}

static void until_metric(const server *s, const char *line)
{
    for (int i = 0; i < 500; i++) {
        reply r = client_ask(s->port, "GET /metrics", "", "");
        const bool found = strstr(r.body, line);
        reply_free(&r);
        if (found) return;
        usleep(10000);
    }
    fail_msg("never: %s", line);
}

static int begin(const server *s, const char *body)
{
    const int fd = client_connect(s->port);
    char *text = client_request("POST /v1/completions", "Content-Type: application/json\r\n", body);
    client_send(fd, text);
    free(text);
    return fd;
}

static void test_busy_and_vanished(void **state)
{
    (void)state;
    server s;
    server_start(&s, &open_to_all, 10, 5);
    atomic_store(&fake_step_nanoseconds, 5000000);
    const char *long_one = "{\"prompt\": \"a\", \"max_tokens\": 200, \"temperature\": 0, \"n\": 4}";
    const int first = begin(&s, long_one);
    until_metric(&s, "remla_running_sequences{model=\"recovered\"} 4\n");
    const int second = begin(&s, long_one);
    until_metric(&s, "remla_queue_requests{model=\"recovered\"} 1\n");
    reply r = client_post(s.port, "/v1/completions", "{\"prompt\": \"a\"}");
    assert_non_null(strcasestr(r.head, "Retry-After: 1\r\n"));
    expect_refusal(r, 429, "rate_limit_error", "the server is busy: 8 texts");
    r = client_post(s.port, "/v1/completions", "{\"prompt\": \"a\", \"model\": \"original\"}");
    assert_int_equal(r.code, 200); /* the other model has room */
    reply_free(&r);
    close(first); /* and the second one has its place */
    until_metric(&s, "remla_cancelled_requests_total{model=\"recovered\"} 1\n");
    until_metric(&s, "remla_requests_total{route=\"/v1/completions\",code=\"499\"} 1\n");
    atomic_store(&fake_step_nanoseconds, 0);
    r = client_read(second);
    assert_int_equal(r.code, 200);
    reply_free(&r);
    atomic_store(&fake_step_nanoseconds, 5000000); /* a stream that nobody reads any more */
    const int third =
        begin(&s, "{\"prompt\": [47], \"temperature\": 0, \"max_tokens\": 200, \"stream\": true}");
    char some[200];
    assert_true(recv(third, some, sizeof some, 0) > 0);
    close(third);
    until_metric(&s, "remla_cancelled_requests_total{model=\"recovered\"} 2\n");
    until_metric(&s, "remla_running_sequences{model=\"recovered\"} 0\n");
    server_stop(&s);
}

/* A byte now and then does not keep a connection. */
static void test_slow(void **state)
{
    (void)state;
    server s;
    server_start(&s, &open_to_all, 0.5, 5);
    const double began = clock_seconds();
    const int head = client_connect(s.port), body = client_connect(s.port), silent = client_connect(s.port);
    client_send(body, "POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                      "Content-Length: 1000\r\n\r\n");
    for (int i = 0; i < 9; i++) {
        client_send(head, i ? "x" : "GET /");
        client_send(body, "x");
        usleep(100000);
    }
    const int fds[] = {head, body, silent};
    for (int i = 0; i < 3; i++) {
        reply r = client_read(fds[i]);
        assert_int_equal(r.code, 0);
        reply_free(&r);
    }
    assert_true(clock_seconds() - began < 3);
    /* Work is no slowness. */
    atomic_store(&fake_step_nanoseconds, 20000000);
    reply r =
        client_post(s.port, "/v1/completions", "{\"prompt\": [47], \"max_tokens\": 60, \"temperature\": 0}");
    assert_int_equal(r.code, 200);
    reply_free(&r);
    r = client_post(s.port, "/v1/completions",
                    "{\"prompt\": [47], \"max_tokens\": 60, \"temperature\": 0, \"stream\": true}");
    assert_int_equal(r.code, 200);
    assert_non_null(strstr(r.body, "[DONE]"));
    reply_free(&r);
    server_stop(&s);
}

static void expect_late(int fd, const char *option)
{
    reply r = client_read(fd);
    if (!r.head || !strcasestr(r.head, "Retry-After: 1\r\n")) fail_msg("no Retry-After: %s", r.head);
    expect_refusal(r, 503, "unavailable_error", option);
}

/* What waits for too long is refused, also in a stream, where the answer has not begun; what runs is not. */
static void test_patience(void **state)
{
    (void)state;
    server s;
    worker_limits limits = no_limits;
    limits.patience = 0.2;
    server_start_limited(&s, &open_to_all, 10, 5, &limits);
    atomic_store(&fake_step_nanoseconds, 5000000);
    const int first = begin(&s, "{\"prompt\": [47], \"max_tokens\": 200, \"temperature\": 0, \"n\": 4}");
    until_metric(&s, "remla_running_sequences{model=\"recovered\"} 4\n");
    const int second = begin(&s, "{\"prompt\": [47], \"max_tokens\": 2}"),
              third = begin(&s, "{\"prompt\": [47], \"max_tokens\": 2, \"stream\": true}");
    expect_late(second, "serve.patience");
    expect_late(third, "serve.patience");
    reply r = client_read(first); /* which is at work for longer */
    assert_int_equal(r.code, 200);
    reply_free(&r);
    /* Of several prompts only the first must have begun. */
    r = client_read(
        begin(&s, "{\"prompt\": [[47],[47],[47],[47],[47],[47]], \"max_tokens\": 100, \"temperature\": 0}"));
    assert_int_equal(r.code, 200);
    reply_free(&r);
    server_stop(&s);
}

/* What takes too long ends, whether it runs or waits. */
static void test_duration(void **state)
{
    (void)state;
    server s;
    worker_limits limits = no_limits;
    limits.duration = 0.2;
    server_start_limited(&s, &open_to_all, 10, 5, &limits);
    atomic_store(&fake_step_nanoseconds, 5000000);
    const char *body = "{\"prompt\": [47], \"max_tokens\": 200, \"temperature\": 0, \"n\": 4}";
    const int first = begin(&s, body), second = begin(&s, body);
    expect_late(first, "serve.duration");
    expect_late(second, "serve.duration");
    reply r = client_post(s.port, "/v1/completions",
                          "{\"prompt\": [47], \"max_tokens\": 200, \"temperature\": 0, \"stream\": true}");
    assert_int_equal(r.code, 200);
    assert_non_null(strstr(r.body, "data: {\"error\":{"));
    assert_non_null(strstr(r.body, "serve.duration"));
    reply_free(&r);
    server_stop(&s);
}

/* What runs is finished, what comes is refused, what takes too long is cancelled. */
static void test_stop(void **state)
{
    (void)state;
    server s;
    server_start(&s, &open_to_all, 10, 5);
    atomic_store(&fake_step_nanoseconds, 5000000);
    int fd = begin(&s, "{\"prompt\": [47], \"max_tokens\": 100, \"temperature\": 0}");
    until_metric(&s, "remla_running_sequences{model=\"recovered\"} 1\n");
    atomic_store(&stopping, 1);
    while (!worker_is_stopping(s.worker)) usleep(1000);
    reply r = client_post(s.port, "/v1/completions", "{\"prompt\": \"a\"}");
    assert_non_null(strcasestr(r.head, "Retry-After: 1\r\n"));
    expect_refusal(r, 503, "unavailable_error", "stopping");
    expect_refusal(client_ask(s.port, "GET /health", "", ""), 503, "unavailable_error", "stopping");
    r = client_read(fd);
    assert_int_equal(r.code, 200);
    reply_free(&r);
    server_stop(&s);
    assert_int_equal(s.cancelled, 0);

    server_start(&s, &open_to_all, 10, 0);
    atomic_store(&fake_step_nanoseconds, 5000000);
    fd = begin(&s, "{\"prompt\": [47], \"temperature\": 0, \"max_tokens\": 200}");
    const int streamed =
        begin(&s, "{\"prompt\": [47], \"temperature\": 0, \"max_tokens\": 200, \"stream\": true}");
    until_metric(&s, "remla_running_sequences{model=\"recovered\"} 2\n");
    char some[1];
    assert_int_equal(recv(streamed, some, 1, MSG_PEEK), 1); /* its answer has begun */
    atomic_store(&stopping, 1);
    expect_refusal(client_read(fd), 503, "unavailable_error", "cancelled this request");
    r = client_read(streamed);
    assert_int_equal(r.code, 200);
    assert_non_null(strstr(r.body, "data: {\"error\":{"));
    assert_null(strstr(r.body, "[DONE]"));
    reply_free(&r);
    server_stop(&s);
}

static void test_keeps_connection(void **state)
{
    (void)state;
    server s;
    server_start(&s, &open_to_all, 10, 5);
    const int fd = client_connect(s.port);
    const char *ask =
        "POST /tokenize HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: "
        "16\r\n\r\n{\"prompt\": \"ab\"}";
    char text[2000] = "";
    for (int i = 0; i < 3; i++) {
        client_send(fd, ask);
        size_t n = 0;
        while (!strstr(text, "]}")) {
            const ssize_t got = recv(fd, text + n, sizeof text - 1 - n, 0);
            assert_true(got > 0);
            text[n += (size_t)got] = 0;
        }
        assert_memory_equal(text, "HTTP/1.1 200", 12);
        text[0] = 0;
    }
    close(fd);
    server_stop(&s);
}

int main(void)
{
    if (!getenv("REMLA_SOURCE")) return 77;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tokens),
        cmocka_unit_test(test_scores),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_models),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_busy_and_vanished),
        cmocka_unit_test(test_slow),
        cmocka_unit_test(test_patience),
        cmocka_unit_test(test_duration),
        cmocka_unit_test(test_stop),
        cmocka_unit_test(test_keeps_connection),
        cmocka_unit_test(test_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
