/* Parses X.ds.metadata. The name before the last '|' may hold anything, also '|'. */
#include "data/shards/shard_metadata.h"
#include "base/file.h"
#include "data/shards/shard_identity.h"
#include <stdlib.h>
#include <string.h>

enum { METADATA_LIMIT = 1 << 16 };

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
    shard_identity_name(m->tokenizer, sizeof m->tokenizer, text, (size_t)(size - text));
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
