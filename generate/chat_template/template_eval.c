/* Computes expressions. */
#include "generate/chat_template/template_run.h"
#include <string.h>

static json_t *eval_list(template_run *x, const node *n)
{
    json_t *list = json_array();
    for (const node *element = n->a; element; element = element->next)
        if (!run_append(x, list, run_expression(x, element))) return json_decref(list), NULL;
    return run_container(x, list);
}

static bool add_pair(template_run *x, json_t *object, const node *pair)
{
    json_t *key = run_expression(x, pair->a), *value = key ? run_expression(x, pair->b) : NULL;
    const bool good = key && value && json_is_string(key);
    if (value && !good)
        run_failed(x, "a key is %s; keys that are no strings are not supported", value_type(key));
    if (good) json_object_set_nocheck(object, json_string_value(key), value);
    json_decref(key);
    json_decref(value);
    return good;
}

static json_t *eval_dict(template_run *x, const node *n)
{
    json_t *object = json_object();
    for (const node *pair = n->a; pair; pair = pair->next)
        if (!add_pair(x, object, pair)) return json_decref(object), NULL;
    return run_container(x, object);
}

/* A value that is missing is undefined; what is asked of an undefined one is a mistake. */
static json_t *part_of(template_run *x, const node *n, const json_t *v, const json_t *key)
{
    if (v != UNDEFINED) return run_item(x, v, key);
    if (n->a->kind == NODE_NAME) return run_failed(x, "%s is undefined", n->a->text);
    if (n->a->text) return run_failed(x, "there is no %s", n->a->text);
    return run_failed(x, "something of an undefined value is asked for");
}

static json_t *eval_attribute(template_run *x, const node *n)
{
    json_t *v = run_expression(x, n->a), *key = json_string_nocheck(n->text);
    json_t *part = v ? part_of(x, n, v, key) : NULL;
    json_decref(v);
    json_decref(key);
    return part;
}

static json_t *eval_item(template_run *x, const node *n)
{
    json_t *v = run_expression(x, n->a), *key = v ? run_expression(x, n->b) : NULL;
    json_t *part = key ? part_of(x, n, v, key) : NULL;
    json_decref(v);
    json_decref(key);
    return part;
}

static json_t *eval_slice(template_run *x, const node *n)
{
    json_t *v = run_expression(x, n->a), *part[3] = {0}, *result = NULL;
    const node *const bounds[3] = {n->b, n->c, n->d};
    bool good = v != NULL;
    for (int i = 0; i < 3 && good; i++)
        if (bounds[i]) good = (part[i] = run_expression(x, bounds[i])) != NULL;
    if (good) result = run_slice(x, v, part);
    for (int i = 0; i < 3; i++) json_decref(part[i]);
    json_decref(v);
    return result;
}

static json_t *eval_call(template_run *x, const node *n)
{
    if (n->a->kind == NODE_NAME) {
        const node *macro = run_macro_named(x, n->a->text);
        return macro ? run_macro(x, macro, n->b) : run_function(x, n->a->text, n->b);
    }
    if (n->a->kind != NODE_ATTRIBUTE) return run_failed(x, "only functions and methods can be called");
    json_t *v = run_expression(x, n->a->a);
    json_t *result = !v               ? NULL
                     : v == UNDEFINED ? part_of(x, n->a, v, NULL)
                                      : run_method(x, v, n->a->text, n->b);
    json_decref(v);
    return result;
}

static json_t *eval_filter(template_run *x, const node *n)
{
    json_t *v = run_expression(x, n->a), *result = v ? run_filter(x, n->text, v, n->b) : NULL;
    json_decref(v);
    return result;
}

/* `f is defined` is true for a function and a macro, too. */
static bool names_function(const template_run *x, const node *n)
{
    static const char *const names[] = {"raise_exception", "strftime_now", "namespace", "range", "dict"};
    if (n->kind != NODE_NAME || scope_get(x, n->text) != UNDEFINED) return false;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (!strcmp(n->text, names[i])) return true;
    return run_macro_named(x, n->text) != NULL;
}

static json_t *eval_test(template_run *x, const node *n)
{
    if (names_function(x, n->a) && !strcmp(n->text, "defined")) return run_bool(true);
    if (names_function(x, n->a) && !strcmp(n->text, "undefined")) return run_bool(false);
    json_t *v = run_expression(x, n->a);
    const int holds = v ? run_test(x, n->text, v, n->b) : -1;
    json_decref(v);
    return holds < 0 ? NULL : run_bool(holds);
}

static json_t *negative(template_run *x, const json_t *v)
{
    if (json_is_real(v)) return json_real(-json_real_value(v));
    if (!value_is_number(v)) return run_failed(x, "%s has no sign", value_type(v));
    return run_binary(x, "-", json_integer(0), json_integer(value_whole(v)));
}

static json_t *eval_unary(template_run *x, const node *n)
{
    json_t *v = run_expression(x, n->a), *result;
    if (!v) return NULL;
    if (!strcmp(n->text, "not"))
        result = run_bool(!value_is_true(v));
    else if (!strcmp(n->text, "-"))
        result = negative(x, v);
    else
        result = value_is_number(v) ? json_incref(v) : run_failed(x, "%s has no sign", value_type(v));
    json_decref(v);
    return result;
}

static json_t *eval_binary(template_run *x, const node *n)
{
    json_t *left = run_expression(x, n->a);
    if (!left) return NULL;
    const bool is_and = !strcmp(n->text, "and");
    if (is_and || !strcmp(n->text, "or")) {
        if (value_is_true(left) != is_and) return left;
        json_decref(left);
        return run_expression(x, n->b);
    }
    json_t *right = run_expression(x, n->b);
    if (right) return run_binary(x, n->text, left, right);
    json_decref(left);
    return NULL;
}

/* a < b < c: each with the one before it, up to the first that does not hold. */
static json_t *eval_compare(template_run *x, const node *n)
{
    json_t *left = run_expression(x, n->a);
    int holds = left ? 1 : -1;
    for (const node *c = n->b; c && holds == 1; c = c->next) {
        json_t *right = run_expression(x, c->a);
        holds = right ? run_comparison(x, c->text, left, right) : -1;
        json_decref(left);
        left = right;
    }
    json_decref(left);
    return holds < 0 ? NULL : run_bool(holds);
}

static json_t *eval_conditional(template_run *x, const node *n)
{
    json_t *condition = run_expression(x, n->a);
    if (!condition) return NULL;
    const bool holds = value_is_true(condition);
    json_decref(condition);
    if (!holds && !n->c) return UNDEFINED;
    return run_expression(x, holds ? n->b : n->c);
}

static json_t *evaluate(template_run *x, const node *n)
{
    switch (n->kind) {
    case NODE_CONSTANT:
        return json_incref(n->value);
    case NODE_NAME:
        return json_incref(scope_get(x, n->text));
    case NODE_LIST:
        return eval_list(x, n);
    case NODE_DICT:
        return eval_dict(x, n);
    case NODE_ATTRIBUTE:
        return eval_attribute(x, n);
    case NODE_ITEM:
        return eval_item(x, n);
    case NODE_SLICE:
        return eval_slice(x, n);
    case NODE_CALL:
        return eval_call(x, n);
    case NODE_FILTER:
        return eval_filter(x, n);
    case NODE_TEST:
        return eval_test(x, n);
    case NODE_UNARY:
        return eval_unary(x, n);
    case NODE_BINARY:
        return eval_binary(x, n);
    case NODE_COMPARE:
        return eval_compare(x, n);
    case NODE_CONDITIONAL:
        return eval_conditional(x, n);
    default:
        die(ERR_BUG, "node %d is no expression", n->kind);
    }
}

json_t *run_expression(template_run *x, const node *n)
{
    const int line = x->line;
    x->line = n->line;
    if (!run_charge(x, 1)) return NULL;
    if (++x->depth > RUN_MAX_DEPTH) return run_failed(x, "it is nested deeper than %d", RUN_MAX_DEPTH);
    json_t *value = evaluate(x, n);
    x->depth--;
    if (value) x->line = line;
    return value;
}

/* ---- arguments ----------------------------------------------------------------------------------------- */

/* The place of a name in "old,new,count"; -1: it is not there. */
static int place_of(const char *parameters, const char *name)
{
    const size_t n = strlen(name);
    int place = 0;
    for (const char *p = parameters; *p; place++) {
        const size_t length = strcspn(p, ",");
        if (length == n && !memcmp(p, name, n)) return place;
        p += length + (p[length] == ',');
    }
    return -1;
}

static int count_of(const char *parameters)
{
    int count = parameters[0] != 0;
    for (const char *p = parameters; *p; p++) count += *p == ',';
    return count;
}

static bool bind(template_run *x, const node *list, const char *what, const char *parameters, arguments *out)
{
    int by_place = 0;
    for (const node *n = list; n; n = n->next) {
        const int place = n->text ? place_of(parameters, n->text) : by_place++;
        if (place < 0) return run_failed(x, "%s has no argument %.60s", what, n->text);
        if (place >= count_of(parameters))
            return run_failed(x, "%s has at most %d arguments", what, count_of(parameters));
        json_t *value = run_expression(x, n->a);
        if (!run_append(x, out->values, value)) return false;
        out->given[place] = value;
    }
    return true;
}

bool run_arguments(template_run *x, const node *list, const char *what, const char *parameters, int least,
                   arguments *out)
{
    *out = (arguments){.values = json_array()};
    bool good = bind(x, list, what, parameters, out);
    for (int i = 0; good && i < least; i++)
        if (!out->given[i]) good = run_failed(x, "%s wants %d arguments: %s", what, least, parameters);
    if (!good) arguments_free(out);
    return good;
}

void arguments_free(arguments *a)
{
    json_decref(a->values);
    *a = (arguments){0};
}
