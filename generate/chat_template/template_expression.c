/* Expressions of Jinja, in the order of jinja2/parser.py, from what binds least to what binds most: if-else,
 * or, and, not, comparisons, + and -, ~, * / // %, **, signs, then what stands behind a value: .name, [..],
 * (..), | filter, is test. */
#include "generate/chat_template/template_parser.h"
#include "base/memory.h"
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static status parse_condition(parser *p, node **out);
static status parse_unary(parser *p, bool filters, node **out);

static bool is_operator(const parser *p, const char *text) { return parser_is(p, TOKEN_OPERATOR, text); }
static bool take_operator(parser *p, const char *text) { return parser_take(p, TOKEN_OPERATOR, text); }
static bool take_name(parser *p, const char *text) { return parser_take(p, TOKEN_NAME, text); }

static node *join(parser *p, node_kind kind, const char *text, node *a, node *b)
{
    node *n = parser_node(p, kind);
    n->text = text ? parser_copy(text) : NULL;
    n->a = a;
    n->b = b;
    return n;
}

/* ---- values -------------------------------------------------------------------------------------------- */

static status constant(parser *p, json_t *value, node **out)
{
    *out = parser_node(p, NODE_CONSTANT);
    (*out)->value = memory_check(value, "a constant");
    p->at++;
    return OK;
}

static status parse_number(parser *p, node **out)
{
    char digits[64];
    size_t n = 0;
    for (const char *c = parser_text(p); *c; c++)
        if (*c != '_' && n < sizeof digits - 1) digits[n++] = *c;
    digits[n] = 0;
    if (p->at->kind == TOKEN_FLOAT && isfinite(strtod(digits, NULL)))
        return constant(p, json_real(strtod(digits, NULL)), out);
    if (p->at->kind == TOKEN_FLOAT) return parser_expected(p, "a finite number");
    errno = 0;
    const long long value = strtoll(digits, NULL, 10);
    if (errno || n == sizeof digits - 1) return parser_expected(p, "a number below 2^63");
    return constant(p, json_integer(value), out);
}

/* "a" "b" is one string. */
static status parse_string(parser *p, node **out)
{
    text_buffer text = {0};
    node *n = parser_node(p, NODE_CONSTANT);
    for (; p->at->kind == TOKEN_STRING; p->at++) text_buffer_append(&text, parser_text(p), p->at->bytes);
    n->value = json_stringn_nocheck(text.bytes ? text.text : "", (size_t)text.bytes);
    text_buffer_free(&text);
    *out = n;
    return OK;
}

/* Elements up to `close`. */
static status parse_elements(parser *p, const char *close, node **first, int *count, bool *comma)
{
    node **end = first;
    *count = 0;
    *comma = false;
    while (!take_operator(p, close)) {
        if (*count && !*comma) return parser_expected(p, close);
        TRY(parse_condition(p, end));
        end = &(*end)->next;
        ++*count;
        *comma = take_operator(p, ",");
    }
    return OK;
}

static status parse_brackets(parser *p, const char *close, node **out)
{
    int count;
    bool comma;
    node *list = parser_node(p, NODE_LIST);
    p->at++;
    TRY(parse_elements(p, close, &list->a, &count, &comma));
    const bool grouped = close[0] == ')' && count == 1 && !comma;
    *out = grouped ? list->a : list;
    return OK;
}

static status parse_dict(parser *p, node **out)
{
    node *dict = parser_node(p, NODE_DICT), **end = &dict->a;
    bool comma = true;
    p->at++;
    while (!take_operator(p, "}")) {
        if (!comma) return parser_expected(p, "}");
        node *pair = parser_node(p, NODE_PAIR);
        TRY(parse_condition(p, &pair->a));
        TRY(parser_want(p, TOKEN_OPERATOR, ":"));
        TRY(parse_condition(p, &pair->b));
        *end = pair;
        end = &pair->next;
        comma = take_operator(p, ",");
    }
    *out = dict;
    return OK;
}

static status parse_name(parser *p, node **out)
{
    const char *name = parser_text(p);
    if (!strcmp(name, "true") || !strcmp(name, "True")) return constant(p, json_true(), out);
    if (!strcmp(name, "false") || !strcmp(name, "False")) return constant(p, json_false(), out);
    if (!strcmp(name, "none") || !strcmp(name, "None")) return constant(p, json_null(), out);
    *out = parser_node(p, NODE_NAME);
    (*out)->text = parser_copy(name);
    p->at++;
    return OK;
}

static status parse_primary(parser *p, node **out)
{
    if (p->at->kind == TOKEN_NAME) return parse_name(p, out);
    if (p->at->kind == TOKEN_STRING) return parse_string(p, out);
    if (p->at->kind == TOKEN_INTEGER || p->at->kind == TOKEN_FLOAT) return parse_number(p, out);
    if (is_operator(p, "(")) return parse_brackets(p, ")", out);
    if (is_operator(p, "[")) return parse_brackets(p, "]", out);
    if (is_operator(p, "{")) return parse_dict(p, out);
    return parser_expected(p, "an expression");
}

/* ---- behind a value ------------------------------------------------------------------------------------ */

static status parse_attribute(parser *p, node **out)
{
    p->at++;
    if (p->at->kind == TOKEN_INTEGER) { /* x.0 is x[0] */
        node *index;
        TRY(parse_number(p, &index));
        *out = join(p, NODE_ITEM, NULL, *out, index);
        return OK;
    }
    if (p->at->kind != TOKEN_NAME) return parser_expected(p, "a name");
    *out = join(p, NODE_ATTRIBUTE, parser_text(p), *out, NULL);
    p->at++;
    return OK;
}

static status parse_subscript(parser *p, node **out)
{
    node *part[3] = {0};
    int colons = 0;
    const int line = p->at->line;
    p->at++;
    while (!take_operator(p, "]")) {
        if (take_operator(p, ":")) {
            if (++colons > 2) return parser_expected(p, "]");
        } else if (part[colons])
            return parser_expected(p, "]");
        else
            TRY(parse_condition(p, &part[colons]));
    }
    if (!colons && !part[0]) return parser_expected(p, "an index");
    node *n = join(p, colons ? NODE_SLICE : NODE_ITEM, NULL, *out, part[0]);
    n->c = part[1], n->d = part[2], n->line = line;
    *out = n;
    return OK;
}

status parse_arguments(parser *p, bool parameters, node **out)
{
    node **end = out;
    bool comma = true;
    *out = NULL;
    TRY(parser_want(p, TOKEN_OPERATOR, "("));
    while (!take_operator(p, ")")) {
        if (!comma) return parser_expected(p, ")");
        if (is_operator(p, "*") || is_operator(p, "**"))
            return fail(p->why, ERR_INPUT, "line %d: *arguments are not supported", p->at->line);
        node *argument = parser_node(p, NODE_ARGUMENT);
        const bool named = p->at->kind == TOKEN_NAME && p->at[1].kind == TOKEN_OPERATOR &&
                           !strcmp(p->tokens->text.text + p->at[1].from, "=");
        if (parameters && p->at->kind != TOKEN_NAME) return parser_expected(p, "a name");
        if (named || parameters) {
            argument->text = parser_copy(parser_text(p));
            p->at += named ? 2 : 1;
        }
        if (named || !parameters) TRY(parse_condition(p, &argument->a));
        *end = argument;
        end = &argument->next;
        comma = take_operator(p, ",");
    }
    return OK;
}

static status parse_call(parser *p, node **out)
{
    node *call = join(p, NODE_CALL, NULL, *out, NULL);
    TRY(parse_arguments(p, false, &call->b));
    *out = call;
    return OK;
}

static status parse_postfix(parser *p, node **out)
{
    for (;;) {
        if (is_operator(p, "."))
            TRY(parse_attribute(p, out));
        else if (is_operator(p, "["))
            TRY(parse_subscript(p, out));
        else if (is_operator(p, "("))
            TRY(parse_call(p, out));
        else
            return OK;
    }
}

static status parse_filter(parser *p, node **out)
{
    p->at++;
    if (p->at->kind != TOKEN_NAME) return parser_expected(p, "the name of a filter");
    node *filter = join(p, NODE_FILTER, parser_text(p), *out, NULL);
    p->at++;
    if (is_operator(p, "(")) TRY(parse_arguments(p, false, &filter->b));
    *out = filter;
    return OK;
}

/* `is divisibleby 3`: one value may follow without brackets. */
static bool begins_argument(const parser *p)
{
    static const char *const others[] = {"else", "or", "and", "is", "if", "in", "not"};
    if (p->at->kind == TOKEN_NAME) {
        for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
            if (parser_is(p, TOKEN_NAME, others[i])) return false;
        return true;
    }
    return p->at->kind == TOKEN_STRING || p->at->kind == TOKEN_INTEGER || p->at->kind == TOKEN_FLOAT ||
           is_operator(p, "[") || is_operator(p, "{");
}

static status parse_test(parser *p, node **out)
{
    p->at++;
    const bool negated = take_name(p, "not");
    if (p->at->kind != TOKEN_NAME) return parser_expected(p, "the name of a test");
    node *test = join(p, NODE_TEST, parser_text(p), *out, NULL);
    p->at++;
    if (is_operator(p, "(")) {
        TRY(parse_arguments(p, false, &test->b));
    } else if (begins_argument(p)) {
        test->b = parser_node(p, NODE_ARGUMENT);
        TRY(parse_primary(p, &test->b->a));
        TRY(parse_postfix(p, &test->b->a));
    }
    *out = negated ? join(p, NODE_UNARY, "not", test, NULL) : test;
    return OK;
}

static status parse_filters(parser *p, node **out)
{
    for (;;) {
        if (is_operator(p, "|"))
            TRY(parse_filter(p, out));
        else if (parser_is(p, TOKEN_NAME, "is"))
            TRY(parse_test(p, out));
        else if (is_operator(p, "("))
            TRY(parse_call(p, out));
        else
            return OK;
    }
}

/* ---- operators ----------------------------------------------------------------------------------------- */

static status parse_sign(parser *p, node **out)
{
    const char *sign = is_operator(p, "-") ? "-" : "+";
    p->at++;
    node *operand;
    TRY(parse_unary(p, false, &operand));
    *out = join(p, NODE_UNARY, sign, operand, NULL);
    return OK;
}

static status parse_unary_inside(parser *p, bool filters, node **out)
{
    TRY(is_operator(p, "-") || is_operator(p, "+") ? parse_sign(p, out) : parse_primary(p, out));
    TRY(parse_postfix(p, out));
    return filters ? parse_filters(p, out) : OK;
}

static status parse_unary(parser *p, bool filters, node **out)
{
    TRY(parser_enter(p));
    TRY(parse_unary_inside(p, filters, out));
    parser_leave(p);
    return OK;
}

typedef status (*parse_function)(parser *p, node **out);

/* Operators of one rank, from left to right. */
static status parse_chain(parser *p, parse_function operand, const char *const *operators, node **out)
{
    TRY(operand(p, out));
    for (;;) {
        const char *found = NULL;
        for (int i = 0; operators[i] && !found; i++)
            if (take_operator(p, operators[i]) || take_name(p, operators[i])) found = operators[i];
        if (!found) return OK;
        node *right;
        TRY(operand(p, &right));
        *out = join(p, NODE_BINARY, found, *out, right);
    }
}

static status parse_signed(parser *p, node **out) { return parse_unary(p, true, out); }
static status parse_power(parser *p, node **out)
{
    return parse_chain(p, parse_signed, (const char *const[]){"**", NULL}, out);
}
static status parse_product(parser *p, node **out)
{
    return parse_chain(p, parse_power, (const char *const[]){"*", "//", "/", "%", NULL}, out);
}
static status parse_concatenation(parser *p, node **out)
{
    return parse_chain(p, parse_product, (const char *const[]){"~", NULL}, out);
}
static status parse_sum(parser *p, node **out)
{
    return parse_chain(p, parse_concatenation, (const char *const[]){"+", "-", NULL}, out);
}

static const char *take_comparison(parser *p)
{
    static const char *const operators[] = {"==", "!=", "<=", ">=", "<", ">"};
    for (size_t i = 0; i < sizeof operators / sizeof operators[0]; i++)
        if (take_operator(p, operators[i])) return operators[i];
    if (take_name(p, "in")) return "in";
    if (!parser_is(p, TOKEN_NAME, "not") || p->at[1].kind != TOKEN_NAME ||
        strcmp(p->tokens->text.text + p->at[1].from, "in") != 0)
        return NULL;
    p->at += 2;
    return "not in";
}

static status parse_comparison(parser *p, node **out)
{
    TRY(parse_sum(p, out));
    node *compare = NULL, **end = NULL;
    for (const char *found; (found = take_comparison(p));) {
        if (!compare) {
            compare = join(p, NODE_COMPARE, NULL, *out, NULL);
            end = &compare->b;
        }
        *end = join(p, NODE_COMPARISON, found, NULL, NULL);
        TRY(parse_sum(p, &(*end)->a));
        end = &(*end)->next;
    }
    if (compare) *out = compare;
    return OK;
}

static status parse_not(parser *p, node **out)
{
    if (!take_name(p, "not")) return parse_comparison(p, out);
    node *operand;
    TRY(parser_enter(p));
    TRY(parse_not(p, &operand));
    parser_leave(p);
    *out = join(p, NODE_UNARY, "not", operand, NULL);
    return OK;
}

static status parse_and(parser *p, node **out)
{
    return parse_chain(p, parse_not, (const char *const[]){"and", NULL}, out);
}

status parse_without_condition(parser *p, node **out)
{
    return parse_chain(p, parse_and, (const char *const[]){"or", NULL}, out);
}

static status parse_condition(parser *p, node **out)
{
    TRY(parser_enter(p));
    TRY(parse_without_condition(p, out));
    while (take_name(p, "if")) {
        node *n = join(p, NODE_CONDITIONAL, NULL, NULL, *out);
        TRY(parse_without_condition(p, &n->a));
        if (take_name(p, "else")) TRY(parse_condition(p, &n->c));
        *out = n;
    }
    parser_leave(p);
    return OK;
}

status parse_expression(parser *p, bool tuple, node **out)
{
    TRY(parse_condition(p, out));
    if (!tuple || !is_operator(p, ",")) return OK;
    node *list = join(p, NODE_LIST, NULL, *out, NULL), **end = &(*out)->next;
    while (take_operator(p, ",") && p->at->kind != TOKEN_OUTPUT_END && p->at->kind != TOKEN_BLOCK_END) {
        TRY(parse_condition(p, end));
        end = &(*end)->next;
    }
    *out = list;
    return OK;
}
