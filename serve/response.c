/* Collects events into what a client gets. A choice's text and its lists of tokens begin with those of the
 * prompt, if it is to be echoed; in a stream they are sent and emptied after each event. */
#include "serve/response.h"
#include "base/json_text.h"
#include "base/memory.h"
#include "data/tokenizer/unicode.h"
#include "generate/token_text.h"
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const double least_logprob = -9999; /* JSON has no infinity; vLLM's number */

/* The lists of `logprobs`. Completions: four of equal length. Chat: `tokens` alone, of objects. */
typedef struct lists {
    json_t *tokens, *logprobs, *top, *offsets;
} lists;

typedef struct part {
    text_buffer text;
    lists lists;
    int64_t offset; /* code points of all pieces so far */
} part;

typedef struct choice {
    part part;
    bool open; /* an event of it has come */
    finish_reason reason;
} choice;

struct response {
    const completion_request *q;
    const tokenizer *tokenizer;
    const char *id, *model;
    long long created;
    int64_t hidden, prompts, prompt_tokens, generated;
    part *prompt;
    choice *choice; /* (prompts, n) */
    finish_reason failure;
};

/* ---- pieces of JSON ------------------------------------------------------------------------------------ */

static int append(const char *text, size_t bytes, void *out)
{
    text_buffer_append(out, text, (int64_t)bytes);
    return 0;
}

void response_json(text_buffer *out, json_t *json)
{
    memory_check(json, "an answer");
    json_dump_callback(json, append, out, JSON_COMPACT);
    json_decref(json);
}

static json_t *number(double logprob) { return json_real(logprob > least_logprob ? logprob : least_logprob); }

static lists lists_new(const completion_request *q)
{
    lists l = {0};
    if (q->logprobs < 0) return l;
    l.tokens = json_array();
    if (!q->chat) l.logprobs = json_array(), l.top = json_array(), l.offsets = json_array();
    return l;
}

static void lists_free(lists *l)
{
    json_decref(l->tokens);
    json_decref(l->logprobs);
    json_decref(l->top);
    json_decref(l->offsets);
    *l = (lists){0};
}

static void lists_extend(lists *l, const lists *more)
{
    json_array_extend(l->tokens, more->tokens);
    if (!l->offsets) return;
    json_array_extend(l->logprobs, more->logprobs);
    json_array_extend(l->top, more->top);
    json_array_extend(l->offsets, more->offsets);
}

/* Appends how a token reads in the middle of a text, special ones spelled out. */
static void spell(const response *r, int32_t token, text_buffer *out)
{
    token_text *t = token_text_new(r->tokenizer, true, true);
    token_text_push(t, token, out);
    token_text_end(t, out);
    token_text_free(t);
}

/* Adds an alternative under its text. Two tokens may have one text, such as halves of two characters: the
 * second one's key is its number then, so that no probability is lost. */
static void set_alternative(json_t *object, const char *text, int64_t bytes, int32_t token, double logprob)
{
    char key[32];
    if (json_object_getn(object, bytes ? text : "", (size_t)bytes)) {
        bytes = snprintf(key, sizeof key, "token_id:%d", (int)token);
        text = key;
    }
    json_object_setn_new(object, bytes ? text : "", (size_t)bytes, number(logprob));
}

/* The likeliest tokens, and the one that is there. The latter has the text of its piece, as in the list of
 * tokens. */
static json_t *alternatives(const response *r, const engine_event *e, const char *piece, int64_t bytes)
{
    json_t *object = json_object();
    bool there = false;
    text_buffer text = {0};
    for (int i = 0; i < e->tops; i++) {
        const bool itself = e->top[i].token == e->token;
        there |= itself;
        text.bytes = 0;
        if (!itself) spell(r, e->top[i].token, &text);
        set_alternative(object, itself ? piece : text.text, itself ? bytes : text.bytes, e->top[i].token,
                        e->top[i].logprob);
    }
    if (!there) set_alternative(object, piece, bytes, e->token, e->logprob);
    text_buffer_free(&text);
    return object;
}

static json_t *chat_token(const char *text, int64_t bytes, double logprob)
{
    json_t *list = json_array();
    for (int64_t i = 0; i < bytes; i++) json_array_append_new(list, json_integer((unsigned char)text[i]));
    return json_pack("{s:o,s:o,s:o}", "token", json_text_stringn(text, bytes), "logprob", number(logprob),
                     "bytes", list);
}

static json_t *chat_entry(const response *r, const engine_event *e)
{
    json_t *entry = chat_token(e->piece, e->piece_bytes, e->logprob), *top = json_array();
    text_buffer text = {0};
    for (int i = 0; i < e->tops; i++) {
        text.bytes = 0;
        spell(r, e->top[i].token, &text);
        json_array_append_new(top, chat_token(text.text, text.bytes, e->top[i].logprob));
    }
    text_buffer_free(&text);
    json_object_set_new(entry, "top_logprobs", top);
    return entry;
}

/* Adds the token of an event, with the piece of text that the client sees as its own. */
static void add_token(const response *r, part *p, const engine_event *e, const char *piece, int64_t bytes)
{
    if (p->lists.tokens && r->q->chat) json_array_append_new(p->lists.tokens, chat_entry(r, e));
    if (p->lists.offsets) {
        json_array_append_new(p->lists.tokens, json_text_stringn(piece, bytes));
        json_array_append_new(p->lists.logprobs, e->scored ? number(e->logprob) : json_null());
        json_array_append_new(p->lists.top, e->scored ? alternatives(r, e, piece, bytes) : json_null());
        json_array_append_new(p->lists.offsets, json_integer(p->offset));
    }
    p->offset += utf8_length(piece, bytes);
}

static json_t *logprobs_json(const response *r, const part *p)
{
    const lists *l = &p->lists;
    if (!l->tokens || (r->q->stream && !json_array_size(l->tokens))) return json_null();
    if (r->q->chat) return json_pack("{s:O}", "content", l->tokens);
    return json_pack("{s:O,s:O,s:O,s:O}", "tokens", l->tokens, "token_logprobs", l->logprobs, "top_logprobs",
                     l->top, "text_offset", l->offsets);
}

static json_t *reason_json(const choice *c, bool finished)
{
    return finished ? json_string(finish_reason_text(c->reason)) : json_null();
}

static json_t *usage(const response *r)
{
    return json_pack("{s:I,s:I,s:I}", "prompt_tokens", (json_int_t)r->prompt_tokens, "completion_tokens",
                     (json_int_t)r->generated, "total_tokens", (json_int_t)(r->prompt_tokens + r->generated));
}

/* The object around choices. */
static json_t *envelope(const response *r, json_t *choices)
{
    const char *object = !r->q->chat    ? "text_completion"
                         : r->q->stream ? "chat.completion.chunk"
                                        : "chat.completion";
    json_t *json = json_pack("{s:s,s:s,s:I,s:s,s:o}", "id", r->id, "object", object, "created",
                             (json_int_t)r->created, "model", r->model, "choices", choices);
    if (r->q->stream && r->q->stream_usage)
        json_object_set_new(json, "usage", json_null()); /* until the end */
    return json;
}

static void append_event(text_buffer *out, json_t *json)
{
    text_buffer_append(out, "data: ", 6);
    response_json(out, json);
    text_buffer_append(out, "\n\n", 2);
}

/* ---- choices ------------------------------------------------------------------------------------------- */

response *response_new(const completion_request *q, const tokenizer *t, const char *id, const char *name,
                       int64_t hidden, int64_t prompt_tokens)
{
    response *r = memory_new(1, sizeof *r, "an answer");
    *r = (response){.q = q,
                    .tokenizer = t,
                    .id = id,
                    .model = name,
                    .hidden = hidden,
                    .prompt_tokens = prompt_tokens,
                    .created = (long long)time(NULL),
                    .prompts = q->chat ? 1 : q->prompts,
                    .failure = FINISH_STOP};
    r->prompt = memory_new(r->prompts, sizeof *r->prompt, "an answer");
    r->choice = memory_new(r->prompts * q->n, sizeof *r->choice, "an answer");
    for (int64_t i = 0; i < r->prompts; i++) r->prompt[i].lists = lists_new(q);
    return r;
}

static void part_free(part *p)
{
    text_buffer_free(&p->text);
    lists_free(&p->lists);
}

void response_free(response *r)
{
    for (int64_t i = 0; i < r->prompts; i++) part_free(&r->prompt[i]);
    for (int64_t i = 0; i < r->prompts * r->q->n; i++) part_free(&r->choice[i].part);
    free(r->prompt);
    free(r->choice);
    free(r);
}

finish_reason response_failure(const response *r) { return r->failure; }

static void append_text(text_buffer *out, const char *text, int64_t bytes)
{
    if (bytes) text_buffer_append(out, text, bytes);
}

/* The first chunk of a chat names the role. */
static void send_role(const response *r, int64_t index, text_buffer *out)
{
    append_event(out,
                 envelope(r, json_pack("[{s:I,s:{s:s,s:s},s:n,s:n}]", "index", (json_int_t)index, "delta",
                                       "role", "assistant", "content", "", "logprobs", "finish_reason")));
}

/* What has come since the last chunk. */
static void send_chunk(const response *r, choice *c, int64_t index, bool finished, text_buffer *out)
{
    part *p = &c->part;
    json_t *text = json_text_stringn(p->text.text, p->text.bytes), *logprobs = logprobs_json(r, p);
    json_t *one = r->q->chat ? json_pack("{s:I,s:o,s:o,s:o}", "index", (json_int_t)index, "delta",
                                         p->text.bytes ? json_pack("{s:o}", "content", text) : json_object(),
                                         "logprobs", logprobs, "finish_reason", reason_json(c, finished))
                             : json_pack("{s:I,s:o,s:o,s:o}", "index", (json_int_t)index, "text", text,
                                         "logprobs", logprobs, "finish_reason", reason_json(c, finished));
    if (r->q->chat && !p->text.bytes) json_decref(text);
    append_event(out, envelope(r, json_pack("[o]", memory_check(one, "an answer"))));
    p->text.bytes = 0;
    lists_free(&p->lists);
    p->lists = lists_new(r->q);
}

static void open_choice(response *r, choice *c, int64_t prompt, int64_t index, text_buffer *out)
{
    c->open = true;
    c->part.lists = lists_new(r->q);
    if (r->q->stream && r->q->chat) send_role(r, index, out);
    if (!r->q->echo) return;
    const part *p = &r->prompt[prompt];
    append_text(&c->part.text, p->text.text, p->text.bytes);
    if (p->lists.tokens) lists_extend(&c->part.lists, &p->lists);
    c->part.offset = p->offset;
}

void response_add(response *r, const engine_event *e, text_buffer *out)
{
    const int64_t prompt = (int64_t)e->request;
    REQUIRE(prompt < r->prompts && e->choice < r->q->n, "an event of request %lld, choice %d",
            (long long)prompt, e->choice);
    if (e->kind == EVENT_PROMPT_TOKEN) {
        const int64_t bytes = e->index < r->hidden ? 0 : e->piece_bytes;
        append_text(&r->prompt[prompt].text, e->piece, bytes);
        add_token(r, &r->prompt[prompt], e, e->piece, bytes);
        return;
    }
    const int64_t index = prompt * r->q->n + e->choice;
    choice *c = &r->choice[index];
    if (!c->open) open_choice(r, c, prompt, index, out);
    append_text(&c->part.text, e->text, e->text_bytes);
    const bool finished = e->kind == EVENT_FINISHED;
    if (finished) {
        c->reason = e->reason;
        r->generated += e->index;
        if (e->reason != FINISH_STOP && e->reason != FINISH_LENGTH) r->failure = e->reason;
    } else
        add_token(r, &c->part, e, e->piece, e->piece_bytes);
    const bool something =
        c->part.text.bytes || (c->part.lists.tokens && json_array_size(c->part.lists.tokens));
    if (r->q->stream && (something || finished)) send_chunk(r, c, index, finished, out);
}

static json_t *whole_choice(const response *r, const choice *c, int64_t index)
{
    json_t *text = json_text_stringn(c->part.text.text, c->part.text.bytes),
           *logprobs = logprobs_json(r, &c->part);
    if (r->q->chat)
        return json_pack("{s:I,s:{s:s,s:o},s:o,s:o}", "index", (json_int_t)index, "message", "role",
                         "assistant", "content", text, "logprobs", logprobs, "finish_reason",
                         reason_json(c, true));
    return json_pack("{s:I,s:o,s:o,s:o}", "index", (json_int_t)index, "text", text, "logprobs", logprobs,
                     "finish_reason", reason_json(c, true));
}

void response_end(response *r, text_buffer *out)
{
    if (r->q->stream) {
        if (r->q->stream_usage) {
            json_t *last = envelope(r, json_array());
            json_object_set_new(last, "usage", usage(r));
            append_event(out, last);
        }
        const char done[] = "data: [DONE]\n\n";
        text_buffer_append(out, done, sizeof done - 1);
        return;
    }
    json_t *choices = json_array();
    for (int64_t i = 0; i < r->prompts * r->q->n; i++)
        json_array_append_new(choices, memory_check(whole_choice(r, &r->choice[i], i), "an answer"));
    json_t *whole = envelope(r, choices);
    json_object_set_new(whole, "usage", usage(r));
    response_json(out, whole);
}

/* ---- errors -------------------------------------------------------------------------------------------- */

static json_t *error_json(int code, const char *sentence)
{
    const char *type = code == 401   ? "authentication_error"
                       : code == 403 ? "permission_error"
                       : code == 404 ? "not_found_error"
                       : code == 429 ? "rate_limit_error"
                       : code == 503 ? "unavailable_error"
                       : code >= 500 ? "server_error"
                                     : "invalid_request_error";
    return json_pack("{s:{s:o,s:s,s:i}}", "error", "message", json_text_string(sentence), "type", type,
                     "code", code);
}

void response_error(text_buffer *out, int code, const char *sentence)
{
    response_json(out, error_json(code, sentence));
}

void response_error_event(text_buffer *out, int code, const char *sentence)
{
    append_event(out, error_json(code, sentence));
}
