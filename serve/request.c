/* Reads the bodies of requests. jansson parses; the checks here are one function for each kind of value, and
 * the sentence says what was found in the client's own words. */
#include "serve/request.h"
#include "base/json_text.h"
#include "base/memory.h"
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A body of 8 MiB may hold four million numbers, of which jansson makes 200 MB. No prompt needs so many. */
enum { MOST_VALUES = 1 << 20, MOST_DEPTH = 32 };

/* ---- values -------------------------------------------------------------------------------------------- */

typedef struct found {
    char text[64];
} found;

/* Describes a value in a sentence. */
static found describe(const json_t *value)
{
    found f = {""};
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        strcpy(f.text, "an object");
        break;
    case JSON_ARRAY:
        strcpy(f.text, json_array_size(value) ? "a list" : "an empty list");
        break;
    case JSON_STRING: {
        const int most = 30;
        int bytes = (int)strnlen(json_string_value(value), most + 1);
        const bool cut = bytes > most;
        if (cut) /* before a whole character */
            for (bytes = most; bytes && (json_string_value(value)[bytes] & 0xc0) == 0x80;) bytes--;
        snprintf(f.text, sizeof f.text, "\"%.*s%s\"", bytes, json_string_value(value), cut ? "..." : "");
        break;
    }
    case JSON_INTEGER:
        snprintf(f.text, sizeof f.text, "%lld", (long long)json_integer_value(value));
        break;
    case JSON_REAL:
        snprintf(f.text, sizeof f.text, "%.9g", json_real_value(value));
        break;
    default:
        strcpy(f.text, json_is_true(value) ? "true" : json_is_false(value) ? "false" : "null");
    }
    return f;
}

/* Returns NULL for a missing key and for null. */
static const json_t *get(const json_t *body, const char *key)
{
    const json_t *value = json_object_get(body, key);
    return json_is_null(value) ? NULL : value;
}

static status get_real(const json_t *body, const char *key, double low, double high, double *out,
                       message *why)
{
    const json_t *value = get(body, key);
    if (!value) return OK;
    const double number = json_number_value(value);
    if (!json_is_number(value) || !(number >= low && number <= high))
        return fail(why, ERR_INPUT, "%s is %s; expected a number from %g to %g", key, describe(value).text,
                    low, high);
    *out = number;
    return OK;
}

/* 16.0 is a whole number, too: some clients know no others. */
static bool whole_value(const json_t *value, int64_t *out)
{
    if (json_is_integer(value)) *out = json_integer_value(value);
    if (!json_is_real(value)) return json_is_integer(value);
    const double number = json_real_value(value);
    if (!(fabs(number) < 9e15) || number != floor(number)) return false;
    *out = (int64_t)number;
    return true;
}

static status get_whole(const json_t *body, const char *key, int64_t low, int64_t high, int64_t *out,
                        message *why)
{
    const json_t *value = get(body, key);
    if (!value) return OK;
    int64_t number = 0;
    if (!whole_value(value, &number) || number < low || number > high)
        return fail(why, ERR_INPUT, "%s is %s; expected a whole number from %lld to %lld", key,
                    describe(value).text, (long long)low, (long long)high);
    *out = number;
    return OK;
}

static status get_bool(const json_t *body, const char *key, bool *out, message *why)
{
    const json_t *value = get(body, key);
    if (!value) return OK;
    if (!json_is_boolean(value))
        return fail(why, ERR_INPUT, "%s is %s; expected true or false", key, describe(value).text);
    *out = json_is_true(value);
    return OK;
}

static status get_text(const json_t *body, const char *key, const char **out, message *why)
{
    const json_t *value = get(body, key);
    if (!value) return OK;
    if (!json_is_string(value))
        return fail(why, ERR_INPUT, "%s is %s; expected a string", key, describe(value).text);
    *out = json_string_value(value);
    return OK;
}

static status parse(json_t **body, const char *text, int64_t bytes, message *why)
{
    *body = NULL;
    const char *too_much = json_text_excess(text, bytes, MOST_DEPTH, MOST_VALUES);
    if (too_much) return fail(why, ERR_INPUT, "the request's body: its JSON %s", too_much);
    json_error_t error;
    /* A \u0000 in a prompt is a character like others. */
    *body = json_loadb(text, (size_t)bytes, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
    if (!*body)
        return fail(why, ERR_INPUT, "the request's body is not JSON: %s (line %d, column %d)", error.text,
                    error.line, error.column);
    if (!json_is_object(*body))
        return fail(why, ERR_INPUT, "the request's body is %s; expected an object", describe(*body).text);
    return OK;
}

/* ---- prompts ------------------------------------------------------------------------------------------- */

static status read_ids(const json_t *list, const char *key, token_list *ids, message *why)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *value = json_array_get(list, i);
        int64_t id = -1;
        if (!whole_value(value, &id) || id < 0 || id > INT32_MAX)
            return fail(why, ERR_INPUT, "%s has %s among its token ids; expected whole numbers from 0", key,
                        describe(value).text);
        token_list_add(ids, (uint32_t)id);
    }
    return OK;
}

/* A text, or a list of ids; the same for all prompts of a request. */
static status read_prompt(const json_t *value, bool texts, request_prompt *p, message *why)
{
    if (json_is_array(value) && !texts) return read_ids(value, "prompt", &p->ids, why);
    if (!json_is_string(value) || !texts)
        return fail(why, ERR_INPUT,
                    "prompt has %s in its list; expected strings only, or lists of token ids only",
                    describe(value).text);
    p->text = json_string_value(value);
    p->bytes = (int64_t)json_string_length(value);
    return OK;
}

/* A text, a list of texts, a list of ids or a list of lists of ids. */
static status read_prompts(completion_request *r, message *why)
{
    const json_t *value = get(r->body, "prompt");
    if (!value) return fail(why, ERR_INPUT, "prompt is missing: a string or token ids, or a list of these");
    if (!json_is_string(value) && !json_is_array(value))
        return fail(why, ERR_INPUT, "prompt is %s; expected a string or token ids, or a list of these",
                    describe(value).text);
    const bool one = json_is_string(value) || json_is_number(json_array_get(value, 0));
    const size_t count = one ? 1 : json_array_size(value);
    if (!count) return fail(why, ERR_INPUT, "prompt is an empty list; expected at least one prompt");
    if (count > REQUEST_PROMPTS)
        return fail(why, ERR_INPUT, "prompt is a list of %zu; expected at most %d", count, REQUEST_PROMPTS);
    r->prompt = memory_new((int64_t)count, sizeof *r->prompt, "prompts");
    r->prompts = (int64_t)count;
    const bool texts = json_is_string(one ? value : json_array_get(value, 0));
    for (size_t i = 0; i < count; i++)
        TRY(read_prompt(one ? value : json_array_get(value, i), texts, &r->prompt[i], why));
    return OK;
}

/* ---- messages of a chat -------------------------------------------------------------------------------- */

/* A string, or a list of parts {"type": "text", "text": ...}. */
static status read_content(const json_t *value, text_buffer *out, message *why)
{
    if (!value || json_is_null(value)) return OK;
    if (json_is_string(value)) {
        text_buffer_append(out, json_string_value(value), (int64_t)json_string_length(value));
        return OK;
    }
    if (!json_is_array(value))
        return fail(why, ERR_INPUT, "messages: content is %s; expected a string or a list of parts of text",
                    describe(value).text);
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *part = json_array_get(value, i), *text = json_object_get(part, "text");
        const char *type = json_string_value(json_object_get(part, "type"));
        if (!type || strcmp(type, "text") || !json_is_string(text))
            return fail(why, ERR_INPUT,
                        "messages: a part of content is not {\"type\": \"text\", \"text\": ...}");
        text_buffer_append(out, json_string_value(text), (int64_t)json_string_length(text));
    }
    return OK;
}

static status read_messages(completion_request *r, message *why)
{
    const json_t *list = get(r->body, "messages");
    if (!list)
        return fail(why, ERR_INPUT, "messages is missing: a list of {\"role\": ..., \"content\": ...}");
    if (!json_is_array(list) || !json_array_size(list))
        return fail(why, ERR_INPUT, "messages is %s; expected a list of {\"role\": ..., \"content\": ...}",
                    describe(list).text);
    r->message = memory_new((int64_t)json_array_size(list), sizeof *r->message, "messages");
    r->messages = (int64_t)json_array_size(list);
    for (int64_t i = 0; i < r->messages; i++) {
        const json_t *one = json_array_get(list, (size_t)i);
        r->message[i].role = json_string_value(json_object_get(one, "role"));
        if (!r->message[i].role)
            return fail(why, ERR_INPUT,
                        "messages: message %lld has no role; expected {\"role\": ..., \"content\": ...}",
                        (long long)i);
        TRY(read_content(json_object_get(one, "content"), &r->message[i].content, why));
    }
    return OK;
}

/* ---- how to sample, and what to report ----------------------------------------------------------------- */

static status add_stop(completion_request *r, const json_t *value, message *why)
{
    const size_t bytes = json_string_length(value);
    if (!json_is_string(value) || !bytes || bytes > REQUEST_STOP_BYTES ||
        strlen(json_string_value(value)) != bytes)
        return fail(why, ERR_INPUT, "stop has %s; expected strings of 1 to %d bytes without a zero",
                    describe(value).text, REQUEST_STOP_BYTES);
    if (r->stops == REQUEST_STOPS)
        return fail(why, ERR_INPUT, "stop has more than %d strings", REQUEST_STOPS);
    r->stop[r->stops++] = (request_stop){json_string_value(value), (int64_t)json_string_length(value)};
    return OK;
}

static status read_stop(completion_request *r, message *why)
{
    const json_t *value = get(r->body, "stop");
    if (!value) return OK;
    if (!json_is_array(value)) return add_stop(r, value, why);
    for (size_t i = 0; i < json_array_size(value); i++) TRY(add_stop(r, json_array_get(value, i), why));
    return OK;
}

static status read_sampling(completion_request *r, message *why)
{
    const json_t *body = r->body;
    int64_t seed = 0, top_k = 0;
    TRY(get_whole(body, "max_tokens", 0, INT32_MAX, &r->max_tokens, why));
    if (r->chat) TRY(get_whole(body, "max_completion_tokens", 0, INT32_MAX, &r->max_tokens, why));
    TRY(get_real(body, "temperature", 0, 100, &r->temperature, why));
    TRY(get_real(body, "top_p", 0, 1, &r->top_p, why));
    TRY(get_real(body, "min_p", 0, 1, &r->min_p, why));
    TRY(get_real(body, "repetition_penalty", 0.01, 100, &r->repetition_penalty, why));
    TRY(get_whole(body, "top_k", -1, INT32_MAX, &top_k, why));
    r->top_k = top_k > 0 ? top_k : 0; /* -1 is vLLM's word for all */
    TRY(get_whole(body, "n", 1, REQUEST_ANSWERS, &r->n, why));
    TRY(get_whole(body, "seed", INT64_MIN, INT64_MAX, &seed, why));
    r->seed = (uint64_t)seed;
    r->seeded = get(body, "seed") != NULL;
    return read_stop(r, why);
}

/* An answer that silently differs from the request would be worse than none. */
static status refuse_unsupported(const completion_request *r, message *why)
{
    static const char *const penalties[] = {"frequency_penalty", "presence_penalty"};
    static const char *const others[] = {"suffix", "logit_bias", "tools", "functions"};
    for (size_t i = 0; i < sizeof penalties / sizeof penalties[0]; i++) {
        double value = 0;
        TRY(get_real(r->body, penalties[i], -2, 2, &value, why));
        if (value != 0)
            return fail(why, ERR_INPUT, "%s is %g; this server has repetition_penalty only", penalties[i],
                        value);
    }
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
        const json_t *value = get(r->body, others[i]);
        const bool empty =
            !value || json_object_size(value) + json_array_size(value) + json_string_length(value) == 0;
        if (!empty) return fail(why, ERR_INPUT, "%s is not supported by this server", others[i]);
    }
    int64_t best_of = r->n;
    TRY(get_whole(r->body, "best_of", 1, REQUEST_ANSWERS, &best_of, why));
    if (best_of != r->n)
        return fail(why, ERR_INPUT, "best_of is %lld; expected n, which is %lld", (long long)best_of,
                    (long long)r->n);
    const json_t *format = get(r->body, "response_format");
    const char *type = json_string_value(json_object_get(format, "type"));
    if (format && (!type || strcmp(type, "text")))
        return fail(why, ERR_INPUT,
                    "response_format is not {\"type\": \"text\"}, the only one of this server");
    return OK;
}

/* Completions: a number of alternatives. Chat: true, and a number beside it. */
static status read_logprobs(completion_request *r, message *why)
{
    if (!r->chat) return get_whole(r->body, "logprobs", 0, REQUEST_LOGPROBS, &r->logprobs, why);
    bool wanted = false;
    int64_t top = -1;
    TRY(get_bool(r->body, "logprobs", &wanted, why));
    TRY(get_whole(r->body, "top_logprobs", 0, REQUEST_LOGPROBS, &top, why));
    if (top >= 0 && !wanted) return fail(why, ERR_INPUT, "top_logprobs is given, but logprobs is not true");
    if (wanted) r->logprobs = top < 0 ? 0 : top;
    return OK;
}

static status read_reporting(completion_request *r, message *why)
{
    TRY(read_logprobs(r, why));
    TRY(get_bool(r->body, "stream", &r->stream, why));
    if (!r->chat) TRY(get_bool(r->body, "echo", &r->echo, why));
    const json_t *options = get(r->body, "stream_options");
    if (options && !json_is_object(options))
        return fail(why, ERR_INPUT, "stream_options is %s; expected an object", describe(options).text);
    TRY(get_bool(options, "include_usage", &r->stream_usage, why));
    if (r->max_tokens == 0 && !r->echo)
        return fail(why, ERR_INPUT, "max_tokens is 0 without echo: nothing would be answered");
    return OK;
}

status completion_request_parse(completion_request *r, bool chat, const char *body, int64_t bytes,
                                message *why)
{
    *r = (completion_request){.chat = chat,
                              .max_tokens = -1,
                              .temperature = 1,
                              .top_p = 1,
                              .repetition_penalty = 1,
                              .n = 1,
                              .logprobs = -1};
    TRY(parse(&r->body, body, bytes, why));
    TRY(get_text(r->body, "model", &r->model, why));
    TRY(chat ? read_messages(r, why) : read_prompts(r, why));
    TRY(read_sampling(r, why));
    TRY(refuse_unsupported(r, why));
    return read_reporting(r, why);
}

void completion_request_free(completion_request *r)
{
    for (int64_t i = 0; i < r->prompts; i++) token_list_free(&r->prompt[i].ids);
    for (int64_t i = 0; i < r->messages; i++) text_buffer_free(&r->message[i].content);
    free(r->prompt);
    free(r->message);
    json_decref(r->body);
    *r = (completion_request){0};
}

/* ---- texts to ids and back ----------------------------------------------------------------------------- */

status tokenize_request_parse(tokenize_request *r, bool back, const char *body, int64_t bytes, message *why)
{
    *r = (tokenize_request){.add_special_tokens = true};
    TRY(parse(&r->body, body, bytes, why));
    TRY(get_text(r->body, "model", &r->model, why));
    TRY(get_bool(r->body, "add_special_tokens", &r->add_special_tokens, why));
    const char *key = back ? "tokens" : "prompt";
    const json_t *value = get(r->body, key);
    if (!value)
        return fail(why, ERR_INPUT, "%s is missing: %s", key, back ? "a list of token ids" : "a string");
    if (back && !json_is_array(value))
        return fail(why, ERR_INPUT, "tokens is %s; expected a list of token ids", describe(value).text);
    if (back) return read_ids(value, key, &r->prompt.ids, why);
    if (!json_is_string(value))
        return fail(why, ERR_INPUT, "prompt is %s; expected a string", describe(value).text);
    r->prompt.text = json_string_value(value);
    r->prompt.bytes = (int64_t)json_string_length(value);
    return OK;
}

void tokenize_request_free(tokenize_request *r)
{
    token_list_free(&r->prompt.ids);
    json_decref(r->body);
    *r = (tokenize_request){0};
}
