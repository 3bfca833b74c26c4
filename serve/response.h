/* Answers as OpenAI's API has them: JSON of completions and chats, whole or as a stream of server-sent
 * events, made of an engine's events; and errors. Every log-probability is printed with %.17g, so numbers
 * that are equal print equal; what is not finite, or below, becomes -9999. */
#ifndef REMLA_SERVE_RESPONSE_H
#define REMLA_SERVE_RESPONSE_H
#include "generate/engine.h"
#include "serve/request.h"

typedef struct response response;

/* Borrows q, t and id. t: spells the alternatives of a token. model: the name to answer
 * under. hidden: tokens at the beginning of a prompt that the server itself has put there (BOS); their text
 * is empty, so that text and text_offset are those of what the client sent. prompt_tokens: of all prompts. */
response *response_new(const completion_request *q, const tokenizer *t, const char *id, const char *model,
                       int64_t hidden, int64_t prompt_tokens);
void response_free(response *r);

/* Takes an event in; event->request is the number of the prompt. Events of one prompt come in the engine's
 * order. Whole: appends nothing. Stream: appends to `out` the server-sent events that are due, if any. */
void response_add(response *r, const engine_event *e, text_buffer *out);
/* The end, when all choices are finished. Whole: the JSON. Stream: usage, if wanted, and [DONE]. */
void response_end(response *r, text_buffer *out);
/* Returns why a choice has failed (the server cancelled it, the model's numbers were not finite), or
 * FINISH_STOP if all is well. */
finish_reason response_failure(const response *r);

/* Appends {"error": {"message", "type", "code"}}. The type follows from the code. */
void response_error(text_buffer *out, int code, const char *message);
/* The same as an event of a stream, which it ends. */
void response_error_event(text_buffer *out, int code, const char *message);

/* Appends `json`, compactly, and takes it over. */
void response_json(text_buffer *out, json_t *json);

#endif
