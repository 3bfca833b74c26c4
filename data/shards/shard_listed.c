/* Looks shards up in the dataset.json of their folder. The manifest that was read last is kept: shards of one
 * folder usually come one after another. */
#include "data/shards/shard_listed.h"
#include <string.h>
#include <xxhash.h>

void listed_free(listed *l)
{
    dataset_manifest_free(&l->manifest);
    *l = (listed){0};
}

status listed_find(listed *l, const char *shard_path, const shard_summary **entry, message *why)
{
    const char *name = path_base(shard_path);
    char path[PATH_BYTES];
    *entry = NULL;
    TRY(path_print(path, why, "%.*s%s", (int)(name - shard_path), shard_path, DATASET_JSON));
    if (strcmp(path, l->path) != 0) {
        listed_free(l);
        if (file_exists(path)) TRY(dataset_manifest_read(&l->manifest, path, why));
        l->there = l->manifest.count > 0;
        strcpy(l->path, path);
    }
    if (l->there) *entry = dataset_manifest_find(&l->manifest, name);
    return OK;
}

static status other(const listed *l, const shard *s, const char *what, int64_t found, int64_t said,
                    message *why)
{
    return fail(why, ERR_INPUT,
                "%s: has %lld %s, but %s says %lld: one of the two is damaged or was replaced", s->path,
                (long long)found, what, l->path, (long long)said);
}

status listed_check(listed *l, shard *s, message *why)
{
    const shard_summary *e;
    TRY(listed_find(l, s->path, &e, why));
    if (!e) return OK;
    const int64_t bytes = file_bytes(s->path);
    if (bytes != e->bytes) return other(l, s, "bytes", bytes, e->bytes, why);
    if (s->tokens != e->tokens) return other(l, s, "tokens", s->tokens, e->tokens, why);
    if (!s->indexed)
        return fail(why, ERR_INPUT, "%s: its .index is missing, and %s says that it has %lld documents",
                    s->path, l->path, (long long)e->documents);
    if (s->documents != e->documents) return other(l, s, "documents", s->documents, e->documents, why);
    if (s->token_bytes != l->manifest.identity.token_bytes)
        return other(l, s, "bytes per token", s->token_bytes, l->manifest.identity.token_bytes, why);
    if (s->identity.vocabulary < 0) s->identity = l->manifest.identity;
    if (!s->content) s->content = XXH3_64bits(e->sha256, strlen(e->sha256));
    return OK;
}
