/* A model that is served, as far as requests need to know it; and the ids of their prompts. */
#ifndef REMLA_SERVE_PROMPT_H
#define REMLA_SERVE_PROMPT_H
#include "data/tokenizer/tokenizer.h"
#include "serve/request.h"

typedef struct chat_template chat_template;

typedef struct served_model {
    const char *name; /* under which requests ask for it */
    const tokenizer *tokenizer;
    const chat_template *chat; /* NULL: it has none */
    int64_t vocabulary;        /* ids that the model knows */
    int64_t longest;           /* tokens of prompt and answer */
    const int32_t *end;        /* (ends) tokens that end an answer */
    int ends;
    int64_t first;     /* token that stands before texts (BOS); -1: none */
    bool first_always; /* also where a request to /tokenize says add_special_tokens: false, as lm-eval always
                          does */
} served_model;

/* Turns texts into ids, one thread at a time. */
typedef struct prompt_encoder prompt_encoder;
prompt_encoder *prompt_encoder_new(const served_model *m);
void prompt_encoder_free(prompt_encoder *e); /* NULL is fine */

/* Appends the ids of a prompt to `out`. special: whether the token of the beginning is wanted. *hidden: how
 * many ids in front were put there and are not of the text. ERR_INPUT: the text cannot be encoded, or an id
 * is not the model's. */
status prompt_encode(prompt_encoder *e, const request_prompt *p, bool special, token_list *out,
                     int64_t *hidden, message *why);

/* Checks that a prompt of so many tokens has room for an answer, and sets *max_tokens if it is -1:
 * `otherwise`, or what there is room for. */
status prompt_check_length(const served_model *m, int64_t tokens, int64_t otherwise, int64_t *max_tokens,
                           message *why);

#endif
