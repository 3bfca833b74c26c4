/* /v1/completions and /v1/chat/completions, from the body to the answer. */
#ifndef REMLA_SERVE_COMPLETION_H
#define REMLA_SERVE_COMPLETION_H
#include "serve/http.h"
#include "serve/prompt.h"
#include "serve/worker.h"

/* What answers such a request. */
typedef struct completion_service {
    worker *worker;
    const served_model *model[WORKER_ENGINES];
    prompt_encoder *encoder[WORKER_ENGINES];
    int models;
    int64_t chat_tokens; /* max_tokens of a chat that names none, at most */
    /* Answers with an error, and counts it. */
    void (*refuse)(void *context, http_exchange *x, int code, const char *sentence);
    /* Counts an answer. code 499: the client has gone before it was complete. */
    void (*answered)(void *context, http_exchange *x, int code);
    void *context;
} completion_service;

/* The number of the model that a request names; the first one if it names none or another. */
int completion_model(const completion_service *s, const char *name);

void completion_answer(const completion_service *s, http_exchange *x, bool chat);

#endif
