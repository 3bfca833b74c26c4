/* Bodies of HTTP requests: the first byte chooses the route, the rest is the body. */
#include "serve/request.h"
#include "tests/fuzz/fuzz.h"
#include <stdlib.h>
#include <string.h>

/* What was accepted is within what the header promises. */
static void check_completion(const completion_request *r)
{
    if (!r->chat && (r->prompts < 1 || r->prompts > REQUEST_PROMPTS)) abort();
    if (r->chat && r->messages < 1) abort();
    if (r->n < 1 || r->n > REQUEST_ANSWERS || r->logprobs < -1 || r->logprobs > REQUEST_LOGPROBS) abort();
    if (r->stops < 0 || r->stops > REQUEST_STOPS || r->max_tokens < -1 || r->top_k < 0) abort();
    if (!(r->temperature >= 0 && r->temperature <= 100) || !(r->top_p >= 0 && r->top_p <= 1)) abort();
    if (!(r->min_p >= 0 && r->min_p <= 1) || !(r->repetition_penalty > 0 && r->repetition_penalty <= 100))
        abort();
    for (int64_t i = 0; i < r->stops; i++)
        if (r->stop[i].bytes < 1 || (int64_t)strlen(r->stop[i].text) != r->stop[i].bytes) abort();
    for (int64_t i = 0; i < r->prompts; i++)
        if (r->prompt[i].text && r->prompt[i].ids.count) abort();
    for (int64_t i = 0; i < r->messages; i++)
        if (!r->message[i].role || r->message[i].content.bytes < 0) abort();
}

static void completion(bool chat, const char *body, int64_t bytes)
{
    completion_request r;
    message why = {""};
    if (completion_request_parse(&r, chat, body, bytes, &why) == OK)
        check_completion(&r);
    else if (!why.text[0])
        abort();
    completion_request_free(&r);
}

static void tokens(bool back, const char *body, int64_t bytes)
{
    tokenize_request r;
    message why = {""};
    if (tokenize_request_parse(&r, back, body, bytes, &why) == OK) {
        if (!back && !r.prompt.text) abort();
        if (back && r.prompt.text) abort();
    } else if (!why.text[0])
        abort();
    tokenize_request_free(&r);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!size) return 0;
    const char *body = (const char *)data + 1;
    const int64_t bytes = (int64_t)size - 1;
    if (data[0] & 2)
        tokens(data[0] & 1, body, bytes);
    else
        completion(data[0] & 1, body, bytes);
    return 0;
}
