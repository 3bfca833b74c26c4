/* Opens and runs a template. */
#include "generate/chat_template/chat_template.h"
#include "base/memory.h"
#include "generate/chat_template/template_run.h"
#include <stdlib.h>
#include <string.h>

struct chat_template {
    node *statements, *all;
    char *source; /* a copy */
};

static status named(message *why, status s)
{
    const message reason = *why;
    return fail(why, s, "chat template, %s", reason.text);
}

status chat_template_open(chat_template **out, const char *source, int64_t bytes, message *why)
{
    chat_template *t = memory_new(1, sizeof *t, "a chat template");
    t->source = memory_check(strndup(source, (size_t)bytes), "a chat template");
    const status s = template_parse(&t->statements, &t->all, source, bytes, why);
    *out = s == OK ? t : NULL;
    if (s == OK) return OK;
    chat_template_close(t);
    return named(why, s);
}

void chat_template_close(chat_template *t)
{
    if (!t) return;
    node_free_all(t->all);
    free(t->source);
    free(t);
}

const char *chat_template_source(const chat_template *t) { return t->source; }

/* A namespace may have been put into a namespace's list: emptying them all first breaks any circle. */
static void free_namespaces(json_t *all)
{
    for (size_t i = 0; i < json_array_size(all); i++) json_object_clear(json_array_get(all, i));
    json_decref(all);
}

status chat_template_render(const chat_template *t, json_t *variables, time_t now, text_buffer *out,
                            message *why)
{
    const int64_t before = out->bytes;
    text_buffer text = {0};
    scope given = {.names = variables}, top = {.names = json_object(), .outer = &given};
    template_run x = {
        .scope = &top, .top = &top, .namespaces = json_array(), .out = &text, .line = 1, .why = why};
    localtime_r(&now, &x.now);
    const run_flow flow = run_statements(&x, t->statements);
    if (flow != FLOW_FAILED) text_buffer_append(out, text.text, text.bytes);
    text_buffer_free(&text);
    json_decref(top.names);
    free_namespaces(x.namespaces);
    free(x.macro);
    if (flow != FLOW_FAILED) return OK;
    out->bytes = before;
    return named(why, ERR_INPUT);
}
