#include "data/shard_metadata.h"
#include "base/file.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { METADATA_LIMIT = 1 << 16 };

/* As much of the name as there is room for, in whole characters. */
static status name_take(shard_metadata *m, const char *path, const char *name, size_t length, message *why)
{
    if (length >= sizeof m->tokenizer) {
        length = sizeof m->tokenizer - 1;
        while (length > 0 && (name[length] & 0xc0) == 0x80) length--;
    }
    memcpy(m->tokenizer, name, length);
    m->tokenizer[length] = 0;
    json_t *text = json_string(m->tokenizer);
    if (!text) return fail(why, ERR_INPUT, "%s: the name of the tokenizer in line 1 is not UTF-8", path);
    json_decref(text);
    return OK;
}

static status parse(shard_metadata *m, const char *path, char *text, message *why)
{
    char *count = strchr(text, '\n');
    if (count) *count++ = 0;
    const char *size = strrchr(text, '|');
    if (!size)
        return fail(why, ERR_INPUT, "%s: line 1 is \"%.100s\", expected TOKENIZER|TOKEN_SIZE", path, text);
    if (strcmp(size, "|2") != 0 && strcmp(size, "|4") != 0)
        return fail(why, ERR_INPUT, "%s: line 1 gives a token size of \"%.100s\" bytes, expected 2 or 4",
                    path, size + 1);
    m->token_bytes = size[1] - '0';
    TRY(name_take(m, path, text, (size_t)(size - text), why));
    if (count) count[strcspn(count, "\r\n")] = 0;
    if (!count || !count[0] || strlen(count) > 18 || count[strspn(count, "0123456789")])
        return fail(why, ERR_INPUT, "%s: line 2 is \"%.100s\", expected the number of tokens", path,
                    count ? count : "");
    m->tokens = atoll(count);
    return OK;
}

status shard_metadata_read(shard_metadata *m, const char *path, message *why)
{
    char *text;
    int64_t length;
    *m = (shard_metadata){0};
    TRY(file_read_text(path, METADATA_LIMIT, &text, &length, why));
    const status s = parse(m, path, text, why);
    free(text);
    return s;
}
