/* Runs the statements of a template. A loop and a macro have a scope of their own, `if` has none, as in
 * Jinja. */
#include "generate/chat_template/template_run.h"
#include "base/array.h"
#include "base/memory.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

json_t *run_failed(template_run *x, const char *format, ...)
{
    char sentence[768];
    va_list list;
    va_start(list, format);
    vsnprintf(sentence, sizeof sentence, format, list);
    va_end(list);
    fail(x->why, ERR_INPUT, "line %d: %s", x->line, sentence);
    return NULL;
}

bool run_charge(template_run *x, int64_t work)
{
    x->work += work;
    if (x->work <= RUN_MAX_WORK) return true;
    run_failed(x, "it does more than %d steps", RUN_MAX_WORK);
    return false;
}

json_t *run_string(template_run *x, const char *text, int64_t bytes)
{
    if (bytes > RUN_MAX_TEXT) return run_failed(x, "a text grows beyond %d bytes", RUN_MAX_TEXT);
    if (!run_charge(x, bytes + 1)) return NULL;
    return json_stringn_nocheck(bytes ? text : "", (size_t)bytes);
}

json_t *run_text(template_run *x, text_buffer *text)
{
    json_t *string = run_string(x, text->text, text->bytes);
    text_buffer_free(text);
    return string;
}

json_t *run_bool(bool value) { return json_boolean(value); }
json_t *run_whole(json_int_t value) { return json_integer(value); }

bool run_append(template_run *x, json_t *list, json_t *value)
{
    if (!value || !run_charge(x, 1)) return json_decref(value), false;
    json_array_append_new(list, value);
    return true;
}

/* ---- names --------------------------------------------------------------------------------------------- */

bool scope_set(template_run *x, scope *s, const char *name, json_t *value)
{
    if (!run_charge(x, 1)) return false;
    json_object_set_nocheck(s->names, name, value);
    return true;
}

json_t *scope_get(const template_run *x, const char *name)
{
    for (const scope *s = x->scope; s; s = s->outer) {
        json_t *value = json_object_get(s->names, name);
        if (value) return value;
    }
    return UNDEFINED;
}

static scope scope_begin(template_run *x) { return (scope){.names = json_object(), .outer = x->scope}; }

bool run_is_namespace(const template_run *x, const json_t *v)
{
    for (size_t i = 0; i < json_array_size(x->namespaces); i++)
        if (json_array_get(x->namespaces, i) == v) return true;
    return false;
}

const node *run_macro_named(const template_run *x, const char *name)
{
    for (int64_t i = x->macros; i-- > 0;)
        if (!strcmp(x->macro[i]->text, name)) return x->macro[i];
    return NULL;
}

/* ---- loops --------------------------------------------------------------------------------------------- */

json_t *run_elements(template_run *x, const json_t *v)
{
    json_t *all = json_array();
    if (json_is_array(v)) {
        json_array_extend(all, (json_t *)v);
    } else if (json_is_object(v)) {
        const char *key;
        json_t *value;
        json_object_foreach((json_t *)v, key, value) json_array_append_new(all, json_string_nocheck(key));
    } else if (json_is_string(v)) {
        const char *text = json_string_value(v), *end = text + json_string_length(v);
        while (text < end) {
            const int64_t bytes = text_offset(text, end - text, 1);
            if (!run_append(x, all, run_string(x, text, bytes))) return json_decref(all), NULL;
            text += bytes;
        }
    } else if (v != UNDEFINED) {
        json_decref(all);
        return run_failed(x, "%s has no elements", value_type(v));
    }
    if (!run_charge(x, (int64_t)json_array_size(all))) return json_decref(all), NULL;
    return all;
}

/* Gives a value to names: one, or the elements of a list to several. */
static bool assign_names(template_run *x, scope *s, const node *names, json_t *value)
{
    if (!names->next) return scope_set(x, s, names->text, value);
    size_t i = 0, wanted = 0;
    for (const node *n = names; n; n = n->next) wanted++;
    json_t *parts = run_elements(x, value);
    if (!parts) return false;
    const size_t found = json_array_size(parts);
    bool good = found == wanted;
    if (!good) run_failed(x, "%zu names want the elements of a value that has %zu", wanted, found);
    for (const node *n = names; good && n; n = n->next)
        good = scope_set(x, s, n->text, json_array_get(parts, i++));
    json_decref(parts);
    return good;
}

/* The elements for which the loop's condition holds. */
static json_t *chosen_elements(template_run *x, const node *n, json_t *all)
{
    if (!n->e) return all;
    json_t *chosen = json_array(), *element;
    bool good = true;
    size_t i;
    json_array_foreach(all, i, element)
    {
        scope s = scope_begin(x);
        x->scope = &s;
        good = assign_names(x, &s, n->a, element);
        json_t *holds = good ? run_expression(x, n->e) : NULL;
        x->scope = s.outer;
        json_decref(s.names);
        good = holds && run_charge(x, 1);
        if (good && value_is_true(holds)) json_array_append(chosen, element);
        json_decref(holds);
        if (!good) break;
    }
    json_decref(all);
    if (good) return chosen;
    json_decref(chosen);
    return NULL;
}

/* The variable `loop`. */
static json_t *loop_state(const json_t *all, size_t i)
{
    const size_t n = json_array_size(all);
    json_t *loop = json_object();
    json_object_set_new(loop, "index", json_integer((json_int_t)i + 1));
    json_object_set_new(loop, "index0", json_integer((json_int_t)i));
    json_object_set_new(loop, "revindex", json_integer((json_int_t)(n - i)));
    json_object_set_new(loop, "revindex0", json_integer((json_int_t)(n - i) - 1));
    json_object_set_new(loop, "first", json_boolean(i == 0));
    json_object_set_new(loop, "last", json_boolean(i + 1 == n));
    json_object_set_new(loop, "length", json_integer((json_int_t)n));
    if (i) json_object_set(loop, "previtem", json_array_get(all, i - 1));
    if (i + 1 < n) json_object_set(loop, "nextitem", json_array_get(all, i + 1));
    return loop;
}

static run_flow run_round(template_run *x, const node *n, json_t *all, size_t i)
{
    scope s = scope_begin(x);
    x->scope = &s;
    json_object_set_new(s.names, "loop", loop_state(all, i));
    run_flow flow = FLOW_FAILED;
    if (assign_names(x, &s, n->a, json_array_get(all, i)) && run_charge(x, 16))
        flow = run_statements(x, n->c);
    x->scope = s.outer;
    json_decref(s.names);
    return flow;
}

static run_flow run_for(template_run *x, const node *n)
{
    json_t *what = run_expression(x, n->b), *all = what ? run_elements(x, what) : NULL;
    json_decref(what);
    if (all) all = chosen_elements(x, n, all);
    if (!all) return FLOW_FAILED;
    run_flow flow = FLOW_ON;
    for (size_t i = 0; i < json_array_size(all) && flow != FLOW_BREAK && flow != FLOW_FAILED; i++)
        flow = run_round(x, n, all, i);
    const bool none = json_array_size(all) == 0;
    json_decref(all);
    if (flow == FLOW_FAILED) return flow;
    return none ? run_statements(x, n->d) : FLOW_ON;
}

/* ---- other statements ---------------------------------------------------------------------------------- */

static bool put_text(template_run *x, const json_t *value)
{
    const int64_t before = x->out->bytes;
    value_text(value, false, x->out);
    if (x->out->bytes > RUN_MAX_TEXT) return run_failed(x, "a text grows beyond %d bytes", RUN_MAX_TEXT);
    return run_charge(x, x->out->bytes - before);
}

static bool run_output(template_run *x, const node *n)
{
    json_t *value = run_expression(x, n->a);
    const bool good = value && put_text(x, value);
    json_decref(value);
    return good;
}

static run_flow run_if(template_run *x, const node *n)
{
    json_t *condition = run_expression(x, n->a);
    if (!condition) return FLOW_FAILED;
    const bool holds = value_is_true(condition);
    json_decref(condition);
    return run_statements(x, holds ? n->b : n->c);
}

static bool set_attribute(template_run *x, const node *target, json_t *value)
{
    json_t *space = scope_get(x, target->a->text);
    if (!run_is_namespace(x, space))
        return run_failed(x, "%s is no namespace, so %s.%s cannot be set", target->a->text, target->a->text,
                          target->text);
    if (run_is_namespace(x, value)) return run_failed(x, "a namespace in a namespace is not supported");
    json_object_set_nocheck(space, target->text, value);
    return true;
}

static bool assign(template_run *x, const node *targets, json_t *value)
{
    if (!value) return false;
    const bool good = targets->kind == NODE_ATTRIBUTE ? set_attribute(x, targets, value)
                                                      : assign_names(x, x->scope, targets, value);
    json_decref(value);
    return good;
}

/* What statements print, as a string. */
static json_t *captured(template_run *x, const node *body)
{
    text_buffer text = {0}, *outer = x->out;
    x->out = &text;
    const run_flow flow = run_statements(x, body);
    x->out = outer;
    if (flow != FLOW_FAILED) return run_text(x, &text);
    text_buffer_free(&text);
    return NULL;
}

static run_flow run_statement(template_run *x, const node *n)
{
    x->line = n->line;
    switch (n->kind) {
    case NODE_TEXT:
        return put_text(x, n->value) ? FLOW_ON : FLOW_FAILED;
    case NODE_OUTPUT:
        return run_output(x, n) ? FLOW_ON : FLOW_FAILED;
    case NODE_IF:
        return run_if(x, n);
    case NODE_FOR:
        return run_for(x, n);
    case NODE_SET:
        return assign(x, n->a, run_expression(x, n->b)) ? FLOW_ON : FLOW_FAILED;
    case NODE_SET_BLOCK:
        return assign(x, n->a, captured(x, n->b)) ? FLOW_ON : FLOW_FAILED;
    case NODE_MACRO:
        x->macro = array_reserve(x->macro, &x->macro_capacity, x->macros + 1, sizeof *x->macro);
        x->macro[x->macros++] = n;
        return FLOW_ON;
    case NODE_BREAK:
        return FLOW_BREAK;
    case NODE_CONTINUE:
        return FLOW_CONTINUE;
    case NODE_GROUP:
        return run_statements(x, n->b);
    default:
        die(ERR_BUG, "node %d is no statement", n->kind);
    }
}

run_flow run_statements(template_run *x, const node *n)
{
    run_flow flow = FLOW_ON;
    for (; n && flow == FLOW_ON; n = n->next) flow = run_charge(x, 1) ? run_statement(x, n) : FLOW_FAILED;
    return flow;
}

/* ---- macros -------------------------------------------------------------------------------------------- */

/* Puts the arguments of a call into the names of the macro's parameters. */
static bool bind_parameters(template_run *x, const node *macro, const node *list, json_t *names)
{
    const node *parameter = macro->a;
    for (const node *n = list; n; n = n->next) {
        const node *named = macro->a;
        while (n->text && named && strcmp(named->text, n->text) != 0) named = named->next;
        const node *to = n->text ? named : parameter;
        if (!to) return run_failed(x, "the macro %s has no parameter for this argument", macro->text);
        json_t *value = run_expression(x, n->a);
        if (!value) return false;
        json_object_set_new_nocheck(names, to->text, value);
        if (!n->text) parameter = parameter->next;
    }
    return true;
}

/* Defaults may use parameters before them. */
static bool fill_defaults(template_run *x, const node *macro, json_t *names)
{
    for (const node *p = macro->a; p; p = p->next) {
        if (json_object_get(names, p->text)) continue;
        json_t *value = p->a ? run_expression(x, p->a) : UNDEFINED;
        if (!value) return false;
        json_object_set_new_nocheck(names, p->text, value);
    }
    return true;
}

json_t *run_macro(template_run *x, const node *macro, const node *list)
{
    scope s = {.names = json_object(), .outer = x->top}, *caller = x->scope;
    bool good = bind_parameters(x, macro, list, s.names);
    x->scope = &s;
    good = good && fill_defaults(x, macro, s.names);
    json_t *text = good ? captured(x, macro->b) : NULL;
    x->scope = caller;
    json_decref(s.names);
    return text;
}
