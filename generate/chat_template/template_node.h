/* The tree of a parsed template. One type for all nodes: a, b, c and text mean what the table says, and lists
 * hang together by `next`. */
#ifndef REMLA_GENERATE_CHAT_TEMPLATE_TEMPLATE_NODE_H
#define REMLA_GENERATE_CHAT_TEMPLATE_TEMPLATE_NODE_H
#include "base/status.h"
#include <stdbool.h>
#include <stdint.h>

typedef struct json_t json_t;

typedef enum node_kind {
    /* expressions */
    NODE_CONSTANT, /* value */
    NODE_NAME,     /* text */
    NODE_LIST,     /* a: elements (a tuple is a list) */
    NODE_DICT,     /* a: NODE_PAIR (a: key, b: value) */
    NODE_PAIR,
    NODE_ATTRIBUTE,   /* a.text */
    NODE_ITEM,        /* a[b] */
    NODE_SLICE,       /* a[b:c:d], each of b, c, d may be NULL */
    NODE_CALL,        /* a(b: NODE_ARGUMENT) */
    NODE_ARGUMENT,    /* text (NULL: by place) = a */
    NODE_FILTER,      /* a | text(b) */
    NODE_TEST,        /* a is text(b) */
    NODE_UNARY,       /* text ("-", "+", "not") a */
    NODE_BINARY,      /* a text b; "and" and "or" as well */
    NODE_COMPARE,     /* a, then b: NODE_COMPARISON, each with the one before it */
    NODE_COMPARISON,  /* text ("==", "in", "not in" ...) a */
    NODE_CONDITIONAL, /* b if a else c (may be NULL) */
    /* statements */
    NODE_TEXT,      /* value */
    NODE_OUTPUT,    /* a */
    NODE_IF,        /* a; b: body; c: statements of else, or a NODE_IF */
    NODE_FOR,       /* a: names; b: what; c: body; d: else; e: condition, or NULL */
    NODE_SET,       /* a: targets, NODE_NAME or NODE_ATTRIBUTE of one; b: value */
    NODE_SET_BLOCK, /* a: target; b: body */
    NODE_MACRO,     /* text; a: parameters, NODE_ARGUMENT with its default or NULL; b: body */
    NODE_BREAK,
    NODE_CONTINUE,
    NODE_GROUP /* b: body */
} node_kind;

typedef struct node {
    node_kind kind;
    int line;
    char *text;
    json_t *value;
    struct node *a, *b, *c, *d, *e;
    struct node *next;
    struct node *made_before; /* of all nodes of the template */
} node;

/* Parses a template into statements; *all is the chain by which node_free_all frees them, whatever the
 * status. ERR_INPUT names the line of what is wrong or not supported. */
status template_parse(node **statements, node **all, const char *source, int64_t bytes, message *why);
void node_free_all(node *all);

#endif
