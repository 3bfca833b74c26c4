/* remla data encode MODEL, remla data decode MODEL: text to token ids and back, a line at a time, so that
 * another program can hold a conversation over pipes. JSON strings on one side, JSON arrays of ids on the
 * other. */
#include "base/json_text.h"
#include "base/memory.h"
#include "data/tokenizer/tokenizer.h"
#include "model/hf/folder_check.h"
#include "train/commands/commands.h"
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One line of input becomes one line of output. */
typedef struct conversation {
    const tokenizer *t;
    tokenizer_work *work;
    token_list ids;
    text_buffer text;
} conversation;

typedef status (*answer)(conversation *c, const json_t *line, message *why);

/* ---- encode -------------------------------------------------------------------------------------------- */

static void print_ids(const token_list *ids)
{
    putchar('[');
    for (int64_t i = 0; i < ids->count; i++) printf(i ? ",%u" : "%u", ids->id[i]);
    fputs("]\n", stdout);
}

static status encode_line(conversation *c, const json_t *line, message *why)
{
    if (!json_is_string(line)) return fail(why, ERR_INPUT, "it is no JSON string");
    c->ids.count = 0;
    TRY(tokenizer_encode(c->work, json_string_value(line), (int64_t)json_string_length(line), &c->ids, why));
    print_ids(&c->ids);
    return OK;
}

/* ---- decode -------------------------------------------------------------------------------------------- */

static status read_ids(conversation *c, const json_t *line, message *why)
{
    if (!json_is_array(line)) return fail(why, ERR_INPUT, "it is no JSON array");
    const size_t count = json_array_size(line);
    free(c->ids.id);
    c->ids =
        (token_list){.id = memory_new((int64_t)count, sizeof *c->ids.id, "ids"), .capacity = (int64_t)count};
    for (size_t i = 0; i < count; i++) {
        const json_t *id = json_array_get(line, i);
        const json_int_t value = json_integer_value(id);
        if (!json_is_integer(id) || value < 0 || value >= tokenizer_vocabulary(c->t))
            return fail(why, ERR_INPUT, "element %zu is no id from 0 to %lld", i,
                        (long long)tokenizer_vocabulary(c->t) - 1);
        c->ids.id[c->ids.count++] = (uint32_t)value;
    }
    return OK;
}

/* In ASCII: some readers take U+2028 for the end of a line. */
static void print_text(const text_buffer *text)
{
    json_t *string = json_text_stringn(text->text, text->bytes);
    if (!string || json_dumpf(string, stdout, JSON_ENCODE_ANY | JSON_ENSURE_ASCII))
        if (!ferror(stdout)) memory_failed("the text to print");
    putchar('\n');
    json_decref(string);
}

static status decode_line(conversation *c, const json_t *line, message *why)
{
    TRY(read_ids(c, line, why));
    c->text.bytes = 0;
    TRY(tokenizer_decode(c->t, c->ids.id, c->ids.count, false, &c->text, why));
    print_text(&c->text);
    return OK;
}

/* ---- lines --------------------------------------------------------------------------------------------- */

static status answer_line(conversation *c, answer reply, const char *text, size_t bytes, message *why)
{
    json_error_t error;
    json_t *line = json_loadb(text, bytes, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
    if (!line) return fail(why, ERR_INPUT, "%.200s (column %d)", error.text, error.column);
    const status s = reply(c, line, why);
    json_decref(line);
    return s;
}

static status answer_lines(conversation *c, answer reply, message *why)
{
    char *text = NULL;
    size_t capacity = 0;
    status s = OK;
    ssize_t bytes;
    for (int64_t number = 1; s == OK && (bytes = getline(&text, &capacity, stdin)) >= 0; number++) {
        message reason;
        s = answer_line(c, reply, text, (size_t)bytes, &reason);
        if (s != OK) s = fail(why, s, "standard input, line %lld: %s", (long long)number, reason.text);
        if (fflush(stdout)) break; /* main says that it cannot be written */
    }
    if (s == OK && ferror(stdin))
        s = fail(why, ERR_INPUT, "standard input cannot be read: %s", strerror(errno));
    free(text);
    return s;
}

static status converse(const char *model, answer reply, message *why)
{
    tokenizer *t;
    TRY(model_path_check(model, why));
    TRY(tokenizer_open(&t, model, why));
    conversation c = {.t = t, .work = tokenizer_work_new(t)};
    const status s = answer_lines(&c, reply, why);
    token_list_free(&c.ids);
    text_buffer_free(&c.text);
    tokenizer_work_free(c.work);
    tokenizer_close(t);
    return s;
}

status cmd_data_encode(const command_line *line, options *o, const comm *c, message *why)
{
    (void)o, (void)c;
    return converse(line->positional[0], encode_line, why);
}

status cmd_data_decode(const command_line *line, options *o, const comm *c, message *why)
{
    (void)o, (void)c;
    return converse(line->positional[0], decode_line, why);
}
