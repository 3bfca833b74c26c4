/* Filters. To add one: a function and a row in the table at the end. */
#include "generate/chat_template/template_filters.h"
#include "base/memory.h"
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef json_t *(*filter_function)(template_run *x, json_t *v, const arguments *a);

/* ---- text ---------------------------------------------------------------------------------------------- */

/* Most filters of text take anything and look at its text. */
static json_t *as_string(template_run *x, json_t *v)
{
    if (json_is_string(v)) return json_incref(v);
    text_buffer text = {0};
    value_text(v, false, &text);
    return run_text(x, &text);
}

static json_t *filter_string(template_run *x, json_t *v, const arguments *a)
{
    (void)a;
    return as_string(x, v);
}

static json_t *filter_same(template_run *x, json_t *v, const arguments *a)
{
    (void)x, (void)a;
    return json_incref(v);
}

static json_t *filter_trim(template_run *x, json_t *v, const arguments *a)
{
    json_t *text = as_string(x, v), *result = text ? text_strip(x, text, a->given[0], true, true) : NULL;
    json_decref(text);
    return result;
}

static json_t *cased(template_run *x, json_t *v, text_case wanted)
{
    json_t *text = as_string(x, v), *result = text ? text_cased(x, text, wanted) : NULL;
    json_decref(text);
    return result;
}
static json_t *filter_upper(template_run *x, json_t *v, const arguments *a)
{
    return (void)a, cased(x, v, CASE_UPPER);
}
static json_t *filter_lower(template_run *x, json_t *v, const arguments *a)
{
    return (void)a, cased(x, v, CASE_LOWER);
}
static json_t *filter_title(template_run *x, json_t *v, const arguments *a)
{
    return (void)a, cased(x, v, CASE_TITLE);
}
static json_t *filter_capitalize(template_run *x, json_t *v, const arguments *a)
{
    return (void)a, cased(x, v, CASE_CAPITAL);
}

static json_t *filter_replace(template_run *x, json_t *v, const arguments *a)
{
    const json_t *count = a->given[2];
    if (!json_is_string(a->given[0]) || !json_is_string(a->given[1]))
        return run_failed(x, "replace wants two strings");
    json_t *text = as_string(x, v), *result = NULL;
    if (text)
        result = text_replace(x, text, a->given[0], a->given[1],
                              count && json_is_integer(count) ? json_integer_value(count) : -1);
    json_decref(text);
    return result;
}

/* Every line but the first behind so many blanks; empty lines stay empty. */
static json_t *filter_indent(template_run *x, json_t *v, const arguments *a)
{
    const int64_t width = a->given[0] && value_is_whole(a->given[0]) ? value_whole(a->given[0]) : 4;
    const bool first = a->given[1] && value_is_true(a->given[1]),
               blank = a->given[2] && value_is_true(a->given[2]);
    if (!json_is_string(v) || width < 0 || width > 1000)
        return run_failed(x, "indent wants a string and a width");
    text_buffer text = {0};
    const char *line = json_string_value(v), *end = line + json_string_length(v);
    for (bool indented = first; line < end; indented = true) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        const int64_t bytes = (stop ? stop + 1 : end) - line;
        for (int64_t i = 0; i < width && indented && (blank || *line != '\n'); i++)
            text_buffer_append(&text, " ", 1);
        text_buffer_append(&text, line, bytes);
        line += bytes;
    }
    return run_text(x, &text);
}

/* jansson writes \u00E9, Python \u00e9. */
static void lower_escapes(char *json)
{
    for (; *json; json++) {
        if (*json != '\\') continue;
        json++;
        for (int i = 1; *json == 'u' && i <= 4; i++)
            if (json[i] >= 'A' && json[i] <= 'F') json[i] = (char)(json[i] - 'A' + 'a');
    }
}

/* As json.dumps with ensure_ascii=False, which is what transformers puts in Jinja's place. */
static json_t *filter_tojson(template_run *x, json_t *v, const arguments *a)
{
    const json_t *indent = a->given[0];
    size_t flags = JSON_ENCODE_ANY;
    if (v == UNDEFINED) return run_failed(x, "an undefined value cannot be written as JSON");
    if (indent && value_is_whole(indent) && value_whole(indent) > 0 && value_whole(indent) < 32)
        flags |= JSON_INDENT((size_t)value_whole(indent));
    if (a->given[1] && value_is_true(a->given[1])) flags |= JSON_ENSURE_ASCII;
    if (a->given[2] && value_is_true(a->given[2])) flags |= JSON_SORT_KEYS;
    /* The fewest digits with which all numbers are read back as they are. */
    char *text = NULL;
    bool exact = false;
    for (size_t digits = 1; digits <= 17 && !exact; digits++) {
        free(text);
        text = json_dumps(v, flags | JSON_REAL_PRECISION(digits));
        if (!text || !run_charge(x, (int64_t)strlen(text)))
            return free(text), run_failed(x, "it is too large for JSON");
        json_t *again = json_loads(text, JSON_DECODE_ANY, NULL);
        exact = again && json_equal(again, v);
        json_decref(again);
    }
    lower_escapes(text);
    json_t *result = run_string(x, text, (int64_t)strlen(text));
    free(text);
    return result;
}

/* ---- numbers ------------------------------------------------------------------------------------------- */

static json_t *filter_int(template_run *x, json_t *v, const arguments *a)
{
    (void)x;
    if (value_is_whole(v)) return json_integer(value_whole(v));
    if (json_is_real(v) && fabs(json_real_value(v)) < 0x1p63)
        return json_integer((json_int_t)json_real_value(v));
    char *end = NULL;
    errno = 0;
    const char *text = json_is_string(v) ? json_string_value(v) : "";
    const long long value = strtoll(text, &end, 10);
    if (*text && !errno && !*end) return json_integer(value);
    return a->given[0] ? json_incref(a->given[0]) : json_integer(0);
}

static json_t *filter_float(template_run *x, json_t *v, const arguments *a)
{
    (void)x;
    if (value_is_number(v)) return json_real(value_real(v));
    char *end = NULL;
    const char *text = json_is_string(v) ? json_string_value(v) : "";
    const double value = strtod(text, &end);
    if (*text && !*end && isfinite(value)) return json_real(value);
    return a->given[0] ? json_incref(a->given[0]) : json_real(0);
}

static json_t *filter_abs(template_run *x, json_t *v, const arguments *a)
{
    (void)a;
    if (json_is_real(v)) return json_real(fabs(json_real_value(v)));
    if (!value_is_whole(v) || value_whole(v) == INT64_MIN) return run_failed(x, "abs wants a number");
    return json_integer(llabs(value_whole(v)));
}

/* ---- defaults ------------------------------------------------------------------------------------------ */

static json_t *filter_default(template_run *x, json_t *v, const arguments *a)
{
    (void)x;
    const bool falsy = a->given[1] && value_is_true(a->given[1]);
    if (v != UNDEFINED && !(falsy && !value_is_true(v))) return json_incref(v);
    return a->given[0] ? json_incref(a->given[0]) : json_string("");
}

/* ---- the table ----------------------------------------------------------------------------------------- */

static const struct filter {
    const char *name;
    filter_function run;
    const char *parameters;
    int least;
} filters[] = {
    {"abs", filter_abs, "", 0},
    {"capitalize", filter_capitalize, "", 0},
    {"count", filter_length, "", 0},
    {"d", filter_default, "default_value,boolean", 0},
    {"default", filter_default, "default_value,boolean", 0},
    {"dictsort", filter_dictsort, "case_sensitive", 0},
    {"first", filter_first, "", 0},
    {"float", filter_float, "default", 0},
    {"indent", filter_indent, "width,first,blank", 0},
    {"int", filter_int, "default", 0},
    {"items", filter_items, "", 0},
    {"join", filter_join, "d,attribute", 0},
    {"last", filter_last, "", 0},
    {"length", filter_length, "", 0},
    {"list", filter_list, "", 0},
    {"lower", filter_lower, "", 0},
    {"map", filter_map, "filter,attribute,default", 0},
    {"reject", filter_reject, "test,value", 0},
    {"rejectattr", filter_rejectattr, "attribute,test,value", 1},
    {"replace", filter_replace, "old,new,count", 2},
    {"reverse", filter_reverse, "", 0},
    {"safe", filter_same, "", 0},
    {"select", filter_select, "test,value", 0},
    {"selectattr", filter_selectattr, "attribute,test,value", 1},
    {"sort", filter_sort, "reverse,case_sensitive,attribute", 0},
    {"string", filter_string, "", 0},
    {"title", filter_title, "", 0},
    {"tojson", filter_tojson, "indent,ensure_ascii,sort_keys", 0},
    {"trim", filter_trim, "chars", 0},
    {"unique", filter_unique, "", 0},
    {"upper", filter_upper, "", 0},
};

static const struct filter *find_filter(template_run *x, const char *name)
{
    for (size_t i = 0; i < sizeof filters / sizeof filters[0]; i++)
        if (!strcmp(filters[i].name, name)) return &filters[i];
    run_failed(x, "the filter %.60s is not supported", name);
    return NULL;
}

json_t *run_filter(template_run *x, const char *name, json_t *v, const node *list)
{
    arguments a;
    const struct filter *f = find_filter(x, name);
    if (!f || !run_arguments(x, list, name, f->parameters, f->least, &a)) return NULL;
    json_t *result = f->run(x, v, &a);
    arguments_free(&a);
    return result;
}

json_t *run_filter_named(template_run *x, const char *name, json_t *v)
{
    const struct filter *f = find_filter(x, name);
    if (f && f->least) return run_failed(x, "the filter %s in map is not supported", name);
    return f ? f->run(x, v, &(arguments){0}) : NULL;
}
