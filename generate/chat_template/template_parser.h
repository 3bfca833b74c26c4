/* What the two halves of the parser share: template_parser.c has statements, template_expression.c
 * expressions. Private to these. */
#ifndef REMLA_GENERATE_CHAT_TEMPLATE_TEMPLATE_PARSER_H
#define REMLA_GENERATE_CHAT_TEMPLATE_TEMPLATE_PARSER_H
#include "generate/chat_template/template_lexer.h"
#include "generate/chat_template/template_node.h"

enum { PARSER_MAX_DEPTH = 100 }; /* of expressions in expressions and blocks in blocks */

typedef struct parser {
    const template_tokens *tokens;
    const template_token *at;
    node **all;
    int depth, loops; /* loops: around this place */
    message *why;
} parser;

node *parser_node(parser *p, node_kind kind); /* at the line of p->at */
const char *parser_text(const parser *p);     /* of p->at */
char *parser_copy(const char *text);
bool parser_is(const parser *p, template_token_kind kind, const char *text); /* text NULL: any */
bool parser_take(parser *p, template_token_kind kind, const char *text);     /* goes on if it is */
/* ERR_INPUT: "line 3: expected WHAT, found x". */
status parser_expected(const parser *p, const char *what);
status parser_want(parser *p, template_token_kind kind, const char *text);
/* Counts a level; ERR_INPUT when they are too many. parser_leave counts it off. */
status parser_enter(parser *p);
void parser_leave(parser *p);

/* An expression; with `tuple` also a, b, c, which is a list. */
status parse_expression(parser *p, bool tuple, node **out);
/* The same without `x if y else z`: what a loop goes over. */
status parse_without_condition(parser *p, node **out);
/* (a, b=c): NODE_ARGUMENT. `parameters`: names with defaults instead. */
status parse_arguments(parser *p, bool parameters, node **out);

#endif
