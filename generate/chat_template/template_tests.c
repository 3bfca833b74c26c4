/* Tests (`x is defined`) and functions. To add one: a row in a table, and a function. */
#include "generate/chat_template/template_run.h"
#include <string.h>

/* ---- tests --------------------------------------------------------------------------------------------- */

/* argument: NULL where the test has none. 1, 0 or -1. */
typedef int (*test_function)(template_run *x, json_t *v, json_t *argument);

static int is_defined(template_run *x, json_t *v, json_t *a) { return (void)x, (void)a, v != UNDEFINED; }
static int is_undefined(template_run *x, json_t *v, json_t *a) { return (void)x, (void)a, v == UNDEFINED; }
static int is_none(template_run *x, json_t *v, json_t *a) { return (void)x, (void)a, value_is_none(v); }
static int is_string(template_run *x, json_t *v, json_t *a) { return (void)x, (void)a, json_is_string(v); }
static int is_number(template_run *x, json_t *v, json_t *a) { return (void)x, (void)a, value_is_number(v); }
static int is_integer(template_run *x, json_t *v, json_t *a) { return (void)x, (void)a, json_is_integer(v); }
static int is_float(template_run *x, json_t *v, json_t *a) { return (void)x, (void)a, json_is_real(v); }
static int is_boolean(template_run *x, json_t *v, json_t *a) { return (void)x, (void)a, json_is_boolean(v); }
static int is_true(template_run *x, json_t *v, json_t *a) { return (void)x, (void)a, json_is_true(v); }
static int is_false(template_run *x, json_t *v, json_t *a) { return (void)x, (void)a, json_is_false(v); }
static int is_mapping(template_run *x, json_t *v, json_t *a) { return (void)x, (void)a, json_is_object(v); }
static int is_iterable(template_run *x, json_t *v, json_t *a)
{
    return (void)x, (void)a, value_length(v) >= 0; /* undefined has no elements, and is iterable */
}
static int is_in(template_run *x, json_t *v, json_t *a) { return run_comparison(x, "in", v, a); }
static int is_equal(template_run *x, json_t *v, json_t *a) { return (void)x, value_equal(v, a); }
static int is_unequal(template_run *x, json_t *v, json_t *a) { return (void)x, !value_equal(v, a); }
static int is_less(template_run *x, json_t *v, json_t *a) { return run_comparison(x, "<", v, a); }
static int is_at_most(template_run *x, json_t *v, json_t *a) { return run_comparison(x, "<=", v, a); }
static int is_greater(template_run *x, json_t *v, json_t *a) { return run_comparison(x, ">", v, a); }
static int is_at_least(template_run *x, json_t *v, json_t *a) { return run_comparison(x, ">=", v, a); }
static int is_callable(template_run *x, json_t *v, json_t *a) { return (void)x, (void)v, (void)a, 0; }

static int divides(template_run *x, json_t *v, json_int_t by, json_int_t rest)
{
    if (value_is_whole(v) && by != 0) return by == -1 || (value_whole(v) % by + by) % by == rest;
    run_failed(x, "%s cannot be divided by %lld", value_type(v), (long long)by);
    return -1;
}
static int is_odd(template_run *x, json_t *v, json_t *a) { return (void)a, divides(x, v, 2, 1); }
static int is_even(template_run *x, json_t *v, json_t *a) { return (void)a, divides(x, v, 2, 0); }
static int is_divisible(template_run *x, json_t *v, json_t *a)
{
    return divides(x, v, value_is_whole(a) ? value_whole(a) : 0, 0);
}

static const struct test {
    const char *name;
    test_function run;
    bool argument;
} tests[] = {
    {"!=", is_unequal, true},
    {"<", is_less, true},
    {"<=", is_at_most, true},
    {"==", is_equal, true},
    {">", is_greater, true},
    {">=", is_at_least, true},
    {"boolean", is_boolean, false},
    {"callable", is_callable, false},
    {"defined", is_defined, false},
    {"divisibleby", is_divisible, true},
    {"eq", is_equal, true},
    {"equalto", is_equal, true},
    {"even", is_even, false},
    {"false", is_false, false},
    {"float", is_float, false},
    {"ge", is_at_least, true},
    {"greaterthan", is_greater, true},
    {"gt", is_greater, true},
    {"in", is_in, true},
    {"integer", is_integer, false},
    {"iterable", is_iterable, false},
    {"le", is_at_most, true},
    {"lessthan", is_less, true},
    {"lt", is_less, true},
    {"mapping", is_mapping, false},
    {"ne", is_unequal, true},
    {"none", is_none, false},
    {"number", is_number, false},
    {"odd", is_odd, false},
    {"sequence", is_iterable, false},
    {"string", is_string, false},
    {"true", is_true, false},
    {"undefined", is_undefined, false},
};

int run_test_with(template_run *x, const char *name, json_t *v, json_t *argument)
{
    for (size_t i = 0; i < sizeof tests / sizeof tests[0]; i++) {
        if (strcmp(tests[i].name, name) != 0) continue;
        if (tests[i].argument == (argument != NULL)) return tests[i].run(x, v, argument);
        run_failed(x, "the test %s wants %s", name, tests[i].argument ? "an argument" : "no argument");
        return -1;
    }
    run_failed(x, "the test %.60s is not supported", name);
    return -1;
}

int run_test(template_run *x, const char *name, json_t *v, const node *list)
{
    arguments a;
    if (!run_arguments(x, list, name, "value", 0, &a)) return -1;
    const int holds = run_test_with(x, name, v, a.given[0]);
    arguments_free(&a);
    return holds;
}

/* ---- functions ----------------------------------------------------------------------------------------- */

static json_t *raise_exception(template_run *x, const node *list)
{
    arguments a;
    if (!run_arguments(x, list, "raise_exception", "message", 1, &a)) return NULL;
    text_buffer text = {0};
    value_text(a.given[0], false, &text);
    run_failed(x, "the template refuses it: %.*s", (int)(text.bytes < 500 ? text.bytes : 500),
               text.bytes ? text.text : "");
    text_buffer_free(&text);
    arguments_free(&a);
    return NULL;
}

/* An object of named arguments: namespace(a=1), dict(a=1). */
static json_t *named_values(template_run *x, const node *list)
{
    json_t *object = json_object();
    for (const node *n = list; n; n = n->next) {
        json_t *value = n->text ? run_expression(x, n->a) : run_failed(x, "arguments here must have names");
        if (!value) return json_decref(object), NULL;
        json_object_set_new_nocheck(object, n->text, value);
    }
    return run_container(x, object);
}

static json_t *make_namespace(template_run *x, const node *list)
{
    json_t *space = named_values(x, list);
    if (space) json_array_append(x->namespaces, space);
    return space;
}

static json_t *make_range(template_run *x, const node *list)
{
    arguments a;
    if (!run_arguments(x, list, "range", "start,stop,step", 1, &a)) return NULL;
    json_int_t bounds[3] = {0, 0, 1};
    json_t *all = json_array();
    bool good = true;
    for (int i = 0; i < 3; i++) {
        good = good && (!a.given[i] || value_is_whole(a.given[i]));
        if (good && a.given[i]) bounds[i] = value_whole(a.given[i]);
    }
    if (!a.given[1]) bounds[1] = bounds[0], bounds[0] = 0;
    arguments_free(&a);
    good = good && bounds[2] != 0;
    for (json_int_t i = bounds[0]; good && (bounds[2] > 0 ? i < bounds[1] : i > bounds[1]);) {
        json_array_append_new(all, json_integer(i));
        good = json_array_size(all) <= RUN_MAX_RANGE && !__builtin_add_overflow(i, bounds[2], &i);
    }
    if (good && run_charge(x, (int64_t)json_array_size(all))) return all;
    json_decref(all);
    return good ? NULL : run_failed(x, "range wants whole numbers that make at most %d", RUN_MAX_RANGE);
}

static json_t *strftime_now(template_run *x, const node *list)
{
    arguments a;
    char text[512] = "";
    if (!run_arguments(x, list, "strftime_now", "format", 1, &a)) return NULL;
    const bool good = json_is_string(a.given[0]) && json_string_length(a.given[0]) < 100;
    if (good) strftime(text, sizeof text, json_string_value(a.given[0]), &x->now);
    arguments_free(&a);
    if (!good) return run_failed(x, "strftime_now wants a format of at most 100 bytes");
    return run_string(x, text, (int64_t)strlen(text));
}

json_t *run_function(template_run *x, const char *name, const node *list)
{
    if (!strcmp(name, "raise_exception")) return raise_exception(x, list);
    if (!strcmp(name, "namespace")) return make_namespace(x, list);
    if (!strcmp(name, "dict")) return named_values(x, list);
    if (!strcmp(name, "range")) return make_range(x, list);
    if (!strcmp(name, "strftime_now")) return strftime_now(x, list);
    return run_failed(x, "the function %.60s is not supported", name);
}
