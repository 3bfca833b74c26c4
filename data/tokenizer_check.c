/* Compares the tokenizer that shards name with a model folder's. The shards' hash is compared first; only if
 * that differs is the model's tokenizer opened, to compare vocabularies. */
#include "data/tokenizer_check.h"
#include "base/log.h"
#include "base/digest.h"
#include "data/tokenizer/tokenizer.h"
#include <string.h>

/* The first shard that names another tokenizer; NULL: there is none. */
static const shard *first_other(const dataset *d, const char *sha256)
{
    for (int i = 0; i < d->shards; i++) {
        const shard *s = &d->shard[i];
        if (s->identity.tokenizer_sha256[0] && strcmp(s->identity.tokenizer_sha256, sha256) != 0) return s;
    }
    return NULL;
}

static status compare(const shard *s, const char *key, const char *path, message *why)
{
    tokenizer *t;
    message ignored;
    int64_t tokens = -1;
    if (tokenizer_open(&t, path, &ignored) == OK) tokens = tokenizer_vocabulary(t);
    tokenizer_close(t);
    if (tokens >= 0 && s->identity.vocabulary >= 0 && tokens != s->identity.vocabulary)
        return fail(why, ERR_INPUT,
                    "%s: %s was tokenized with a vocabulary of %lld, but %s has %lld tokens: it was made for "
                    "another model",
                    key, s->path, (long long)s->identity.vocabulary, path, (long long)tokens);
    log_warning("%s: %s was tokenized with another tokenizer.json than %s (SHA-256 %.12s...)", key, s->path,
                path, s->identity.tokenizer_sha256);
    return OK;
}

status tokenizer_check(const dataset *d, const char *key, const char *model, message *why)
{
    char path[PATH_BYTES];
    digest_text found;
    if (!file_exists(path_join(path, model, "tokenizer.json"))) return OK;
    TRY(digest_file(path, &found, NULL, why));
    const shard *other = first_other(d, found.sha256);
    return other ? compare(other, key, path, why) : OK;
}
