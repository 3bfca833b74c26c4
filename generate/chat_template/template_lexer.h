/* Cuts the text of a chat template into tokens, with Jinja's rules for the white space around tags as
 * transformers sets them (trim_blocks and lstrip_blocks). */
#ifndef REMLA_GENERATE_CHAT_TEMPLATE_TEMPLATE_LEXER_H
#define REMLA_GENERATE_CHAT_TEMPLATE_TEMPLATE_LEXER_H
#include "base/status.h"
#include "data/tokenizer/text_buffer.h"

typedef enum template_token_kind {
    TOKEN_TEXT,         /* what stands between tags */
    TOKEN_OUTPUT_BEGIN, /* {{ */
    TOKEN_OUTPUT_END,   /* }} */
    TOKEN_BLOCK_BEGIN,  /* {% */
    TOKEN_BLOCK_END,    /* %} */
    TOKEN_NAME,
    TOKEN_STRING, /* its text is what the literal stands for */
    TOKEN_INTEGER,
    TOKEN_FLOAT,
    TOKEN_OPERATOR,
    TOKEN_EOF
} template_token_kind;

typedef struct template_token {
    template_token_kind kind;
    int line;            /* from 1 */
    int64_t from, bytes; /* its text, in template_tokens.text; a zero byte follows it */
} template_token;

/* Starts as {0}; the owner frees. */
typedef struct template_tokens {
    text_buffer text;
    template_token *token;
    int64_t count, capacity;
} template_tokens;

/* ERR_INPUT names the line of what is no Jinja, or is not supported. The last token is TOKEN_EOF. */
status template_lex(template_tokens *out, const char *source, int64_t bytes, message *why);
void template_tokens_free(template_tokens *t);

#endif
