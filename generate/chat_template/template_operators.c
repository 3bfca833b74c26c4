/* Operators, parts of values, and what keeps made values small. */
#include "generate/chat_template/template_run.h"
#include <math.h>
#include <string.h>

/* ---- computing ----------------------------------------------------------------------------------------- */

static json_t *too_large(template_run *x) { return run_failed(x, "a number leaves the 64 bits"); }

/* Python rounds towards minus infinity, and % has the sign of the right side. */
static json_t *whole_quotient(template_run *x, json_int_t a, json_int_t b, bool remainder)
{
    if (b == 0) return run_failed(x, "a division by zero");
    if (b == -1) return remainder ? json_integer(0) : a == INT64_MIN ? too_large(x) : json_integer(-a);
    const bool down = a % b != 0 && (a < 0) != (b < 0);
    return json_integer(remainder ? a % b + (down ? b : 0) : a / b - down);
}

static json_t *whole_power(template_run *x, json_int_t a, json_int_t b)
{
    json_int_t result = 1;
    if (b < 0) return a ? json_real(pow((double)a, (double)b)) : run_failed(x, "a division by zero");
    if (b > 64 && (a > 1 || a < -1)) return too_large(x);
    for (b = b > 64 ? 64 + b % 2 : b; b > 0; b--)
        if (__builtin_mul_overflow(result, a, &result)) return too_large(x);
    return json_integer(result);
}

static json_t *compute_whole(template_run *x, const char *op, json_int_t a, json_int_t b)
{
    json_int_t result;
    if (!strcmp(op, "+")) return __builtin_add_overflow(a, b, &result) ? too_large(x) : json_integer(result);
    if (!strcmp(op, "-")) return __builtin_sub_overflow(a, b, &result) ? too_large(x) : json_integer(result);
    if (!strcmp(op, "*")) return __builtin_mul_overflow(a, b, &result) ? too_large(x) : json_integer(result);
    if (!strcmp(op, "**")) return whole_power(x, a, b);
    if (!strcmp(op, "/")) return b ? json_real((double)a / (double)b) : run_failed(x, "a division by zero");
    return whole_quotient(x, a, b, !strcmp(op, "%"));
}

static json_t *compute_real(template_run *x, const char *op, double a, double b)
{
    double result;
    if (!strcmp(op, "+"))
        result = a + b;
    else if (!strcmp(op, "-"))
        result = a - b;
    else if (!strcmp(op, "*"))
        result = a * b;
    else if (!strcmp(op, "**"))
        result = pow(a, b);
    else if (!(b < 0) && !(b > 0))
        return run_failed(x, "a division by zero");
    else if (!strcmp(op, "/"))
        result = a / b;
    else
        result = !strcmp(op, "//") ? floor(a / b) : a - floor(a / b) * b;
    return isfinite(result) ? json_real(result) : run_failed(x, "a number is not finite");
}

static json_t *joined(template_run *x, const json_t *a, const json_t *b)
{
    text_buffer text = {0};
    value_text(a, false, &text);
    value_text(b, false, &text);
    return run_text(x, &text);
}

static json_t *lists_joined(template_run *x, json_t *a, json_t *b)
{
    if (!run_charge(x, (int64_t)(json_array_size(a) + json_array_size(b)))) return NULL;
    json_t *list = json_copy(a);
    json_array_extend(list, b);
    return list;
}

/* "ab" * 3, [0] * 3 */
static json_t *repeated(template_run *x, json_t *what, json_int_t times)
{
    const int64_t size =
        json_is_string(what) ? (int64_t)json_string_length(what) : (int64_t)json_array_size(what);
    if (times < 0 || !size) times = 0;
    if (times > RUN_MAX_TEXT / (size ? size : 1))
        return run_failed(x, "a value grows beyond %d", RUN_MAX_TEXT);
    if (!run_charge(x, size * times)) return NULL;
    if (json_is_string(what)) {
        text_buffer text = {0};
        for (; times > 0; times--) value_text(what, false, &text);
        return run_text(x, &text);
    }
    json_t *list = json_array();
    for (; times > 0; times--) json_array_extend(list, what);
    return list;
}

static bool repeats(const json_t *a, const json_t *b)
{
    return (json_is_string(a) || json_is_array(a)) && value_is_whole(b);
}

static json_t *binary(template_run *x, const char *op, json_t *a, json_t *b)
{
    if (!strcmp(op, "~")) return joined(x, a, b);
    if (value_is_whole(a) && value_is_whole(b)) return compute_whole(x, op, value_whole(a), value_whole(b));
    if (value_is_number(a) && value_is_number(b)) return compute_real(x, op, value_real(a), value_real(b));
    if (!strcmp(op, "+") && json_is_string(a) && json_is_string(b)) return joined(x, a, b);
    if (!strcmp(op, "+") && json_is_array(a) && json_is_array(b)) return lists_joined(x, a, b);
    if (!strcmp(op, "*") && repeats(a, b)) return repeated(x, a, value_whole(b));
    if (!strcmp(op, "*") && repeats(b, a)) return repeated(x, b, value_whole(a));
    return run_failed(x, "%s %s %s is not possible", value_type(a), op, value_type(b));
}

json_t *run_binary(template_run *x, const char *op, json_t *a, json_t *b)
{
    json_t *result = binary(x, op, a, b);
    json_decref(a);
    json_decref(b);
    return result;
}

int run_comparison(template_run *x, const char *op, json_t *a, json_t *b)
{
    int order;
    bool possible;
    if (!run_charge(x, json_is_array(b) ? (int64_t)json_array_size(b) : 1)) return -1;
    if (!strcmp(op, "==")) return value_equal(a, b);
    if (!strcmp(op, "!=")) return !value_equal(a, b);
    if (!strcmp(op, "in") || !strcmp(op, "not in")) {
        const bool in = value_contains(b, a, &possible);
        if (possible) return in == !strcmp(op, "in");
        return run_failed(x, "%s cannot be in %s", value_type(a), value_type(b)) ? 0 : -1;
    }
    if (!value_order(a, b, &order))
        return run_failed(x, "%s %s %s is not possible", value_type(a), op, value_type(b)) ? 0 : -1;
    if (!strcmp(op, "<")) return order < 0;
    if (!strcmp(op, ">")) return order > 0;
    return !strcmp(op, "<=") ? order <= 0 : order >= 0;
}

/* ---- parts --------------------------------------------------------------------------------------------- */

json_t *run_item(template_run *x, const json_t *v, const json_t *key)
{
    if (json_is_object(v)) {
        json_t *value = json_is_string(key) ? json_object_get(v, json_string_value(key)) : NULL;
        return value ? json_incref(value) : UNDEFINED;
    }
    if (!value_is_whole(key) || (!json_is_array(v) && !json_is_string(v))) return UNDEFINED;
    const int64_t n = value_length(v), asked = value_whole(key), i = asked < 0 ? asked + n : asked;
    if (i < 0 || i >= n) return UNDEFINED;
    if (json_is_array(v)) return json_incref(json_array_get(v, (size_t)i));
    const char *text = json_string_value(v);
    const int64_t bytes = (int64_t)json_string_length(v), from = text_offset(text, bytes, i);
    return run_string(x, text + from, text_offset(text + from, bytes - from, 1));
}

/* A bound of a slice as Python clips it. */
static int64_t bound(const json_t *part, int64_t n, int64_t step, int64_t otherwise)
{
    if (!part || value_is_none(part)) return otherwise;
    const int64_t low = step < 0 ? -1 : 0, high = step < 0 ? n - 1 : n;
    int64_t i = value_whole(part);
    if (i < 0) i = i < -n ? -1 - n : i + n;
    if (i < 0 && step > 0) return low;
    return i < low ? low : i > high ? high : i;
}

static bool slice_is_possible(template_run *x, json_t *const part[3], int64_t *step)
{
    for (int i = 0; i < 3; i++)
        if (part[i] && !value_is_none(part[i]) && !value_is_whole(part[i]))
            return run_failed(x, "a bound of a slice is %s", value_type(part[i]));
    *step = part[2] && !value_is_none(part[2]) ? value_whole(part[2]) : 1;
    if (*step == 0 || *step > INT32_MAX || *step < -INT32_MAX)
        return run_failed(x, "the step of a slice is %lld", (long long)*step);
    return true;
}

json_t *run_slice(template_run *x, const json_t *v, json_t *const part[3])
{
    int64_t step = 1;
    if (!json_is_array(v) && !json_is_string(v)) return run_failed(x, "%s cannot be sliced", value_type(v));
    if (!slice_is_possible(x, part, &step)) return NULL;
    const int64_t n = value_length(v);
    const int64_t from = bound(part[0], n, step, step < 0 ? n - 1 : 0),
                  to = bound(part[1], n, step, step < 0 ? -1 : n);
    json_t *all = run_elements(x, v), *list = json_array();
    for (int64_t i = from; all && (step < 0 ? i > to : i < to); i += step)
        json_array_append(list, json_array_get(all, (size_t)i));
    json_decref(all);
    if (!all || json_is_array(v)) return all ? list : (json_decref(list), NULL);
    text_buffer text = {0};
    for (size_t i = 0; i < json_array_size(list); i++) value_text(json_array_get(list, i), false, &text);
    json_decref(list);
    return run_text(x, &text);
}

json_t *run_container(template_run *x, json_t *made)
{
    const char *key;
    json_t *element;
    size_t i;
    int64_t visited = 0;
    bool good = true;
    if (json_is_array(made))
        json_array_foreach(made, i, element) good = good && !run_is_namespace(x, element);
    else
        json_object_foreach(made, key, element) good = good && !run_is_namespace(x, element);
    if (!good) run_failed(x, "a namespace in a list or an object is not supported");
    if (good && value_depth(made, RUN_MAX_NESTING, &visited) >= RUN_MAX_NESTING)
        good = run_failed(x, "lists and objects are nested deeper than %d", RUN_MAX_NESTING);
    good = good && run_charge(x, visited);
    if (good) return made;
    json_decref(made);
    return NULL;
}
