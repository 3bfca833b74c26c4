/* A file is read whole before the first prompt is made, because examples may stand behind questions. */
#include "eval/tasks/question.h"
#include "base/json_text.h"
#include "base/memory.h"
#include "data/prepare/text_reader.h"
#include "data/tokenizer/unicode.h"
#include <jansson.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BATCH_BYTES = 1 << 20, MOST_DEPTH = 8 };

void question_list_free(question_list *list)
{
    for (int64_t i = 0; i < list->count; i++) {
        question *q = &list->item[i];
        for (int j = 0; j < q->choices; j++) {
            if (j == 0 || q->context[j] != q->context[0]) free(q->context[j]);
            free(q->continuation[j]);
        }
        free(q->id);
    }
    free(list->item);
    *list = (question_list){0};
}

int64_t question_characters(const char *continuation)
{
    return utf8_length(continuation, (int64_t)strlen(continuation)) - (continuation[0] == ' ');
}

status question_file(char *path, const char *folder, const char *name, message *why)
{
    TRY(path_print(path, why, "%s/%s.jsonl", folder, name));
    if (file_exists(path)) return OK;
    TRY(path_print(path, why, "%s/%s.jsonl.gz", folder, name));
    if (file_exists(path)) return OK;
    return fail(why, ERR_INPUT, "%.400s: there is neither %.100s.jsonl nor %.100s.jsonl.gz in it", folder,
                name, name);
}

/* ---- the lines of a file ---- */

typedef struct task_line {
    json_t *json;
    int64_t number;
} task_line;

typedef struct task_file {
    char path[PATH_BYTES];
    const recipe *r;
    task_line *line;
    int64_t lines, capacity;
    json_t *examples; /* group: list of the numbers (in `line`) of its examples */
    json_t *asked;    /* group: how many of its questions are taken */
    int64_t limit;
    int task, shots;
} task_file;

static void close_file(task_file *f)
{
    for (int64_t i = 0; i < f->lines; i++) json_decref(f->line[i].json);
    free(f->line);
    json_decref(f->examples);
    json_decref(f->asked);
}

static status wrong(const task_file *f, const task_line *l, message *why, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
static status wrong(const task_file *f, const task_line *l, message *why, const char *format, ...)
{
    message what;
    va_list args;
    va_start(args, format);
    vsnprintf(what.text, sizeof what.text, format, args);
    va_end(args);
    return fail(why, ERR_INPUT, "%s:%lld: %.800s", f->path, (long long)l->number, what.text);
}

static status parse(task_file *f, const char *text, const text_record *record, message *why)
{
    json_error_t error;
    task_line l = {.number = record->line};
    const char *excess = json_text_excess(text, record->bytes, MOST_DEPTH, TEXT_LINE_COMMAS);
    if (excess) return wrong(f, &l, why, "its JSON %s", excess);
    l.json = json_loadb(text, (size_t)record->bytes, JSON_REJECT_DUPLICATES, &error);
    if (!l.json) return wrong(f, &l, why, "not JSON at byte %d of the line: %s", error.position, error.text);
    f->line = array_reserve(f->line, &f->capacity, f->lines + 1, sizeof *f->line);
    f->line[f->lines++] = l;
    return json_is_object(l.json) ? OK : wrong(f, &l, why, "expected a JSON object on every line");
}

static status read_lines(task_file *f, text_reader *reader, message *why)
{
    text_batch batch = {0};
    status s = OK;
    for (bool ended = false; s == OK && !ended;) {
        text_batch_clear(&batch);
        s = text_reader_fill(reader, &batch, BATCH_BYTES, &ended, why);
        for (int64_t i = 0; s == OK && i < batch.records; i++)
            s = parse(f, batch.text + batch.record[i].at, &batch.record[i], why);
    }
    text_batch_free(&batch);
    return s;
}

static status read_file(task_file *f, message *why)
{
    text_reader reader;
    status s = text_reader_open(&reader, f->path, 0, INT64_MAX, why);
    if (s == OK) s = read_lines(f, &reader, why);
    text_reader_close(&reader);
    return s;
}

/* ---- fields of a line ---- */

/* "" where the recipe names no field. */
static status text_field(const task_file *f, const task_line *l, const char *name, const char **text,
                         message *why)
{
    *text = name[0] ? json_string_value(json_object_get(l->json, name)) : "";
    return *text ? OK : wrong(f, l, why, "there is no text \"%s\"", name);
}

/* Copies the first of "sol1,sol2", and moves *names behind it. */
static const char *next_name(const char **names, char name[64])
{
    const int length = (int)strcspn(*names, ", ");
    snprintf(name, 64, "%.*s", length, *names);
    *names += length;
    *names += strspn(*names, ", ");
    return name;
}

/* The fields of a recipe "sol1,sol2", or the list in the one that it names. */
static status take_choices(const task_file *f, const task_line *l, const char **choice, int *count,
                           message *why)
{
    const json_t *list = json_object_get(l->json, f->r->choices);
    const char *names = f->r->choices;
    char name[64];
    for (*count = 0;; ++*count) {
        const bool listed = json_is_array(list);
        if (listed ? (size_t)*count == json_array_size(list) : *count && !*names) return OK;
        if (*count == MOST_CHOICES) return wrong(f, l, why, "there are more than 26 choices");
        if (listed)
            choice[*count] = json_string_value(json_array_get(list, (size_t)*count));
        else
            choice[*count] = json_string_value(json_object_get(l->json, next_name(&names, name)));
        if (!choice[*count])
            return wrong(f, l, why, "choice %d is not a text (%.100s)", *count, f->r->choices);
    }
}

static status take_gold(const task_file *f, const task_line *l, int choices, int *gold, message *why)
{
    const json_t *value = json_object_get(l->json, "gold");
    if (!json_is_integer(value))
        return wrong(f, l, why, "there is no whole number \"gold\", the index of the right choice");
    const long long index = (long long)json_integer_value(value);
    *gold = (int)index;
    if (choices < 2) return wrong(f, l, why, "a question has two choices at least, this one %d", choices);
    if (index >= 0 && index < choices) return OK;
    return wrong(f, l, why, "gold is %lld, but the choices are 0 to %d", index, choices - 1);
}

static status take_id(const task_file *f, const task_line *l, char **id, message *why)
{
    const json_t *value = json_object_get(l->json, "id");
    char number[32];
    if (value && !json_is_string(value) && !json_is_integer(value))
        return wrong(f, l, why, "id is not a text");
    snprintf(number, sizeof number, "%lld",
             (long long)(value ? json_integer_value(value) : (json_int_t)(l - f->line)));
    *id = memory_check(strdup(json_is_string(value) ? json_string_value(value) : number), "an id");
    return OK;
}

/* ---- prompts ---- */

static char *text_of(text_buffer *b)
{
    text_buffer_append(b, "", 1);
    return b->text;
}

/* Appends the question of `line` as the prompt has it, for choice `current`. */
static status append_context(text_buffer *out, const task_file *f, const template_values *v, message *why)
{
    text_buffer context = {0};
    status s = template_render(&context, f->r->context, v, why);
    if (s == OK) s = filters_apply(f->r->filter, (int64_t)strlen(f->r->filter), &context, why);
    if (s == OK) text_buffer_append(out, context.text, context.bytes);
    text_buffer_free(&context);
    return s;
}

/* An example: its context, its right answer, the separator. */
static status append_example(text_buffer *out, const task_file *f, const task_line *l, message *why)
{
    const char *choice[MOST_CHOICES];
    template_values v = {.line = l->json, .choice = choice};
    TRY(take_choices(f, l, choice, &v.choices, why));
    TRY(take_gold(f, l, v.choices, &v.current, why));
    message inner;
    status s = append_context(out, f, &v, &inner);
    if (s == OK) s = template_render(out, f->r->continuation, &v, &inner);
    if (s != OK) return wrong(f, l, why, "%s", inner.text);
    text_buffer_append(out, f->r->separator, (int64_t)strlen(f->r->separator));
    return OK;
}

static status append_examples(text_buffer *out, const task_file *f, const char *group, message *why)
{
    const json_t *list = json_object_get(f->examples, group);
    if (json_array_size(list) < (size_t)f->shots)
        return fail(why, ERR_USAGE, "--shots %d: %s has %zu examples (split %s)%s%s", f->shots, f->path,
                    json_array_size(list), f->r->examples, group[0] ? " of " : "", group);
    for (int i = 0; i < f->shots; i++)
        TRY(append_example(out, f, &f->line[json_integer_value(json_array_get(list, (size_t)i))], why));
    return OK;
}

static status render_choice(const task_file *f, question *q, const template_values *v,
                            const text_buffer *before, message *why)
{
    text_buffer context = {0}, continuation = {0};
    text_buffer_append(&context, before->text, before->bytes);
    status s = append_context(&context, f, v, why);
    if (s == OK) s = template_render(&continuation, f->r->continuation, v, why);
    q->context[v->current] = text_of(&context);
    q->continuation[v->current] = text_of(&continuation);
    if (v->current && !strcmp(q->context[v->current], q->context[0])) {
        free(q->context[v->current]);
        q->context[v->current] = q->context[0];
    }
    q->choices = v->current + 1;
    return s;
}

static status render(const task_file *f, const task_line *l, question *q, const char *group, message *why)
{
    const char *choice[MOST_CHOICES];
    template_values v = {.line = l->json, .choice = choice};
    text_buffer before = {0};
    message inner;
    TRY(take_choices(f, l, choice, &v.choices, why));
    TRY(take_gold(f, l, v.choices, &q->gold, why));
    TRY(take_id(f, l, &q->id, why));
    status s = template_render(&before, f->r->header, &v, &inner);
    if (s != OK) s = wrong(f, l, why, "%s", inner.text);
    if (s == OK && f->shots) s = append_examples(&before, f, group, why);
    for (; s == OK && v.current < v.choices; v.current++)
        if (render_choice(f, q, &v, &before, &inner) != OK) s = wrong(f, l, why, "%s", inner.text);
    text_buffer_free(&before);
    return s;
}

/* ---- which lines ---- */

static status line_split(const task_file *f, const task_line *l, const char **split, message *why)
{
    return text_field(f, l, f->r->split[0] || f->r->examples[0] ? "split" : "", split, why);
}

/* Puts the first examples of each group down. */
static status find_examples(task_file *f, message *why)
{
    f->examples = json_object();
    for (int64_t i = 0; f->shots && i < f->lines; i++) {
        const char *split, *group;
        TRY(line_split(f, &f->line[i], &split, why));
        TRY(text_field(f, &f->line[i], f->r->group, &group, why));
        if (strcmp(split, f->r->examples) != 0) continue;
        if (!json_object_get(f->examples, group)) json_object_set_new(f->examples, group, json_array());
        json_array_append_new(json_object_get(f->examples, group), json_integer(i));
    }
    return OK;
}

static status add_question(task_file *f, const task_line *l, question_list *list, message *why)
{
    const char *split, *group;
    TRY(line_split(f, l, &split, why));
    TRY(text_field(f, l, f->r->group, &group, why));
    if (strcmp(split, f->r->split) != 0) return OK;
    const int64_t before = json_integer_value(json_object_get(f->asked, group));
    if (f->limit && before == f->limit) return OK;
    json_object_set_new(f->asked, group, json_integer(before + 1));
    list->item = array_reserve(list->item, &list->capacity, list->count + 1, sizeof *list->item);
    question *q = &list->item[list->count++];
    *q = (question){.task = f->task, .shots = f->shots, .line = l->number};
    return render(f, l, q, group, why);
}

static status add_questions(task_file *f, question_list *list, message *why)
{
    const int64_t before = list->count;
    TRY(read_file(f, why));
    TRY(find_examples(f, why));
    f->asked = json_object();
    for (int64_t i = 0; i < f->lines; i++) TRY(add_question(f, &f->line[i], list, why));
    if (list->count > before) return OK;
    return fail(why, ERR_INPUT, "%s: there is no question in it%s%s", f->path,
                f->r->split[0] ? " of split " : "", f->r->split);
}

status question_list_read(question_list *list, const recipe *r, int task, const char *folder, int64_t limit,
                          int shots, message *why)
{
    task_file f = {.r = r, .limit = limit, .task = task, .shots = shots};
    TRY(question_file(f.path, folder, r->name, why));
    const status s = add_questions(&f, list, why);
    close_file(&f);
    return s;
}
