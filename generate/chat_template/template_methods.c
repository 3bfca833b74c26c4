/* Methods of strings and objects. To add one: a function and a row in a table at the end. */
#include "generate/chat_template/template_run.h"
#include "data/tokenizer/unicode.h"
#include <string.h>
#include <utf8proc.h>

typedef json_t *(*method_function)(template_run *x, json_t *v, const arguments *a);

static const char *text_of(const json_t *v) { return json_string_value(v); }
static int64_t bytes_of(const json_t *v) { return (int64_t)json_string_length(v); }

/* ---- stripping ----------------------------------------------------------------------------------------- */

static bool is_stripped(uint32_t c, const json_t *characters)
{
    if (!characters || value_is_none(characters)) return unicode_is_space(c) || (c >= 0x1c && c <= 0x1f);
    const char *text = text_of(characters), *end = text + bytes_of(characters);
    for (int n; text < end; text += n)
        if (utf8_at(text, &n) == c) return true;
    return false;
}

json_t *text_strip(template_run *x, const json_t *v, const json_t *characters, bool left, bool right)
{
    const char *text = text_of(v), *end = text + bytes_of(v);
    int n;
    if (characters && !value_is_none(characters) && !json_is_string(characters))
        return run_failed(x, "the characters to strip are no string");
    while (left && text < end && is_stripped(utf8_at(text, &n), characters)) text += n;
    while (right && text < end) {
        const char *last = end - 1;
        while (((uint8_t)*last & 0xc0) == 0x80) last--;
        if (!is_stripped(utf8_at(last, &n), characters)) break;
        end = last;
    }
    return run_string(x, text, end - text);
}

static json_t *strip(template_run *x, json_t *v, const arguments *a)
{
    return text_strip(x, v, a->given[0], true, true);
}
static json_t *lstrip(template_run *x, json_t *v, const arguments *a)
{
    return text_strip(x, v, a->given[0], true, false);
}
static json_t *rstrip(template_run *x, json_t *v, const arguments *a)
{
    return text_strip(x, v, a->given[0], false, true);
}

/* ---- case ---------------------------------------------------------------------------------------------- */

json_t *text_cased(template_run *x, const json_t *v, text_case wanted)
{
    text_buffer text = {0};
    const char *p = text_of(v), *end = p + bytes_of(v);
    bool inside = false; /* of a word, or of the text */
    for (int n; p < end; p += n) {
        const utf8proc_int32_t c = (utf8proc_int32_t)utf8_at(p, &n);
        const bool upper = wanted == CASE_UPPER || (wanted != CASE_LOWER && !inside);
        const utf8proc_int32_t to = upper ? utf8proc_toupper(c) : utf8proc_tolower(c);
        text.bytes += utf8_put(text_buffer_reserve(&text, 4), (uint32_t)to);
        inside = wanted == CASE_CAPITAL || utf8proc_toupper(c) != utf8proc_tolower(c);
    }
    return run_text(x, &text);
}
static json_t *upper(template_run *x, json_t *v, const arguments *a)
{
    return (void)a, text_cased(x, v, CASE_UPPER);
}
static json_t *lower(template_run *x, json_t *v, const arguments *a)
{
    return (void)a, text_cased(x, v, CASE_LOWER);
}
static json_t *title(template_run *x, json_t *v, const arguments *a)
{
    return (void)a, text_cased(x, v, CASE_TITLE);
}
static json_t *capitalize(template_run *x, json_t *v, const arguments *a)
{
    return (void)a, text_cased(x, v, CASE_CAPITAL);
}

/* ---- searching ----------------------------------------------------------------------------------------- */

static const char *find(const char *text, const char *end, const json_t *what)
{
    return memmem(text, (size_t)(end - text), text_of(what), json_string_length(what));
}

static bool has_at(const char *text, const char *end, const json_t *what)
{
    return end - text >= bytes_of(what) && !memcmp(text, text_of(what), json_string_length(what));
}

/* One string, or a list of which one is enough. */
static json_t *bounded_by(template_run *x, const json_t *v, const json_t *what, bool at_end)
{
    const char *text = text_of(v), *end = text + bytes_of(v);
    if (json_is_array(what)) {
        for (size_t i = 0; i < json_array_size(what); i++) {
            json_t *one = json_is_string(json_array_get(what, i))
                              ? bounded_by(x, v, json_array_get(what, i), at_end)
                              : NULL;
            if (!one) return run_failed(x, "startswith and endswith want strings");
            if (json_is_true(one)) return one;
        }
        return run_bool(false);
    }
    if (!json_is_string(what))
        return run_failed(x, "startswith and endswith want a string, not %s", value_type(what));
    if (at_end && end - text >= bytes_of(what)) text = end - bytes_of(what);
    return run_bool(has_at(text, end, what));
}
static json_t *startswith(template_run *x, json_t *v, const arguments *a)
{
    return bounded_by(x, v, a->given[0], false);
}
static json_t *endswith(template_run *x, json_t *v, const arguments *a)
{
    return bounded_by(x, v, a->given[0], true);
}

static bool wants_string(template_run *x, const json_t *v, const char *what)
{
    if (json_is_string(v)) return true;
    run_failed(x, "%s wants a string, not %s", what, value_type(v));
    return false;
}

static json_t *find_in(template_run *x, json_t *v, const arguments *a)
{
    if (!wants_string(x, a->given[0], "find")) return NULL;
    const char *text = text_of(v), *found = find(text, text + bytes_of(v), a->given[0]);
    return run_whole(found ? utf8_length(text, found - text) : -1);
}

static json_t *count(template_run *x, json_t *v, const arguments *a)
{
    if (!wants_string(x, a->given[0], "count") || !bytes_of(a->given[0]))
        return run_failed(x, "count wants a text");
    const char *text = text_of(v), *end = text + bytes_of(v);
    json_int_t n = 0;
    for (; (text = find(text, end, a->given[0])); text += bytes_of(a->given[0])) n++;
    return run_whole(n);
}

json_t *text_replace(template_run *x, const json_t *v, const json_t *from, const json_t *to, int64_t most)
{
    const char *text = text_of(v), *end = text + bytes_of(v);
    text_buffer out = {0};
    if (!bytes_of(from)) return run_failed(x, "to replace an empty text is not supported");
    for (const char *found; most != 0 && (found = find(text, end, from)); most--) {
        text_buffer_append(&out, text, found - text);
        text_buffer_append(&out, text_of(to), bytes_of(to));
        text = found + bytes_of(from);
        if (out.bytes > RUN_MAX_TEXT) break; /* run_text refuses it */
    }
    text_buffer_append(&out, text, end - text);
    return run_text(x, &out);
}

static json_t *replace(template_run *x, json_t *v, const arguments *a)
{
    if (!wants_string(x, a->given[0], "replace") || !wants_string(x, a->given[1], "replace")) return NULL;
    return text_replace(x, v, a->given[0], a->given[1],
                        a->given[2] && json_is_integer(a->given[2]) ? json_integer_value(a->given[2]) : -1);
}

static json_t *without(template_run *x, json_t *v, const json_t *what, bool at_end)
{
    json_t *has = bounded_by(x, v, what, at_end);
    if (!has) return NULL;
    const int64_t cut = json_is_true(has) && json_is_string(what) ? bytes_of(what) : 0;
    return run_string(x, text_of(v) + (at_end ? 0 : cut), bytes_of(v) - cut);
}
static json_t *removeprefix(template_run *x, json_t *v, const arguments *a)
{
    return without(x, v, a->given[0], false);
}
static json_t *removesuffix(template_run *x, json_t *v, const arguments *a)
{
    return without(x, v, a->given[0], true);
}

/* ---- splitting and joining ----------------------------------------------------------------------------- */

/* At runs of white space. */
static json_t *split_words(template_run *x, const json_t *v, int64_t most)
{
    json_t *list = json_array();
    const char *text = text_of(v), *end = text + bytes_of(v);
    for (int n;;) {
        while (text < end && is_stripped(utf8_at(text, &n), NULL)) text += n;
        if (text == end) return list;
        const char *word = text;
        while (text < end && (most == 0 || !is_stripped(utf8_at(text, &n), NULL))) text += most == 0 ? 1 : n;
        json_t *part = run_string(x, word, text - word); /* the last one may have white space at its end */
        if (!run_append(x, list, part)) return json_decref(list), NULL;
        most--;
    }
}

static json_t *split_at(template_run *x, const json_t *v, const json_t *separator, int64_t most)
{
    json_t *list = json_array();
    const char *text = text_of(v), *end = text + bytes_of(v);
    for (;;) {
        const char *found = most == 0 ? NULL : find(text, end, separator);
        if (!run_append(x, list, run_string(x, text, (found ? found : end) - text)))
            return json_decref(list), NULL;
        if (!found) return list;
        text = found + bytes_of(separator);
        most--;
    }
}

static json_t *split(template_run *x, json_t *v, const arguments *a)
{
    const json_t *separator = a->given[0], *limit = a->given[1];
    const int64_t most = limit && json_is_integer(limit) ? json_integer_value(limit) : -1;
    if (!separator || value_is_none(separator)) return split_words(x, v, most);
    if (!wants_string(x, separator, "split")) return NULL;
    return bytes_of(separator) ? split_at(x, v, separator, most)
                               : run_failed(x, "split wants a separator that is not empty");
}

/* The last `most` separators from the right. */
static json_t *rsplit(template_run *x, json_t *v, const arguments *a)
{
    const json_t *limit = a->given[1];
    if (!wants_string(x, a->given[0], "rsplit") || !bytes_of(a->given[0]))
        return run_failed(x, "rsplit wants a separator");
    json_t *all = split_at(x, v, a->given[0], -1);
    const int64_t parts = (int64_t)json_array_size(all);
    const int64_t most =
        limit && json_is_integer(limit) && json_integer_value(limit) >= 0 ? json_integer_value(limit) : parts;
    if (!all || parts <= most + 1) return all;
    text_buffer first = {0};
    for (int64_t i = 0; i < parts - most; i++) {
        if (i) value_text(a->given[0], false, &first);
        value_text(json_array_get(all, 0), false, &first);
        json_array_remove(all, 0);
    }
    json_t *head = run_text(x, &first);
    if (!head) return json_decref(all), NULL;
    json_array_insert_new(all, 0, head);
    return all;
}

static json_t *splitlines(template_run *x, json_t *v, const arguments *a)
{
    (void)a;
    json_t *newline = json_string("\n"), *list = split_at(x, v, newline, -1);
    json_decref(newline);
    const size_t n = json_array_size(list);
    if (n && json_string_length(json_array_get(list, n - 1)) == 0) json_array_remove(list, n - 1);
    return list;
}

static json_t *join(template_run *x, json_t *v, const arguments *a)
{
    json_t *all = run_elements(x, a->given[0]);
    text_buffer text = {0};
    bool good = all != NULL;
    for (size_t i = 0; good && i < json_array_size(all); i++) {
        if (i) value_text(v, false, &text);
        good = wants_string(x, json_array_get(all, i), "join");
        value_text(json_array_get(all, i), false, &text);
        if (text.bytes > RUN_MAX_TEXT) break; /* run_text refuses it */
    }
    json_decref(all);
    if (good) return run_text(x, &text);
    text_buffer_free(&text);
    return NULL;
}

static json_t *isdigit_all(template_run *x, json_t *v, const arguments *a)
{
    (void)x, (void)a;
    return run_bool(bytes_of(v) && (int64_t)strspn(text_of(v), "0123456789") == bytes_of(v));
}

/* ---- objects ------------------------------------------------------------------------------------------- */

static json_t *items(template_run *x, json_t *v, const arguments *a)
{
    return (void)a, run_filter_named(x, "items", v);
}
static json_t *keys(template_run *x, json_t *v, const arguments *a) { return (void)a, run_elements(x, v); }

static json_t *values(template_run *x, json_t *v, const arguments *a)
{
    (void)a;
    const char *key;
    json_t *value, *list = json_array();
    json_object_foreach(v, key, value) json_array_append(list, value);
    return run_charge(x, (int64_t)json_array_size(list)) ? list : (json_decref(list), NULL);
}

static json_t *get(template_run *x, json_t *v, const arguments *a)
{
    json_t *value = run_item(x, v, a->given[0]);
    if (value != UNDEFINED) return value;
    return a->given[1] ? json_incref(a->given[1]) : json_null();
}

/* ---- the tables ---------------------------------------------------------------------------------------- */

static const struct method {
    const char *name;
    method_function run;
    const char *parameters;
    int least;
} of_strings[] =
    {
        {"capitalize", capitalize, "", 0},
        {"count", count, "sub", 1},
        {"endswith", endswith, "suffix", 1},
        {"find", find_in, "sub", 1},
        {"isdigit", isdigit_all, "", 0},
        {"join", join, "iterable", 1},
        {"lower", lower, "", 0},
        {"lstrip", lstrip, "chars", 0},
        {"removeprefix", removeprefix, "prefix", 1},
        {"removesuffix", removesuffix, "suffix", 1},
        {"replace", replace, "old,new,count", 2},
        {"rsplit", rsplit, "sep,maxsplit", 1},
        {"rstrip", rstrip, "chars", 0},
        {"split", split, "sep,maxsplit", 0},
        {"splitlines", splitlines, "", 0},
        {"startswith", startswith, "prefix", 1},
        {"strip", strip, "chars", 0},
        {"title", title, "", 0},
        {"upper", upper, "", 0},
        {NULL, NULL, NULL, 0},
},
  of_objects[] = {
      {"get", get, "key,default", 1}, {"items", items, "", 0}, {"keys", keys, "", 0},
      {"values", values, "", 0},      {NULL, NULL, NULL, 0},
};

json_t *run_method(template_run *x, json_t *v, const char *name, const node *list)
{
    const struct method *m = json_is_string(v) ? of_strings : json_is_object(v) ? of_objects : NULL;
    while (m && m->name && strcmp(m->name, name) != 0) m++;
    if (!m || !m->name) return run_failed(x, "the method %.60s of %s is not supported", name, value_type(v));
    arguments a;
    if (!run_arguments(x, list, name, m->parameters, m->least, &a)) return NULL;
    json_t *result = m->run(x, v, &a);
    arguments_free(&a);
    return result;
}
