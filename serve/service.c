/* The table of routes, and the routes that need no worker. A request is checked in the order in which its
 * header can say what is wrong: who asks, what for, how. */
#include "serve/service.h"
#include "base/clock.h"
#include "base/json_text.h"
#include "base/memory.h"
#include "generate/chat_template/chat_template.h"
#include "serve/completion.h"
#include "serve/page.h"
#include "serve/response.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

struct service {
    service_settings settings;
    completion_service completion;
    long long created;
    char page_policy[PAGE_POLICY_BYTES];
};

typedef struct route {
    const char *path, *method;
    bool needs_key;
    void (*answer)(service *s, http_exchange *x);
} route;

/* ---- answering ----------------------------------------------------------------------------------------- */

static const char *route_name(const http_exchange *x)
{
    const route *r = http_note(x);
    return r ? r->path : "other";
}

static void count_answer(void *context, http_exchange *x, int code)
{
    const service *s = context;
    counters_answered(s->settings.counters, route_name(x), code, clock_seconds() - http_began(x));
}

static void answer_text(service *s, http_exchange *x, int code, const char *type, text_buffer *body)
{
    count_answer(s, x, code);
    http_answer(x, code, type, body);
}

static void answer_json(service *s, http_exchange *x, json_t *json)
{
    text_buffer body = {0};
    response_json(&body, json);
    answer_text(s, x, 200, "application/json", &body);
}

static void refuse(void *context, http_exchange *x, int code, const char *sentence)
{
    text_buffer body = {0};
    response_error(&body, code, sentence);
    if (code == 429 || code == 503) http_add_header(x, "Retry-After", "1");
    if (code == 401) http_add_header(x, "WWW-Authenticate", "Bearer");
    answer_text(context, x, code, "application/json", &body);
}

/* ---- routes -------------------------------------------------------------------------------------------- */

static void completions(service *s, http_exchange *x) { completion_answer(&s->completion, x, false); }
static void chat_completions(service *s, http_exchange *x) { completion_answer(&s->completion, x, true); }

static void models(service *s, http_exchange *x)
{
    json_t *list = json_array();
    for (int i = 0; i < s->settings.models; i++)
        json_array_append_new(list,
                              json_pack("{s:s,s:s,s:I,s:s,s:I,s:b}", "id", s->settings.model[i]->name,
                                        "object", "model", "created", (json_int_t)s->created, "owned_by",
                                        "remla", "max_model_len", (json_int_t)s->settings.model[i]->longest,
                                        "chat", s->settings.model[i]->chat != NULL));
    answer_json(s, x, json_pack("{s:s,s:o}", "object", "list", "data", list));
}

static void tokenize(service *s, http_exchange *x)
{
    tokenize_request q;
    message why;
    token_list ids = {0};
    int64_t hidden;
    status result = tokenize_request_parse(&q, false, http_body(x), http_body_bytes(x), &why);
    const int which = completion_model(&s->completion, q.model);
    if (result == OK)
        result =
            prompt_encode(s->completion.encoder[which], &q.prompt, q.add_special_tokens, &ids, &hidden, &why);
    if (result == OK)
        answer_json(s, x,
                    json_pack("{s:I,s:I,s:o}", "count", (json_int_t)ids.count, "max_model_len",
                              (json_int_t)s->settings.model[which]->longest, "tokens",
                              token_list_json(&ids)));
    else
        refuse(s, x, 400, why.text);
    token_list_free(&ids);
    tokenize_request_free(&q);
}

static void detokenize(service *s, http_exchange *x)
{
    tokenize_request q;
    message why;
    text_buffer text = {0};
    status result = tokenize_request_parse(&q, true, http_body(x), http_body_bytes(x), &why);
    const served_model *m = s->settings.model[completion_model(&s->completion, q.model)];
    if (result == OK)
        result = tokenizer_decode(m->tokenizer, q.prompt.ids.id, q.prompt.ids.count, false, &text, &why);
    if (result == OK)
        answer_json(s, x, json_pack("{s:o}", "prompt", json_text_stringn(text.text, text.bytes)));
    else
        refuse(s, x, 400, why.text);
    text_buffer_free(&text);
    tokenize_request_free(&q);
}

/* null if there is none. */
static json_t *special(const tokenizer *t, int64_t id)
{
    text_buffer text = {0};
    json_t *json =
        tokenizer_special_text(t, id, &text) ? json_text_stringn(text.text, text.bytes) : json_null();
    text_buffer_free(&text);
    return json;
}

static void tokenizer_info(service *s, http_exchange *x)
{
    const served_model *m = s->settings.model[0];
    const tokenizer *t = m->tokenizer;
    answer_json(s, x,
                json_pack("{s:o,s:o,s:o,s:s?,s:I,s:s}", "eos_token", special(t, tokenizer_eos(t)),
                          "bos_token", special(t, tokenizer_bos(t)), "pad_token",
                          special(t, tokenizer_pad(t)), "chat_template",
                          m->chat ? chat_template_source(m->chat) : NULL, "vocab_size",
                          (json_int_t)tokenizer_vocabulary(t), "model", m->name));
}

static void health(service *s, http_exchange *x)
{
    if (worker_is_stopping(s->settings.worker))
        refuse(s, x, 503, "the server is stopping");
    else
        answer_json(s, x, json_pack("{s:s}", "status", "ok"));
}

static void print_metrics(service *s, http_exchange *x)
{
    const char *name[WORKER_ENGINES];
    engine_statistics statistics[WORKER_ENGINES];
    for (int i = 0; i < s->settings.models; i++) {
        name[i] = s->settings.model[i]->name;
        statistics[i] = worker_statistics(s->settings.worker, i);
    }
    text_buffer body = {0};
    counters_print(s->settings.counters, name, statistics, s->settings.models, &body);
    answer_text(s, x, 200, "text/plain; version=0.0.4; charset=utf-8", &body);
}

static void page(service *s, http_exchange *x)
{
    text_buffer body = {0};
    page_text(&body);
    http_add_header(x, "Content-Security-Policy", s->page_policy);
    http_add_header(x, "Referrer-Policy", "no-referrer");
    answer_text(s, x, 200, "text/html; charset=utf-8", &body);
}

/* The page is without the key, for which it asks; and the operator of the machine wants to see that it
 * lives. */
static const route routes[] = {
    {"/v1/completions", "POST", true, completions},
    {"/v1/chat/completions", "POST", true, chat_completions},
    {"/v1/models", "GET", true, models},
    {"/tokenize", "POST", true, tokenize},
    {"/detokenize", "POST", true, detokenize},
    {"/tokenizer_info", "GET", true, tokenizer_info},
    {"/metrics", "GET", true, print_metrics},
    {"/health", "GET", false, health},
    {"/", "GET", false, page},
};
enum { NUM_ROUTES = sizeof routes / sizeof routes[0] };

static const route *find_route(const char *path)
{
    for (int i = 0; i < NUM_ROUTES; i++)
        if (!strcmp(routes[i].path, path)) return &routes[i];
    return NULL;
}

/* ---- the order of checks ------------------------------------------------------------------------------- */

static bool is_method(const http_exchange *x, const char *method) { return !strcmp(http_method(x), method); }

/* A browser asks whether a page of another origin may send what it wants to send. */
static void allow_foreign(http_exchange *x, const access_headers *h)
{
    http_add_header(x, "Access-Control-Allow-Origin", h->origin);
    http_add_header(x, "Vary", "Origin");
    if (!is_method(x, "OPTIONS")) return;
    http_add_header(x, "Access-Control-Allow-Methods", "GET, POST");
    http_add_header(x, "Access-Control-Allow-Headers", "Authorization, Content-Type");
    http_add_header(x, "Access-Control-Max-Age", "600");
}

static void refuse_method(service *s, http_exchange *x, const route *r)
{
    message why;
    fail(&why, ERR_INPUT, "%.20s is not possible at %s; expected %s", http_method(x), r->path, r->method);
    http_add_header(x, "Allow", r->method);
    refuse(s, x, 405, why.text);
}

/* Pages of other origins may post texts without asking, but not JSON. */
static void check_type(service *s, http_exchange *x)
{
    static const char expected[] = "application/json";
    const char *type = http_header(x, "Content-Type");
    message why;
    if (type && !strncasecmp(type, expected, sizeof expected - 1) &&
        strchr("; \t", type[sizeof expected - 1]))
        return;
    fail(&why, ERR_INPUT, "Content-Type is %.100s; expected %s", type ? type : "missing", expected);
    refuse(s, x, 415, why.text);
}

void service_admit(void *context, http_exchange *x)
{
    service *s = context;
    const route *r = find_route(http_path(x));
    http_set_note(x, (void *)r);
    const access_headers h = {http_header(x, "Host"), http_header(x, "Origin"),
                              http_header(x, "Authorization")};
    const bool asks = is_method(x, "OPTIONS");
    message why;
    const int code = access_check(&s->settings.access, &h, r && r->needs_key && !asks, &why);
    if (code == 403) {
        refuse(s, x, code, why.text);
        return;
    }
    if (access_is_foreign(&h)) allow_foreign(x, &h); /* also at an error, or the page could not read it */
    if (!r) {
        fail(&why, ERR_INPUT, "there is nothing at %.200s", http_path(x));
        refuse(s, x, 404, why.text);
    } else if (asks) {
        text_buffer nothing = {0};
        answer_text(s, x, 204, "text/plain", &nothing);
    } else if (!is_method(x, r->method) && !(is_method(x, "HEAD") && !strcmp(r->method, "GET")))
        refuse_method(s, x, r);
    else if (code)
        refuse(s, x, code, why.text);
    else if (!strcmp(r->method, "POST"))
        check_type(s, x);
}

void service_handle(void *context, http_exchange *x)
{
    const route *r = http_note(x);
    r->answer(context, x);
}

void service_too_large(void *context, http_exchange *x)
{
    refuse(context, x, 413, "the request's body is larger than serve.max_body");
}

service *service_new(const service_settings *settings)
{
    service *s = memory_new(1, sizeof *s, "a server");
    s->settings = *settings;
    s->created = (long long)time(NULL);
    s->completion = (completion_service){.worker = settings->worker,
                                         .models = settings->models,
                                         .chat_tokens = settings->chat_tokens,
                                         .refuse = refuse,
                                         .answered = count_answer,
                                         .context = s};
    for (int i = 0; i < settings->models; i++) {
        s->completion.model[i] = settings->model[i];
        s->completion.encoder[i] = prompt_encoder_new(settings->model[i]);
    }
    page_policy(s->page_policy);
    return s;
}

void service_free(service *s)
{
    for (int i = 0; i < s->settings.models; i++) prompt_encoder_free(s->completion.encoder[i]);
    free(s);
}
