/* The built-in tasks: prompts to the letter of lighteval 0.10.0 with TransMLA's tasks.py, and of
 * lm-evaluation-harness 0.4.13; and the YAML of a task of one's own. */
#include "eval/tasks/recipe.h"
#include "base/memory.h"
#include "base/nearest.h"
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

enum { FILE_LIMIT = 1 << 20 };

#define QUESTION_ANSWER "Question: {question}\nAnswer:"
#define PIQA            "Question: {goal}\nAnswer:"
#define HELLASWAG       "{activity_label}: {ctx_a} {ctx_b|capitalize}"
#define SUBJECT         "{subject|replace:_: }"
#define FOUR_LETTERS    "{question|strip}\n{choices|letters}\nAnswer:"

/* By style. A row names what differs from `defaults`. */
static const recipe built_in[][2] = {
    {{.name = "arc_easy", .split = "test", .context = QUESTION_ANSWER, .norm = true},
     {.name = "arc_easy", .split = "test", .context = QUESTION_ANSWER, .norm = true}},
    {{.name = "arc_challenge", .split = "test", .context = QUESTION_ANSWER, .norm = true},
     {.name = "arc_challenge", .split = "test", .context = QUESTION_ANSWER, .norm = true}},
    {{.name = "openbookqa", .split = "validation", .context = "{question_stem}", .norm = true},
     {.name = "openbookqa", .split = "test", .context = "{question_stem}", .norm = true}},
    {{.name = "piqa", .split = "validation", .context = PIQA, .choices = "sol1,sol2", .norm = true},
     {.name = "piqa", .split = "validation", .context = PIQA, .choices = "sol1,sol2", .norm = true}},
    {{.name = "hellaswag",
      .split = "validation",
      .choices = "endings",
      .context = HELLASWAG " ",
      .filter = "clean",
      .continuation = " {choice|clean}",
      .norm = true},
     {.name = "hellaswag",
      .split = "validation",
      .choices = "endings",
      .context = HELLASWAG,
      .filter = "strip|clean",
      .continuation = " {choice|strip|clean}",
      .norm = true}},
    /* lm-eval scores the same rest of the sentence behind either option. */
    {{.name = "winogrande",
      .split = "validation",
      .choices = "option1,option2",
      .context = "{sentence|before:_}",
      .continuation = "{choice} {sentence|after:_|strip}",
      .norm = true},
     {.name = "winogrande",
      .split = "validation",
      .choices = "option1,option2",
      .context = "{sentence|before:_}{choice}",
      .continuation = " {sentence|after:_|strip}"}},
    {{.name = "mmlu",
      .split = "test",
      .group = "subject",
      .context = "The following are questions about " SUBJECT ".\n" QUESTION_ANSWER,
      .norm = true},
     {.name = "mmlu",
      .split = "test",
      .group = "subject",
      .examples = "dev",
      .header = "The following are multiple choice questions (with answers) about " SUBJECT ".\n\n",
      .context = FOUR_LETTERS,
      .continuation = " {letter}"}},
};
enum { BUILT_IN = sizeof built_in / sizeof built_in[0] };

static const recipe defaults = {.split = "",
                                .choices = "choices",
                                .header = "",
                                .filter = "",
                                .continuation = " {choice}",
                                .separator = "\n\n",
                                .examples = "",
                                .group = ""};

/* The keys of a file, and which of the texts above they are. */
static const struct key {
    const char *name;
    size_t at;
} keys[] = {
    {"split", offsetof(recipe, split)},         {"choices", offsetof(recipe, choices)},
    {"header", offsetof(recipe, header)},       {"context", offsetof(recipe, context)},
    {"filter", offsetof(recipe, filter)},       {"continuation", offsetof(recipe, continuation)},
    {"separator", offsetof(recipe, separator)}, {"examples", offsetof(recipe, examples)},
    {"group", offsetof(recipe, group)},
};
enum { KEYS = sizeof keys / sizeof keys[0] };

static const char **text_of(recipe *r, const struct key *k) { return (const char **)((char *)r + k->at); }

static void fill_in(recipe *r)
{
    for (int i = 0; i < KEYS; i++)
        if (!*text_of(r, &keys[i])) *text_of(r, &keys[i]) = *text_of((recipe *)&defaults, &keys[i]);
}

/* ---- styles and names ---- */

static const char *const styles[] = {[STYLE_TRANSMLA] = "transmla", [STYLE_LM_EVAL] = "lm-eval"};

const char *task_style_name(task_style style) { return styles[style]; }

bool task_style_find(const char *name, task_style *style)
{
    for (int i = 0; i < 2; i++)
        if (!strcmp(name, styles[i])) return *style = (task_style)i, true;
    return false;
}

const char *recipe_built_in(int i) { return i < BUILT_IN ? built_in[i][0].name : NULL; }

static status unknown(const char *name, const char *folder, message *why)
{
    const char *best = recipe_built_in(0);
    for (int i = 1; i < BUILT_IN; i++)
        if (edit_distance(name, recipe_built_in(i)) < edit_distance(name, best)) best = recipe_built_in(i);
    return fail(why, ERR_USAGE,
                "unknown task %.100s: it is not built in, and %.500s has no %.100s.yaml; did you mean %s?",
                name, folder, name, best);
}

/* ---- a file ---- */

typedef struct reading {
    recipe *r;
    const char *path;
    yaml_document_t *document;
    message *why;
} reading;

static status refuse(const reading *x, const yaml_node_t *at, const char *what)
{
    return fail(x->why, ERR_INPUT, "%s:%zu: %s", x->path, at->start_mark.line + 1, what);
}

static const char *own(recipe *r, const char *text)
{
    r->owned = memory_check(realloc(r->owned, sizeof *r->owned * (size_t)(r->owned_count + 1)), "a task");
    return r->owned[r->owned_count++] = memory_check(strdup(text), "a task");
}

static status read_key(const reading *x, const yaml_node_t *key, const yaml_node_t *value)
{
    if (key->type != YAML_SCALAR_NODE || value->type != YAML_SCALAR_NODE)
        return refuse(x, key, "expected a key and a text");
    const char *name = (const char *)key->data.scalar.value, *text = (const char *)value->data.scalar.value;
    if (strlen(text) != value->data.scalar.length) return refuse(x, value, "a text with a zero byte");
    if (!strcmp(name, "score")) {
        x->r->norm = !strcmp(text, "acc_norm");
        return x->r->norm || !strcmp(text, "acc") ? OK : refuse(x, value, "score is acc or acc_norm");
    }
    for (int i = 0; i < KEYS; i++)
        if (!strcmp(name, keys[i].name)) {
            if (*text_of(x->r, &keys[i])) return refuse(x, key, "the key is set a second time");
            *text_of(x->r, &keys[i]) = own(x->r, text);
            return OK;
        }
    return refuse(x, key,
                  "unknown key; there are split, choices, header, context, filter, continuation, separator, "
                  "examples, group and score");
}

static status read_document(const reading *x)
{
    const yaml_node_t *root = yaml_document_get_root_node(x->document);
    if (!root || root->type != YAML_MAPPING_NODE)
        return fail(x->why, ERR_INPUT, "%s: expected keys with texts, of which context must be there",
                    x->path);
    for (const yaml_node_pair_t *p = root->data.mapping.pairs.start; p < root->data.mapping.pairs.top; p++)
        TRY(read_key(x, yaml_document_get_node(x->document, p->key),
                     yaml_document_get_node(x->document, p->value)));
    if (!x->r->context) return refuse(x, root, "there is no context: the template of the prompt");
    return OK;
}

static status read_text(recipe *r, const char *path, const char *text, int64_t bytes, message *why)
{
    yaml_parser_t parser;
    yaml_document_t document;
    if (!yaml_parser_initialize(&parser)) memory_failed("a YAML parser");
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, (size_t)bytes);
    status s;
    if (yaml_parser_load(&parser, &document)) {
        s = read_document(&(reading){r, path, &document, why});
        yaml_document_delete(&document);
    } else if (parser.error == YAML_MEMORY_ERROR)
        memory_failed("the YAML of %s", path);
    else
        s = fail(why, ERR_INPUT, "%s:%zu: not valid YAML: %s", path, parser.problem_mark.line + 1,
                 parser.problem);
    yaml_parser_delete(&parser);
    return s;
}

static status read_file(recipe *r, const char *name, const char *path, message *why)
{
    char *text;
    int64_t bytes;
    TRY(file_read_text(path, FILE_LIMIT, &text, &bytes, why));
    *r = (recipe){.norm = true};
    status s = read_text(r, path, text, bytes, why);
    free(text);
    if (s == OK) {
        r->name = own(r, name);
        fill_in(r);
    } else
        recipe_free(r);
    return s;
}

status recipe_find(recipe *r, const char *name, task_style style, const char *folder, message *why)
{
    char path[PATH_BYTES];
    *r = (recipe){0};
    for (int i = 0; i < BUILT_IN; i++)
        if (!strcmp(name, built_in[i][style].name)) {
            *r = built_in[i][style];
            fill_in(r);
            return OK;
        }
    if (strchr(name, '/')) return unknown(name, folder, why);
    TRY(path_print(path, why, "%s/%s.yaml", folder, name));
    return file_exists(path) ? read_file(r, name, path, why) : unknown(name, folder, why);
}

void recipe_free(recipe *r)
{
    for (int i = 0; i < r->owned_count; i++) free(r->owned[i]);
    free(r->owned);
    *r = (recipe){0};
}
