/* The API: which route does what, over models that are served and the worker that computes. The handlers of
 * serve/http.h. */
#ifndef REMLA_SERVE_SERVICE_H
#define REMLA_SERVE_SERVICE_H
#include "serve/access.h"
#include "serve/http.h"
#include "serve/counters.h"
#include "serve/prompt.h"
#include "serve/worker.h"

typedef struct service service;

typedef struct service_settings {
    const served_model *model[WORKER_ENGINES]; /* of the worker's engines, in their order; the first one
                                                  answers requests that name no model, or none of these */
    int models;
    worker *worker;
    counters *counters;
    access_rules access;
    int64_t chat_tokens; /* max_tokens of a chat that names none, at most */
} service_settings;

/* Borrows what the settings point to. */
service *service_new(const service_settings *settings);
void service_free(service *s);

/* The handlers of http_settings; the context is the service. */
void service_admit(void *context, http_exchange *x);
void service_handle(void *context, http_exchange *x);
void service_too_large(void *context, http_exchange *x);

#endif
