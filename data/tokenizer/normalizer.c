/* A normalizer is a list of steps; a Sequence is flattened when it is read. Steps run one after another over
 * two buffers in turn, each reading the one and writing the other; the last writes the output. Growth is
 * bounded, since a few replacements in a file could fill any memory. */
#include "data/tokenizer/normalizer.h"
#include "base/array.h"
#include "base/memory.h"
#include "data/tokenizer/text_buffer.h"
#include "data/tokenizer/json_fields.h"
#include "data/tokenizer/normal_form.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef enum step_kind { FORM, PREPEND, REPLACE } step_kind;

typedef struct step {
    step_kind kind;
    normal_form form;
    text_buffer from, to; /* PREPEND: only `to` */
} step;

struct normalizer {
    char *path; /* of the file, for messages */
    step *step;
    int64_t count, capacity;
};

/* ---- reading ------------------------------------------------------------------------------------------- */

static step *add_step(normalizer *n, step_kind kind)
{
    n->step = array_reserve(n->step, &n->capacity, n->count + 1, sizeof *n->step);
    step *s = &n->step[n->count++];
    *s = (step){.kind = kind};
    return s;
}

static status read_prepend(normalizer *n, const json_t *value, const char *path, message *why)
{
    const char *text = "";
    int64_t bytes = 0;
    TRY(json_field_text(value, "prepend", path, "normalizer", &text, &bytes, why));
    text_buffer_append(&add_step(n, PREPEND)->to, text, bytes);
    return OK;
}

static status read_replace(normalizer *n, const json_t *value, const char *path, message *why)
{
    step *s = add_step(n, REPLACE);
    return json_field_replace(value, path, "normalizer", &s->from, &s->to, why);
}

static status read_value(normalizer *n, const json_t *value, const char *path, message *why);

static status read_sequence(normalizer *n, const json_t *value, const char *path, message *why)
{
    const json_t *list, *entry;
    size_t i;
    TRY(json_field_array(value, "normalizers", path, "normalizer", &list, why));
    json_array_foreach((json_t *)list, i, entry) TRY(read_value(n, entry, path, why));
    return OK;
}

static status read_value(normalizer *n, const json_t *value, const char *path, message *why)
{
    const char *type = "(none)";
    int64_t bytes;
    TRY(json_field_text(value, "type", path, "normalizer", &type, &bytes, why));
    for (normal_form form = 0; form < NUM_NORMAL_FORMS; form++)
        if (!strcmp(type, normal_form_name(form))) {
            add_step(n, FORM)->form = form;
            return OK;
        }
    if (!strcmp(type, "Prepend")) return read_prepend(n, value, path, why);
    if (!strcmp(type, "Replace")) return read_replace(n, value, path, why);
    if (!strcmp(type, "Sequence")) return read_sequence(n, value, path, why);
    return fail(
        why, ERR_INPUT,
        "%s: normalizer %.60s is not supported; supported: NFC, NFD, NFKC, NFKD, Prepend, Replace, Sequence",
        path, type);
}

status normalizer_read(normalizer **out, const json_t *value, const char *path, message *why)
{
    *out = NULL;
    normalizer *n = memory_new(1, sizeof *n, "a normalizer");
    n->path = memory_check(strdup(path), "the name of %s", path);
    const status s = !value || json_is_null(value) ? OK : read_value(n, value, path, why);
    if (s == OK)
        *out = n;
    else
        normalizer_free(n);
    return s;
}

void normalizer_free(normalizer *n)
{
    if (!n) return;
    for (int64_t i = 0; i < n->count; i++) {
        text_buffer_free(&n->step[i].from);
        text_buffer_free(&n->step[i].to);
    }
    free(n->step);
    free(n->path);
    free(n);
}

/* ---- running ------------------------------------------------------------------------------------------- */

bool normalizer_is_identity(const normalizer *n) { return n->count == 0; }

/* Runs one step; false if `out` would come to hold more than `most` bytes. */
static bool run_step(const step *s, const char *text, int64_t bytes, text_buffer *out, int64_t most)
{
    switch (s->kind) {
    case FORM:
        normal_form_append(s->form, text, bytes, out);
        break;
    case PREPEND:
        if (!bytes) break;
        text_buffer_append(out, s->to.text, s->to.bytes);
        text_buffer_append(out, text, bytes);
        break;
    case REPLACE:
        return text_buffer_replace(out, text, bytes, &s->from, &s->to, most);
    }
    return out->bytes <= most;
}

status normalizer_run(const normalizer *n, const char *text, int64_t bytes, text_buffer *out, message *why)
{
    const int64_t source = bytes, most = text_buffer_growth_limit(bytes);
    text_buffer between[2] = {{0}, {0}}; /* steps read one and write the other */
    bool fits = true;
    if (!n->count) text_buffer_append(out, text, bytes);
    for (int64_t i = 0; i < n->count && fits; i++) {
        text_buffer *to = i + 1 == n->count ? out : &between[i % 2];
        if (to != out) to->bytes = 0;
        fits = run_step(&n->step[i], text, bytes, to, to->bytes + most);
        text = to->text, bytes = to->bytes;
    }
    text_buffer_free(&between[0]);
    text_buffer_free(&between[1]);
    if (fits) return OK;
    return fail(why, ERR_INPUT,
                "%s: its normalizer makes more than %lld bytes of a text of %lld: that it grows more than "
                "%d-fold is not supported",
                n->path, (long long)most, (long long)source, TEXT_GROWTH);
}
