/* Filters of lists and objects. */
#include "generate/chat_template/template_filters.h"

json_t *filter_length(template_run *x, json_t *v, const arguments *a)
{
    (void)a;
    const int64_t n = value_length(v);
    return n < 0 ? run_failed(x, "%s has no length", value_type(v)) : json_integer(n);
}

json_t *filter_list(template_run *x, json_t *v, const arguments *a) { return (void)a, run_elements(x, v); }

static json_t *end_of(template_run *x, json_t *v, bool last)
{
    json_t *all = run_elements(x, v), *result = UNDEFINED;
    if (!all) return NULL;
    const size_t n = json_array_size(all);
    if (n) result = json_incref(json_array_get(all, last ? n - 1 : 0));
    json_decref(all);
    return result;
}
json_t *filter_first(template_run *x, json_t *v, const arguments *a) { return (void)a, end_of(x, v, false); }
json_t *filter_last(template_run *x, json_t *v, const arguments *a) { return (void)a, end_of(x, v, true); }

json_t *filter_reverse(template_run *x, json_t *v, const arguments *a)
{
    (void)a;
    json_t *const backwards[3] = {NULL, NULL, json_integer(-1)};
    json_t *result = run_slice(x, v, backwards);
    json_decref(backwards[2]);
    return result;
}

static json_t *attribute_of(template_run *x, json_t *v, json_t *name)
{
    return name ? run_item(x, v, name) : json_incref(v);
}

json_t *filter_join(template_run *x, json_t *v, const arguments *a)
{
    json_t *all = run_elements(x, v);
    text_buffer text = {0};
    for (size_t i = 0; i < json_array_size(all); i++) {
        if (i && a->given[0]) value_text(a->given[0], false, &text);
        json_t *element = attribute_of(x, json_array_get(all, i), a->given[1]);
        if (element) value_text(element, false, &text);
        json_decref(element);
        if (text.bytes > RUN_MAX_TEXT) break; /* run_text refuses it */
    }
    const bool good = all != NULL;
    json_decref(all);
    if (good) return run_text(x, &text);
    text_buffer_free(&text);
    return NULL;
}

json_t *filter_unique(template_run *x, json_t *v, const arguments *a)
{
    (void)a;
    json_t *all = run_elements(x, v), *list = json_array();
    bool possible, good = all != NULL;
    for (size_t i = 0; good && i < json_array_size(all); i++) {
        json_t *element = json_array_get(all, i);
        good = run_charge(x, (int64_t)json_array_size(list) + 1);
        if (good && !value_contains(list, element, &possible)) json_array_append(list, element);
    }
    json_decref(all);
    return good ? list : (json_decref(list), NULL);
}

/* Inserts in order; Jinja does not look at case unless it is told to. */
static int order_of_keys(template_run *x, const json_t *a, const json_t *b, bool cases, bool *possible)
{
    int order = 0;
    json_t *p = json_is_string(a) && !cases ? text_cased(x, a, CASE_LOWER) : json_incref((json_t *)a);
    json_t *q = json_is_string(b) && !cases ? text_cased(x, b, CASE_LOWER) : json_incref((json_t *)b);
    *possible = p && q && value_order(p, q, &order);
    json_decref(p);
    json_decref(q);
    return order;
}

/* by: the place (list) or name (object) of the key in an element, or NULL. */
static json_t *sorted(template_run *x, json_t *all, json_t *by, bool cases, bool backwards)
{
    json_t *list = json_array();
    bool possible = all != NULL;
    for (size_t i = 0; possible && i < json_array_size(all); i++) {
        json_t *element = json_array_get(all, i), *key = attribute_of(x, element, by);
        size_t at = json_array_size(list);
        for (; possible && key && at > 0; at--) {
            json_t *other = attribute_of(x, json_array_get(list, at - 1), by);
            const int order = other && run_charge(x, 8) ? order_of_keys(x, other, key, cases, &possible) : 0;
            json_decref(other);
            if (backwards ? order >= 0 : order <= 0) break;
        }
        json_array_insert(list, at, element);
        json_decref(key);
        if (!run_charge(x, 1)) break;
    }
    json_decref(all);
    if (possible && x->work <= RUN_MAX_WORK) return list;
    json_decref(list);
    return all && x->work <= RUN_MAX_WORK ? run_failed(x, "these values have no order") : NULL;
}

json_t *filter_sort(template_run *x, json_t *v, const arguments *a)
{
    return sorted(x, run_elements(x, v), a->given[2], a->given[1] && value_is_true(a->given[1]),
                  a->given[0] && value_is_true(a->given[0]));
}

json_t *filter_items(template_run *x, json_t *v, const arguments *a)
{
    (void)a;
    const char *key;
    json_t *value, *list = json_array();
    if (v != UNDEFINED && !json_is_object(v)) {
        json_decref(list);
        return run_failed(x, "items wants an object, not %s", value_type(v));
    }
    if (json_is_object(v)) json_object_foreach(v, key, value)
        {
            json_t *pair = json_array();
            json_array_append_new(pair, json_string_nocheck(key));
            json_array_append(pair, value);
            json_array_append_new(list, pair);
        }
    return run_charge(x, (int64_t)json_array_size(list)) ? list : (json_decref(list), NULL);
}

json_t *filter_dictsort(template_run *x, json_t *v, const arguments *a)
{
    json_t *place = json_integer(0);
    json_t *list = sorted(x, filter_items(x, v, a), place, a->given[0] && value_is_true(a->given[0]), false);
    json_decref(place);
    return list;
}

/* ---- filters of elements ------------------------------------------------------------------------------- */

/* map(attribute="x", default=..) or map("filter") */
static json_t *mapped(template_run *x, json_t *element, const arguments *a)
{
    if (!a->given[1]) return run_filter_named(x, json_string_value(a->given[0]), element);
    json_t *part = run_item(x, element, a->given[1]);
    return part == UNDEFINED && a->given[2] ? json_incref(a->given[2]) : part;
}

json_t *filter_map(template_run *x, json_t *v, const arguments *a)
{
    if (!json_is_string(a->given[1] ? a->given[1] : a->given[0]))
        return run_failed(x, "map wants attribute=NAME or the name of a filter");
    json_t *all = run_elements(x, v), *list = json_array();
    bool good = all != NULL;
    for (size_t i = 0; good && i < json_array_size(all); i++)
        good = run_append(x, list, mapped(x, json_array_get(all, i), a));
    json_decref(all);
    return good ? list : (json_decref(list), NULL);
}

/* Keeps the elements, or those whose attribute, passes (or fails) a test. */
static json_t *selected(template_run *x, json_t *v, json_t *attribute, json_t *test, json_t *argument,
                        bool pass)
{
    if (attribute && !json_is_string(attribute))
        return run_failed(x, "the name of an attribute is no string");
    if (test && !json_is_string(test)) return run_failed(x, "the name of a test is no string");
    json_t *all = run_elements(x, v), *list = json_array();
    int holds = all ? 0 : -1;
    for (size_t i = 0; holds >= 0 && i < json_array_size(all); i++) {
        json_t *element = json_array_get(all, i), *part = attribute_of(x, element, attribute);
        holds = !part  ? -1
                : test ? run_test_with(x, json_string_value(test), part, argument)
                       : value_is_true(part);
        if (holds == pass) json_array_append(list, element);
        json_decref(part);
        if (!run_charge(x, 1)) holds = -1;
    }
    json_decref(all);
    return holds >= 0 ? list : (json_decref(list), NULL);
}
json_t *filter_select(template_run *x, json_t *v, const arguments *a)
{
    return selected(x, v, NULL, a->given[0], a->given[1], true);
}
json_t *filter_reject(template_run *x, json_t *v, const arguments *a)
{
    return selected(x, v, NULL, a->given[0], a->given[1], false);
}
json_t *filter_selectattr(template_run *x, json_t *v, const arguments *a)
{
    return selected(x, v, a->given[0], a->given[1], a->given[2], true);
}
json_t *filter_rejectattr(template_run *x, json_t *v, const arguments *a)
{
    return selected(x, v, a->given[0], a->given[1], a->given[2], false);
}
