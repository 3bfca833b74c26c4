/* Reads the files beside the weights: tokenizer_config.json, chat_template.jinja, generation_config.json. */
#include "generate/chat_text.h"
#include "base/file.h"
#include "base/json_text.h"
#include "base/memory.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_FILE_BYTES = 16 << 20 };

/* *json is NULL when there is no such file. */
static status read_json(const char *folder, const char *name, json_t **json, message *why)
{
    char path[PATH_BYTES];
    *json = NULL;
    TRY(path_print(path, why, "%s/%s", folder, name));
    return file_exists(path) ? json_text_read(json, path, MAX_FILE_BYTES, why) : OK;
}

/* ---- the template -------------------------------------------------------------------------------------- */

/* "..", or [{"name": "default", "template": ".."}, ..] */
static const json_t *default_template(const json_t *value)
{
    for (size_t i = 0; i < json_array_size(value); i++) {
        const json_t *entry = json_array_get(value, i);
        const char *name = json_string_value(json_object_get(entry, "name"));
        if (name && !strcmp(name, "default")) return json_object_get(entry, "template");
    }
    return value;
}

static status open_named(chat_template **out, const char *folder, const char *file, const char *text,
                         int64_t bytes, message *why)
{
    message reason;
    const status s = chat_template_open(out, text, bytes, &reason);
    return s == OK ? OK : fail(why, s, "%s/%s: %s", folder, file, reason.text);
}

static status from_config(chat_template **out, const char *folder, message *why)
{
    static const char file[] = "tokenizer_config.json";
    json_t *config;
    TRY(read_json(folder, file, &config, why));
    const json_t *text = default_template(json_object_get(config, "chat_template"));
    const status s = json_is_string(text) ? open_named(out, folder, file, json_string_value(text),
                                                       (int64_t)json_string_length(text), why)
                                          : OK;
    json_decref(config);
    return s;
}

status chat_template_of_folder(chat_template **out, const char *folder, message *why)
{
    static const char file[] = "chat_template.jinja";
    char path[PATH_BYTES], *text;
    int64_t bytes;
    *out = NULL;
    TRY(path_print(path, why, "%s/%s", folder, file));
    if (!file_exists(path)) return from_config(out, folder, why);
    TRY(file_read_text(path, MAX_FILE_BYTES, &text, &bytes, why));
    const status s = open_named(out, folder, file, text, bytes, why);
    free(text);
    return s;
}

/* ---- a conversation ------------------------------------------------------------------------------------ */

json_t *chat_message(const char *role, const char *text, int64_t bytes)
{
    json_t *content = json_text_stringn(text, bytes);
    return content ? memory_check(json_pack("{s:s,s:o}", "role", role, "content", content), "a chat") : NULL;
}

static void set_token(json_t *variables, const char *name, const tokenizer *t, int64_t id)
{
    text_buffer text = {0};
    if (tokenizer_special_text(t, id, &text))
        json_object_set_new(variables, name, json_text_stringn(text.text, text.bytes));
    text_buffer_free(&text);
}

status chat_text(const chat_template *c, const tokenizer *t, json_t *messages, text_buffer *out, message *why)
{
    json_t *variables = json_pack("{s:O,s:b}", "messages", messages, "add_generation_prompt", 1);
    memory_check(variables, "a chat");
    set_token(variables, "bos_token", t, tokenizer_bos(t));
    set_token(variables, "eos_token", t, tokenizer_eos(t));
    set_token(variables, "pad_token", t, tokenizer_pad(t));
    const status s = chat_template_render(c, variables, time(NULL), out, why);
    json_decref(variables);
    return s;
}

/* ---- its end ------------------------------------------------------------------------------------------- */

static void add_end(int32_t out[END_TOKENS], int *count, int64_t id)
{
    if (id < 0 || id > INT32_MAX || *count == END_TOKENS) return;
    for (int i = 0; i < *count; i++)
        if (out[i] == id) return;
    out[(*count)++] = (int32_t)id;
}

static void add_ends(int32_t out[END_TOKENS], int *count, const json_t *value)
{
    if (json_is_integer(value)) add_end(out, count, json_integer_value(value));
    for (size_t i = 0; i < json_array_size(value); i++) add_ends(out, count, json_array_get(value, i));
}

status end_tokens_of_folder(int32_t out[END_TOKENS], int *count, const char *folder, const tokenizer *t,
                            message *why)
{
    static const char *const files[] = {"generation_config.json", "config.json"};
    *count = 0;
    add_end(out, count, tokenizer_eos(t));
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        json_t *config;
        TRY(read_json(folder, files[i], &config, why));
        add_ends(out, count, json_object_get(config, "eos_token_id"));
        json_decref(config);
    }
    return OK;
}
