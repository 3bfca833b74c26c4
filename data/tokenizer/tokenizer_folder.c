/* The files of a tokenizer's folder. Special tokens may be named in three files, in two ways: as text in
 * tokenizer_config.json, as ids in generation_config.json and config.json; a missing file names none. */
#include "data/tokenizer/tokenizer_folder.h"
#include "base/json_text.h"
#include "base/memory.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_CONFIG_BYTES = 16 << 20 };

/* Names the folder by the last part of its real path, so that "." has a name too. */
static void name_of(tokenizer_folder *f)
{
    char *real = realpath(f->folder, NULL);
    const char *name = path_base(real ? real : f->folder);
    snprintf(f->name, sizeof f->name, "%s", name[0] ? name : "tokenizer");
    free(real);
}

status tokenizer_folder_find(tokenizer_folder *f, const char *path, message *why)
{
    if (strlen(path) + sizeof "/tokenizer.json" > PATH_BYTES)
        return fail(why, ERR_INPUT, "%.200s...: the path is too long", path);
    if (folder_exists(path)) {
        snprintf(f->folder, sizeof f->folder, "%s", path);
        path_join(f->tokenizer, path, "tokenizer.json");
        if (!file_exists(f->tokenizer))
            return fail(why, ERR_INPUT, "%s: there is no tokenizer.json in it", path);
    } else {
        const int folder_bytes = (int)(path_base(path) - path);
        snprintf(f->tokenizer, sizeof f->tokenizer, "%s", path);
        snprintf(f->folder, sizeof f->folder, "%.*s", folder_bytes ? folder_bytes : 1,
                 folder_bytes ? path : ".");
    }
    name_of(f);
    return OK;
}

/* Reads the JSON object in a file of the folder; NULL when there is no such file. */
static status read_config(const tokenizer_folder *f, const char *name, json_t **json, message *why)
{
    char path[PATH_BYTES];
    *json = NULL;
    if (strlen(f->folder) + strlen(name) + 2 > PATH_BYTES || !file_exists(path_join(path, f->folder, name)))
        return OK;
    return json_text_read(json, path, MAX_CONFIG_BYTES, why);
}

/* "TOKEN" or {"content": "TOKEN"} */
static char *text_of(const json_t *value)
{
    if (json_is_object(value)) value = json_object_get(value, "content");
    return json_is_string(value) ? memory_check(strdup(json_string_value(value)), "a token") : NULL;
}

static int64_t number_of(const json_t *value)
{
    if (json_is_array(value)) value = json_array_get(value, 0);
    return json_is_integer(value) ? json_integer_value(value) : -1;
}

status tokenizer_folder_special(const tokenizer_folder *f, int place, const char *kind, special_token *out,
                                message *why)
{
    static const char *const files[SPECIAL_PLACES] = {"tokenizer_config.json", "generation_config.json",
                                                      "config.json"};
    const bool spelled = place == 0;
    char key[32];
    json_t *json;
    *out = (special_token){.id = -1};
    TRY(read_config(f, files[place], &json, why));
    snprintf(key, sizeof key, spelled ? "%s_token" : "%s_token_id", kind);
    const json_t *value = json_object_get(json, key);
    if (spelled)
        out->text = text_of(value);
    else
        out->id = number_of(value);
    json_decref(json);
    return OK;
}

status tokenizer_folder_flag(const tokenizer_folder *f, const char *key, bool *said, bool *value,
                             message *why)
{
    json_t *json;
    TRY(read_config(f, "tokenizer_config.json", &json, why));
    *said = json_is_boolean(json_object_get(json, key));
    *value = json_is_true(json_object_get(json, key));
    json_decref(json);
    return OK;
}
