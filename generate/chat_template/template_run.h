/* What the files that run a template share. Private to generate/chat_template.
 *
 * Functions that make a value return a reference that the caller owns, or NULL when they failed: x->why then
 * has the sentence. */
#ifndef REMLA_GENERATE_CHAT_TEMPLATE_TEMPLATE_RUN_H
#define REMLA_GENERATE_CHAT_TEMPLATE_TEMPLATE_RUN_H
#include "base/status.h"
#include "generate/chat_template/template_node.h"
#include "generate/chat_template/template_value.h"
#include <time.h>

enum {
    RUN_MAX_DEPTH = 300,    /* of calls and of values in an expression */
    RUN_MAX_NESTING = 64,   /* of lists and objects that a template makes */
    RUN_MAX_RANGE = 100000, /* of range(), as in Jinja's sandbox */
    RUN_MAX_TEXT = 1 << 24, /* bytes of what comes out, and of any string on the way */
    RUN_MAX_WORK = 1 << 26  /* steps, and bytes of all strings on the way */
};

typedef struct scope {
    json_t *names;
    struct scope *outer;
} scope;

typedef struct template_run {
    scope *scope, *top; /* the innermost; that of the template itself, which macros see */
    const node **macro; /* (macros) */
    int64_t macros, macro_capacity;
    json_t *namespaces; /* a list of them: they are objects that may be changed */
    text_buffer *out;
    struct tm now;
    int depth, line;
    int64_t work;
    message *why;
} template_run;

/* A sentence "line 3: ...". Returns NULL. */
json_t *run_failed(template_run *x, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool run_charge(template_run *x, int64_t work); /* false, and a sentence: it is too much */

/* Strings that are made on the way count as work. */
json_t *run_string(template_run *x, const char *text, int64_t bytes);
json_t *run_text(template_run *x, text_buffer *text); /* takes the buffer over */
json_t *run_bool(bool value);
json_t *run_whole(json_int_t value);
bool run_append(template_run *x, json_t *list, json_t *value); /* takes value over; false if that is NULL */

/* ---- calls: arguments, by place and by name, go to the places of `parameters` ("old,new,count") ---- */

enum { RUN_MAX_ARGUMENTS = 4 };
typedef struct arguments {
    json_t *given[RUN_MAX_ARGUMENTS]; /* borrowed from `values`; NULL: not given */
    json_t *values;                   /* what was computed for them */
} arguments;
/* Computes the arguments of a call and binds them; at least `least` must be there. `what` names the call in
 * messages. */
bool run_arguments(template_run *x, const node *list, const char *what, const char *parameters, int least,
                   arguments *out);
void arguments_free(arguments *a);

/* ---- evaluation ---- */

json_t *run_expression(template_run *x, const node *n);
/* Statements, appended to x->out. */
typedef enum run_flow { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE, FLOW_FAILED } run_flow;
run_flow run_statements(template_run *x, const node *n);

bool scope_set(template_run *x, scope *s, const char *name, json_t *value); /* borrows value */
json_t *scope_get(const template_run *x, const char *name);                 /* borrowed; UNDEFINED */
const node *run_macro_named(const template_run *x, const char *name);
json_t *run_macro(template_run *x, const node *macro, const node *list);

/* The elements of a list, the keys of an object, the characters of a string. */
json_t *run_elements(template_run *x, const json_t *v);
/* A list or object that the template has made; fails when it holds a namespace or is nested too deep. Takes
 * it over. */
json_t *run_container(template_run *x, json_t *made);
bool run_is_namespace(const template_run *x, const json_t *v);
json_t *run_item(template_run *x, const json_t *v, const json_t *key);
json_t *run_slice(template_run *x, const json_t *v, json_t *const part[3]);

/* The tables of names. */
json_t *run_filter(template_run *x, const char *name, json_t *v, const node *list);
json_t *run_filter_named(template_run *x, const char *name, json_t *v); /* without arguments */
/* 1, 0, or -1: failed. */
int run_test(template_run *x, const char *name, json_t *v, const node *list);
int run_test_with(template_run *x, const char *name, json_t *v, json_t *argument); /* NULL: none */
json_t *run_method(template_run *x, json_t *v, const char *name, const node *list);
json_t *run_function(template_run *x, const char *name, const node *list);

json_t *run_binary(template_run *x, const char *op, json_t *a, json_t *b);
int run_comparison(template_run *x, const char *op, json_t *a, json_t *b);

/* Strings as Python's methods make them; also filters. */
json_t *text_strip(template_run *x, const json_t *v, const json_t *characters, bool left, bool right);
json_t *text_replace(template_run *x, const json_t *v, const json_t *from, const json_t *to, int64_t most);
typedef enum text_case { CASE_UPPER, CASE_LOWER, CASE_CAPITAL, CASE_TITLE } text_case;
json_t *text_cased(template_run *x, const json_t *v, text_case wanted);

#endif
