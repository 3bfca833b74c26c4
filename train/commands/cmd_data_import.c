/* remla data import SRC DST: token files of other programs become a shard. */
#include "base/clock.h"
#include "base/log.h"
#include "base/stop.h"
#include "data/prepare/import.h"
#include "data/shards/dataset_json.h"
#include "data/shards/shard.h"
#include "data/tokenizer/tokenizer.h"
#include "train/commands/commands.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static const double PROGRESS_SECONDS = 2;

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

/* ---- settings ------------------------------------------------------------------------------------------ */

/* False also where an import was killed between the shard's name and the list's. */
static bool is_listed(const char *target)
{
    char folder[PATH_BYTES], path[PATH_BYTES];
    dataset_manifest m;
    message ignored;
    if (dataset_manifest_read(&m, path_join(path, folder_of(target, folder), DATASET_JSON), &ignored) != OK)
        return false;
    const bool found = dataset_manifest_find(&m, path_base(target));
    dataset_manifest_free(&m);
    return found;
}

static status names_check(const char *source, const char *target, message *why)
{
    if (!shard_named(target))
        return fail(why, ERR_USAGE, "%s: the name of what is written ends with .ds.zst or .ds", target);
    if (same_file(source, target))
        return fail(why, ERR_USAGE, "%s: is what would be imported: write under another name", target);
    if (file_exists(target))
        return fail(why, ERR_INPUT, "%s exists; nothing is overwritten: name a new file%s", target,
                    is_listed(target) ? ""
                                      : "; no " DATASET_JSON
                                        " lists it: if an import that was killed has left it, remove it");
    return OK;
}

/* Ids that mark something are ids. */
static status identity_check(shard_identity *identity, message *why)
{
    const int64_t vocabulary = identity->vocabulary;
    if (vocabulary < 0) return OK;
    if (identity->bos >= vocabulary) identity->bos = -1;
    if (identity->pad >= vocabulary) identity->pad = -1;
    if (identity->eos < vocabulary) return OK;
    return fail(why, ERR_USAGE,
                "the end-of-text id is %lld, but ids are below %lld (import.eos and import.vocabulary, or "
                "import.model)",
                (long long)identity->eos, (long long)vocabulary);
}

/* What the options say of the ids. */
static status identity_given(shard_identity *identity, const options *o, message *why)
{
    *identity = (shard_identity){.vocabulary = -1, .eos = -1, .bos = -1, .pad = -1};
    if (o->import_model[0]) {
        tokenizer *t;
        TRY(tokenizer_open(&t, o->import_model, why));
        *identity = shard_identity_of(t, tokenizer_eos(t));
        tokenizer_close(t);
    }
    identity->vocabulary = option_or(o->import_vocabulary, identity->vocabulary);
    identity->eos = option_or(o->import_eos, identity->eos);
    return identity_check(identity, why);
}

/* With what the source says, where the options said nothing. */
static status identity_join(shard_identity *identity, const import_source *s, message *why)
{
    const shard_identity *known = &s->known;
    if (identity->tokenizer_sha256[0] && known->tokenizer_sha256[0] &&
        strcmp(identity->tokenizer_sha256, known->tokenizer_sha256) != 0)
        return fail(why, ERR_USAGE,
                    "%s: its ids are of another tokenizer.json (SHA-256 %.12s...) than import.model's",
                    s->path, known->tokenizer_sha256);
    identity->token_bytes = s->token_bytes;
    if (identity->vocabulary < 0) identity->vocabulary = known->vocabulary;
    if (identity->eos < 0) identity->eos = known->eos;
    if (identity->bos < 0) identity->bos = known->bos;
    if (identity->pad < 0) identity->pad = known->pad;
    if (!identity->tokenizer[0]) strcpy(identity->tokenizer, s->tokenizer);
    if (!identity->tokenizer_sha256[0]) strcpy(identity->tokenizer_sha256, known->tokenizer_sha256);
    const int64_t limit = identity->token_bytes == 2 ? 1 << 16 : IMPORT_VOCABULARY;
    if (identity->vocabulary < 0 && identity->eos >= limit)
        return fail(why, ERR_USAGE, "%s: import.eos=%lld, but its ids of %d bytes are below %lld", s->path,
                    (long long)identity->eos, identity->token_bytes, (long long)limit);
    return identity_check(identity, why);
}

/* Both as train/option_words.c does it. */
static import_format format_of(option_import_format word)
{
    switch (word) {
    case OPTION_import_format_datatrove:
        return IMPORT_DATATROVE;
    case OPTION_import_format_llmc:
        return IMPORT_LLMC;
    case OPTION_import_format_megatron:
        return IMPORT_MEGATRON;
    case OPTION_import_format_nanogpt:
        return IMPORT_NANOGPT;
    case OPTION_import_format_mds:
        return IMPORT_MDS;
    case OPTION_import_format_auto:
        break;
    }
    return IMPORT_AUTO;
}

static int token_bytes_of(option_import_token_bytes word)
{
    switch (word) {
    case OPTION_import_token_bytes_2:
        return 2;
    case OPTION_import_token_bytes_4:
        return 4;
    case OPTION_import_token_bytes_auto:
        break;
    }
    return 0;
}

static import_settings settings_from(const shard_identity *identity, const options *o)
{
    return (import_settings){.format = format_of(o->import_format),
                             .token_bytes = token_bytes_of(o->import_token_bytes),
                             .vocabulary = identity->vocabulary < 0 ? 0 : identity->vocabulary,
                             .eos = identity->eos,
                             .blocks = o->import_eos.word == OPTION_NUMBER,
                             .column = o->import_column};
}

/* ---- the work ------------------------------------------------------------------------------------------ */

static void say_progress(const import_source *s, double since)
{
    char left[24];
    const double seconds = clock_seconds() - since, share = (double)s->done / (double)s->bytes;
    log_line("import %.1f%% of %.0f MB | %.0f MB/s | eta %s", 100 * share, (double)s->bytes / 1e6,
             (double)s->done / seconds / 1e6, clock_duration_text(seconds / share - seconds, left));
}

static status copy(import_source *s, shard_writer *w, message *why)
{
    const double since = clock_seconds();
    double said = since;
    for (bool more = true; more;) {
        if (stop_requested())
            return fail(why, STOPPED,
                        "stopped by signal %d: nothing was written; start again from the beginning",
                        stop_requested());
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
    TRY(shard_writer_create(&w, target, identity, why));
    status result = copy(s, w, why);
    if (result == OK) result = shard_writer_finish(w, summary, why);
    if (result != OK) {
        shard_writer_abandon(w);
        return result;
    }
    result = dataset_manifest_write(folder, identity, summary, 1, why);
    if (result != OK) shard_writer_remove(target);
    return result;
}

static void report(const command_line *line, const import_source *s, const shard_identity *identity,
                   const shard_summary *summary)
{
    const double bytes = (double)summary->bytes;
    if (s->eos >= 0 && !s->eos_seen)
        log_warning("%s: the end-of-text id %lld is nowhere in it%s", s->path, (long long)s->eos,
                    s->keeps_documents ? "" : ": it became one document");
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

static status run(const command_line *line, const options *o, message *why)
{
    const char *source = line->positional[0], *target = line->positional[1];
    shard_identity identity;
    import_source s;
    shard_summary summary;
    TRY(names_check(source, target, why));
    TRY(identity_given(&identity, o, why));
    const import_settings settings = settings_from(&identity, o);
    TRY(import_open(&s, source, &settings, why));
    status result = identity_join(&identity, &s, why);
    if (result == OK) result = write_shard(&s, target, &identity, &summary, why);
    if (result == OK) report(line, &s, &identity, &summary);
    import_close(&s);
    return result;
}

/* One rank works: others would write into the same files. A signal that mpirun hands on must not end those
 * others, or mpirun kills the first before it has removed what it was writing. */
status cmd_data_import(const command_line *line, options *o, const comm *c, message *why)
{
    stop_catch();
    return COMM_ROOT(c, run(line, o, why), why);
}
