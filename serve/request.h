/* Parses the JSON body of a request: checks it, and fills in the defaults. Functions of
 * bytes alone, without a model: serve/prompt.h checks later whether ids are in the vocabulary and
 * lengths fit. Names, defaults and meaning are those of OpenAI's API, beside which top_k, min_p and
 * repetition_penalty are those of vLLM's. A key that is not known is ignored, null is as if the key were
 * missing, and a wrong type or range is an ERR_INPUT whose sentence begins with the key. */
#ifndef REMLA_SERVE_REQUEST_H
#define REMLA_SERVE_REQUEST_H
#include "base/status.h"
#include "data/tokenizer/text_buffer.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct json_t json_t;

enum {
    REQUEST_PROMPTS = 1024, /* in one request */
    REQUEST_ANSWERS = 128,  /* `n`, to one prompt */
    REQUEST_LOGPROBS = 20,
    REQUEST_STOPS = 16,
    REQUEST_STOP_BYTES = 256,
};

/* A text, or ids. */
typedef struct request_prompt {
    const char *text; /* borrowed from the body; NULL: ids */
    int64_t bytes;
    token_list ids;
} request_prompt;

typedef struct request_message {
    const char *role; /* borrowed from the body */
    text_buffer content;
} request_message;

typedef struct request_stop {
    const char *text; /* borrowed from the body; not empty */
    int64_t bytes;
} request_stop;

/* A body of /v1/completions or /v1/chat/completions. */
typedef struct completion_request {
    json_t *body;      /* owned */
    const char *model; /* NULL: not given */
    bool chat;
    request_prompt *prompt; /* at least one; none of a chat */
    int64_t prompts;
    request_message *message; /* of a chat, at least one */
    int64_t messages;
    int64_t max_tokens; /* -1: not given */
    double temperature, top_p, min_p, repetition_penalty;
    int64_t top_k; /* 0: all */
    int64_t n;
    int64_t logprobs; /* alternatives to report beside each token; -1: no log-probabilities */
    bool echo, stream, stream_usage;
    bool seeded; /* a seed was given */
    uint64_t seed;
    request_stop stop[REQUEST_STOPS];
    int64_t stops;
} completion_request;

/* Fills *r, which the caller ends with completion_request_free whatever the status. */
status completion_request_parse(completion_request *r, bool chat, const char *body, int64_t bytes,
                                message *why);
void completion_request_free(completion_request *r);

/* A body of /tokenize or /detokenize. */
typedef struct tokenize_request {
    json_t *body;          /* owned */
    const char *model;     /* NULL: not given */
    request_prompt prompt; /* the text of /tokenize, or the ids of /detokenize */
    bool add_special_tokens;
} tokenize_request;
status tokenize_request_parse(tokenize_request *r, bool back, const char *body, int64_t bytes, message *why);
void tokenize_request_free(tokenize_request *r);

#endif
