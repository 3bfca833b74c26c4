/* The token in front of every text. */
#include "data/tokenizer/prefix.h"
#include "base/memory.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>"}}, {"Sequence": ...}]}; NULL if it
 * begins otherwise. */
static const char *template_token(const json_t *processor)
{
    const json_t *first = json_array_get(json_object_get(processor, "single"), 0);
    return json_string_value(json_object_get(json_object_get(first, "SpecialToken"), "id"));
}

static const char *find(const json_t *processor)
{
    const char *token = template_token(processor);
    const json_t *list = json_object_get(processor, "processors");
    for (size_t i = 0; !token && i < json_array_size(list); i++)
        token = template_token(json_array_get(list, i));
    return token;
}

status prefix_read(const json_t *post_processor, const tokenizer_folder *f, char **token, message *why)
{
    special_token bos;
    bool said, adds;
    *token = NULL;
    TRY(tokenizer_folder_flag(f, "add_bos_token", &said, &adds, why));
    if (said && !adds) return OK;
    if (said) {
        TRY(tokenizer_folder_special(f, 0, "bos", &bos, why));
        *token = bos.text;
        if (*token) return OK;
    }
    const char *found = find(post_processor);
    if (found) *token = memory_check(strdup(found), "a token");
    return OK;
}
