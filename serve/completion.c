/* A request on its way: parsed, its prompts encoded, handed to the worker; then its events become the answer,
 * at once or piece by piece. All on the connection's thread. */
#include "serve/completion.h"
#include "base/clock.h"
#include "base/memory.h"
#include "serve/chat.h"
#include "serve/response.h"
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { DEFAULT_TOKENS = 16 }; /* OpenAI's, for completions */

typedef struct completion {
    const completion_service *service;
    http_exchange *exchange;
    completion_request request;
    const served_model *model;
    int which; /* of the models */
    char id[40];
    token_list ids; /* of all prompts, one after the other */
    int64_t *begin; /* (prompts+1) where each begins there */
    int64_t hidden; /* of each prompt's first ids */
    int64_t prompts;
    generation *work; /* once the worker has it */
    response *response;
    generation_events events;
    text_buffer first; /* piece of a stream, until it is asked for */
    bool ended;        /* the last piece of a stream is made */
    atomic_bool gone;  /* the client */
} completion;

int completion_model(const completion_service *s, const char *name)
{
    for (int i = 0; name && i < s->models; i++)
        if (!strcmp(name, s->model[i]->name)) return i;
    return 0;
}

static void completion_free(completion *c)
{
    if (c->work) {
        worker_release(c->service->worker, c->work);
        generation_free(c->work);
    }
    if (c->response) response_free(c->response);
    generation_events_free(&c->events);
    text_buffer_free(&c->first);
    completion_request_free(&c->request);
    token_list_free(&c->ids);
    free(c->begin);
    free(c);
}

/* ---- before the worker --------------------------------------------------------------------------------- */

static status encode_prompt(completion *c, const request_prompt *p, bool special, int64_t otherwise,
                            int64_t number, message *why)
{
    const int64_t before = c->ids.count;
    TRY(prompt_encode(c->service->encoder[c->which], p, special, &c->ids, &c->hidden, why));
    c->begin[number] = before;
    c->begin[number + 1] = c->ids.count;
    int64_t max_tokens = c->request.max_tokens;
    return prompt_check_length(c->model, c->ids.count - before, otherwise, &max_tokens, why);
}

/* The template says what begins a chat, so nothing is put before it. */
static status encode_chat(completion *c, message *why)
{
    text_buffer text = {0};
    status s = chat_render(c->model, &c->request, &text, why);
    const request_prompt p = {.text = text.text ? text.text : "", .bytes = text.bytes};
    if (s == OK) s = encode_prompt(c, &p, false, c->service->chat_tokens, 0, why);
    text_buffer_free(&text);
    return s;
}

static status encode(completion *c, message *why)
{
    c->prompts = c->request.chat ? 1 : c->request.prompts;
    c->begin = memory_new(c->prompts + 1, sizeof *c->begin, "prompts");
    if (c->request.chat) return encode_chat(c, why);
    for (int64_t i = 0; i < c->prompts; i++)
        TRY(encode_prompt(c, &c->request.prompt[i], true, DEFAULT_TOKENS, i, why));
    return OK;
}

static uint64_t any_seed(void)
{
    uint64_t seed = 0;
    const ssize_t got = getrandom(&seed, sizeof seed, 0);
    (void)got; /* 8 bytes are never short */
    return seed;
}

static engine_request engine_request_of(const completion *c, int64_t prompt, uint64_t seed,
                                        const char *const *stop)
{
    const completion_request *q = &c->request;
    engine_request e = engine_request_default();
    e.prompt = (const int32_t *)c->ids.id + c->begin[prompt];
    e.prompt_tokens = c->begin[prompt + 1] - c->begin[prompt];
    e.max_tokens = q->max_tokens;
    message ignored; /* it was checked when the prompt was encoded */
    prompt_check_length(c->model, e.prompt_tokens, q->chat ? c->service->chat_tokens : DEFAULT_TOKENS,
                        &e.max_tokens, &ignored);
    e.choices = (int)q->n;
    e.sampling = (sampler_settings){.temperature = q->temperature,
                                    .top_k = q->top_k,
                                    .top_p = q->top_p,
                                    .min_p = q->min_p,
                                    .repetition_penalty = q->repetition_penalty,
                                    .seed = seed};
    e.end = c->model->end, e.ends = c->model->ends;
    e.stop = stop, e.stops = (int)q->stops;
    /* An echoed prompt has its special tokens in full, so the rest of the text does as well. */
    e.special_text = q->echo;
    e.top = (int)q->logprobs;
    e.echo = q->echo;
    return e;
}

static status submit(completion *c, message *why)
{
    const completion_request *q = &c->request;
    const uint64_t seed = q->seeded ? q->seed : any_seed();
    const char *stop[REQUEST_STOPS];
    for (int64_t i = 0; i < q->stops; i++) stop[i] = q->stop[i].text;
    engine_request *requests = memory_new(c->prompts, sizeof *requests, "requests");
    for (int64_t i = 0; i < c->prompts; i++) requests[i] = engine_request_of(c, i, seed, stop);
    generation *j = generation_new(requests, (int)c->prompts);
    free(requests);
    const status s = worker_submit(c->service->worker, c->which, j, why);
    if (s == OK)
        c->work = j;
    else
        generation_free(j);
    return s;
}

/* ---- behind the worker --------------------------------------------------------------------------------- */

/* On the thread that watches connections. */
static void vanished(void *state)
{
    completion *c = state;
    atomic_store(&c->gone, true);
    worker_cancel(c->service->worker, c->work);
}

/* The code of an answer whose texts have ended, and a sentence if that is not 200. */
static int code_of(const completion *c, const char **sentence)
{
    *sentence = NULL;
    if (atomic_load(&c->gone)) return 499;
    switch (response_failure(c->response)) {
    case FINISH_STOP:
    case FINISH_LENGTH:
        return 200;
    case FINISH_CANCELLED:
        *sentence = generation_expired(c->work);
        if (!*sentence) *sentence = "the server is stopping and has cancelled this request";
        return 503;
    case FINISH_ERROR:
        break;
    }
    *sentence = "the model's numbers are not finite";
    return 500;
}

/* Waits for events and adds them to the answer. False: there are no more. */
static bool take_events(completion *c, text_buffer *out)
{
    if (!generation_take(c->work, &c->events)) return false;
    for (int64_t i = 0; i < c->events.count; i++) response_add(c->response, &c->events.event[i], out);
    return true;
}

static bool next_piece(void *state, text_buffer *out)
{
    completion *c = state;
    const char *sentence;
    if (c->first.bytes) text_buffer_append(out, c->first.text, c->first.bytes);
    c->first.bytes = 0;
    while (!c->ended && !out->bytes) {
        if (take_events(c, out)) continue;
        c->ended = true;
        const int code = code_of(c, &sentence);
        if (sentence)
            response_error_event(out, code, sentence);
        else
            response_end(c->response, out);
    }
    return out->bytes > 0;
}

static void end_stream(void *state)
{
    completion *c = state;
    const char *sentence;
    if (!c->ended) atomic_store(&c->gone, true); /* the connection broke before the last piece */
    c->service->answered(c->service->context, c->exchange, code_of(c, &sentence));
    completion_free(c);
}

/* Until the first piece is there, a failure has its code: behind it the answer has begun. */
static void answer_stream(completion *c)
{
    const char *sentence;
    while (!c->first.bytes && take_events(c, &c->first)) continue;
    const int code = code_of(c, &sentence);
    if (sentence) {
        http_watch(c->exchange, NULL, NULL);
        c->service->refuse(c->service->context, c->exchange, code, sentence);
        completion_free(c);
        return;
    }
    http_add_header(c->exchange, "X-Accel-Buffering", "no"); /* proxies shall pass pieces on as they come */
    http_answer_stream(c->exchange, "text/event-stream; charset=utf-8",
                       &(http_stream){next_piece, end_stream, c});
}

static void answer_whole(completion *c)
{
    text_buffer out = {0};
    const char *sentence;
    while (take_events(c, &out)) continue;
    http_watch(c->exchange, NULL, NULL);
    const int code = code_of(c, &sentence);
    if (sentence)
        c->service->refuse(c->service->context, c->exchange, code, sentence);
    else {
        response_end(c->response, &out);
        c->service->answered(c->service->context, c->exchange, code);
        http_answer(c->exchange, 200, "application/json", &out);
    }
    text_buffer_free(&out);
    completion_free(c);
}

static int code_of_refusal(status s)
{
    switch (s) {
    case ERR_DEVICE:
        return 429;
    case STOPPED:
        return 503;
    default:
        return 400;
    }
}

static status start(completion *c, bool chat, message *why)
{
    TRY(completion_request_parse(&c->request, chat, http_body(c->exchange), http_body_bytes(c->exchange),
                                 why));
    c->which = completion_model(c->service, c->request.model);
    c->model = c->service->model[c->which];
    TRY(encode(c, why));
    return submit(c, why);
}

void completion_answer(const completion_service *s, http_exchange *x, bool chat)
{
    static atomic_ullong count;
    completion *c = memory_new(1, sizeof *c, "a request");
    message why = {""};
    c->service = s, c->exchange = x;
    const status result = start(c, chat, &why);
    if (result != OK) {
        s->refuse(s->context, x, code_of_refusal(result), why.text);
        completion_free(c);
        return;
    }
    snprintf(c->id, sizeof c->id, "%s-%llx-%llu", chat ? "chatcmpl" : "cmpl",
             (unsigned long long)(clock_seconds() * 1e6), atomic_fetch_add(&count, 1));
    c->response =
        response_new(&c->request, c->model->tokenizer, c->id, c->model->name, c->hidden, c->ids.count);
    http_watch(x, vanished, c);
    if (c->request.stream)
        answer_stream(c);
    else
        answer_whole(c);
}
