/* remla data import SRC DST: token files of other programs become a shard. */
#include "base/log.h"
#include "data/import.h"
#include "train/commands.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const double PROGRESS_SECONDS = 2;

static bool ends_with(const char *text, const char *end)
{
    const size_t n = strlen(text), m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static const char *folder_of(const char *path, char folder[PATH_BYTES])
{
    const int length = (int)(path_base(path) - path); /* with the slash */
    snprintf(folder, PATH_BYTES, "%.*s", length > 1 ? length - 1 : 1, length ? path : ".");
    return folder;
}

/* ---- what was asked for -------------------------------------------------------------------------------- */

static status settings_from(import_settings *how, const char *source, const char *target, const options *o,
                            message *why)
{
    *how = (import_settings){.format = (import_format)o->import_format,
                             .token_bytes = 2 * o->import_token_bytes, /* auto, 2, 4 */
                             .vocabulary = o->import_vocabulary,
                             .eos = o->import_eos,
                             .column = o->import_column};
    if (how->vocabulary && how->eos >= how->vocabulary)
        return fail(why, ERR_USAGE, "import.eos is %lld, but import.vocabulary has only %lld",
                    (long long)how->eos, (long long)how->vocabulary);
    if (!ends_with(target, ".ds.zst") && !ends_with(target, ".ds"))
        return fail(why, ERR_USAGE, "%s: the name of what is written ends with .ds.zst or .ds", target);
    if (same_file(source, target))
        return fail(why, ERR_USAGE, "%s: is what would be imported: write under another name", target);
    return OK;
}

/* What is given goes before what the source says of itself. */
static shard_identity identity_of(const import_source *s, const import_settings *how)
{
    shard_identity identity = s->known;
    identity.token_bytes = s->token_bytes;
    if (how->vocabulary) identity.vocabulary = how->vocabulary;
    if (how->eos >= 0) identity.eos = how->eos;
    strcpy(identity.tokenizer, s->tokenizer);
    return identity;
}

/* ---- the work ------------------------------------------------------------------------------------------ */

static void say_progress(const import_source *s, double since)
{
    char left[24];
    const double seconds = clock_seconds() - since, share = (double)s->done / (double)s->bytes;
    log_line("import %.1f%% of %.0f MB | %.0f MB/s | eta %s", 100 * share, (double)s->bytes / 1e6,
             (double)s->done / seconds / 1e6, duration_text(seconds / share - seconds, left));
}

static status copy(import_source *s, shard_writer *w, message *why)
{
    const double since = clock_seconds();
    double said = since;
    for (bool more = true; more;) {
        TRY(import_step(s, w, &more, why));
        if (clock_seconds() - said < PROGRESS_SECONDS || s->done == 0) continue;
        say_progress(s, since);
        said = clock_seconds();
    }
    return OK;
}

/* Opens, copies, finishes; on failure nothing of the shard is left. */
static status write_shard(import_source *s, const char *target, const shard_identity *identity,
                          shard_summary *summary, message *why)
{
    char folder[PATH_BYTES];
    shard_writer *w;
    TRY(dataset_manifest_check(folder_of(target, folder), identity, why));
    TRY(shard_create(&w, target, identity, why));
    status result = copy(s, w, why);
    if (result == OK) result = shard_finish(w, summary, why);
    if (result != OK) {
        shard_abandon(w);
        return result;
    }
    result = dataset_manifest_write(folder, identity, summary, 1, why);
    if (result != OK) shard_remove(target);
    return result;
}

static void report(const command_line *line, const import_source *s, const shard_identity *identity,
                   const shard_summary *summary)
{
    const double bytes = (double)summary->bytes;
    if (line->json)
        printf("{\"format\": \"%s\", \"tokens\": %lld, \"documents\": %lld, \"token_bytes\": %d, \"bytes\": "
               "%lld, "
               "\"sha256\": \"%s\"}\n",
               s->format, (long long)summary->tokens, (long long)summary->documents, identity->token_bytes,
               (long long)summary->bytes, summary->sha256);
    else
        log_line("%s (%s): %lld tokens in %lld documents are now %s, %lld bytes, %.2f a token", s->path,
                 s->format, (long long)summary->tokens, (long long)summary->documents, line->positional[1],
                 (long long)summary->bytes, bytes / (double)summary->tokens);
}

status cmd_data_import(const command_line *line, options *o, const comm *c, message *why)
{
    (void)c;
    const char *source = line->positional[0], *target = line->positional[1];
    import_settings how;
    import_source s;
    shard_summary summary;
    TRY(settings_from(&how, source, target, o, why));
    TRY(import_open(&s, source, &how, why));
    const shard_identity identity = identity_of(&s, &how);
    const status result = write_shard(&s, target, &identity, &summary, why);
    if (result == OK) report(line, &s, &identity, &summary);
    import_close(&s);
    return result;
}
