/* Values of a template: jansson's, with Python's meaning of truth, equality, order, length and text. */
#ifndef REMLA_GENERATE_CHAT_TEMPLATE_TEMPLATE_VALUE_H
#define REMLA_GENERATE_CHAT_TEMPLATE_TEMPLATE_VALUE_H
#include "data/tokenizer/text_buffer.h"
#include <jansson.h>

/* What a name that has no value is. jansson takes it for null; it needs no json_decref. */
extern json_t template_undefined;
#define UNDEFINED (&template_undefined)

static inline bool value_is_none(const json_t *v) { return json_is_null(v) && v != UNDEFINED; }
/* Whole numbers, reals and truth values, with which Python computes, too. */
static inline bool value_is_number(const json_t *v) { return json_is_number(v) || json_is_boolean(v); }
static inline bool value_is_whole(const json_t *v) { return json_is_integer(v) || json_is_boolean(v); }
json_int_t value_whole(const json_t *v);
double value_real(const json_t *v);

bool value_is_true(const json_t *v);
bool value_equal(const json_t *a, const json_t *b);
/* -1, 0 or 1 in *order; false when the two have no order. */
bool value_order(const json_t *a, const json_t *b, int *order);
/* Returns whether `item` is an element of a list, a key, or a part of a string; false in *possible for
 * others. */
bool value_contains(const json_t *all, const json_t *item, bool *possible);
/* Returns the number of characters, elements or keys; -1: it has no length. */
int64_t value_length(const json_t *v);
const char *value_type(const json_t *v); /* "a string", for sentences */
/* Levels of nested lists and objects, `most` at most. Adds to *visited how many values it looked at. */
int value_depth(const json_t *v, int most, int64_t *visited);

/* Appends what Python's str() gives; `quoted`: what repr() gives. */
void value_text(const json_t *v, bool quoted, text_buffer *out);

/* The offset of character `index` of UTF-8 text; the number of bytes for the one behind the last. */
int64_t text_offset(const char *text, int64_t bytes, int64_t index);

#endif
