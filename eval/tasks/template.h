/* Makes a prompt of a template and the fields of a question. A template is text with fields in braces:
 *
 *   {question}               the field of that name: a text or a whole number
 *   {ctx_b|capitalize}       the same, filtered (eval/tasks/filters.h)
 *   {choices|letters}        all choices, a line for each: "A. first", "B. second" ...
 *   {choice}, {letter}       the choice that the text is made for, and its letter
 *   {{ and }}                braces */
#ifndef REMLA_EVAL_TASKS_TEMPLATE_H
#define REMLA_EVAL_TASKS_TEMPLATE_H
#include "eval/tasks/filters.h"

typedef struct json_t json_t;

enum { MOST_CHOICES = 26 }; /* as many as there are letters */

/* What a template is filled with. Borrowed. */
typedef struct template_values {
    const json_t *line; /* the question's fields */
    const char *const *choice;
    int choices, current; /* current: the choice that the text is made for */
} template_values;

/* Appends the filled template. ERR_INPUT: a field that is missing or not a text, or what a filter says. */
status template_render(text_buffer *out, const char *template, const template_values *v, message *why);

#endif
