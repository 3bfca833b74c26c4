/* The messages of a chat as the text that the model was trained on. */
#ifndef REMLA_SERVE_CHAT_H
#define REMLA_SERVE_CHAT_H
#include "serve/prompt.h"

/* Appends the text, up to where the assistant speaks. ERR_INPUT: the model has no template, or it refuses. */
status chat_render(const served_model *m, const completion_request *q, text_buffer *out, message *why);

#endif
