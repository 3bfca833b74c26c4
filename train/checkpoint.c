/* Saving, verifying, finding, loading and pruning checkpoints. The order of saving is the promise: write
 * beside, sync every file, manifest last, sync the folder, rename. A kill before the rename leaves the older
 * checkpoints, one after it the new one. */
#include "train/checkpoint.h"
#include "base/file.h"
#include "base/log.h"
#include "model/model_files.h"
#include "train/manifest.h"
#include "train/unit_file.h"
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const optim_part moment_parts[] = {OPTIM_M, OPTIM_V};
static const char *const moment_prefixes[] = {"m.", "v."};
enum { STATE_LIMIT = 1 << 20 };
static const char *const OPTIONS_FILE = "options.yaml";

static void checkpoints_folder(char *out, const char *run) { path_join(out, run, "checkpoints"); }

void step_folder(char *out, const char *run, int64_t step)
{
    char folder[PATH_BYTES], name[40];
    checkpoints_folder(folder, run);
    snprintf(name, sizeof name, "step-%08lld", (long long)step);
    path_join(out, folder, name);
}

/* ---- folders of steps ---------------------------------------------------------------------------------- */

/* Reads "step-00000012" and what may follow it ("" for a finished checkpoint, ".tmp", ".old"); false for
 * other names. */
static bool step_name(const char *name, int64_t *step, const char **rest)
{
    char *end;
    if (strncmp(name, "step-", 5) != 0 || name[5] < '0' || name[5] > '9') return false;
    *step = strtoll(name + 5, &end, 10);
    *rest = end;
    return true;
}

typedef struct step_list {
    int64_t *step; /* falling */
    int count;
} step_list;

static int falling(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

static status steps_of(const char *run, step_list *list, message *why)
{
    char folder[PATH_BYTES];
    checkpoints_folder(folder, run);
    *list = (step_list){0};
    DIR *dir = opendir(folder);
    if (!dir)
        return errno == ENOENT ? OK
                               : fail(why, ERR_INPUT, "%s: cannot be listed: %s", folder, strerror(errno));
    for (struct dirent *entry; (entry = readdir(dir));) {
        int64_t step;
        const char *rest;
        if (!step_name(entry->d_name, &step, &rest) || *rest) continue;
        list->step = realloc(list->step, sizeof *list->step * (size_t)(list->count + 1));
        REQUIRE(list->step, "no memory for %d steps", list->count);
        list->step[list->count++] = step;
    }
    closedir(dir);
    if (list->count) qsort(list->step, (size_t)list->count, sizeof *list->step, falling);
    return OK;
}

/* What save, publish and prune leave behind when they are killed. Other names are somebody's copies. */
static bool ours(const char *rest)
{
    return strcmp(rest, ".tmp") == 0 || strcmp(rest, ".old") == 0 || strcmp(rest, ".trash") == 0;
}

status checkpoint_clean(const char *run, message *why)
{
    char folder[PATH_BYTES];
    checkpoints_folder(folder, run);
    TRY(folder_make(folder, why));
    DIR *dir = opendir(folder);
    if (!dir) return fail(why, ERR_INPUT, "%s: cannot be listed: %s", folder, strerror(errno));
    status s = OK;
    for (struct dirent *entry; s == OK && (entry = readdir(dir));) {
        int64_t step;
        const char *rest;
        if (!step_name(entry->d_name, &step, &rest) || !ours(rest)) continue;
        char path[PATH_BYTES], final[PATH_BYTES];
        path_join(path, folder, entry->d_name);
        step_folder(final, run, step);
        if (strcmp(rest, ".old") == 0 && !folder_exists(final)) /* killed while it was being replaced */
            s = folder_commit(path, final, why);
        else
            s = folder_remove(path, why);
    }
    closedir(dir);
    return s;
}

/* ---- saving -------------------------------------------------------------------------------------------- */

static status text_write(const char *folder, const char *name, char *text, message *why)
{
    char path[PATH_BYTES];
    REQUIRE(text, "no memory for %s", name);
    const status s = file_write(path_join(path, folder, name), text, (int64_t)strlen(text), NULL, why);
    free(text);
    return s;
}

static char *state_text(const checkpoint_state *s)
{
    char fingerprint[24];
    snprintf(fingerprint, sizeof fingerprint, "%016" PRIx64, s->fingerprint);
    json_t *json =
        json_pack("{s:I, s:I, s:I, s:s}", "step", (json_int_t)s->step, "position", (json_int_t)s->position,
                  "tokens", (json_int_t)s->tokens, "data_fingerprint", fingerprint);
    char *text = json_dumps(json, JSON_INDENT(2));
    json_decref(json);
    return text;
}

/* Rank 0's share: everything but weights and moments, which all ranks bring. */
static status files_save(const char *folder, const model_config *config, const checkpoint_state *state,
                         const options *o, message *why)
{
    char path[PATH_BYTES];
    TRY(folder_remove(folder, why));
    TRY(folder_make(folder, why));
    TRY(text_write(folder, "config.json", config_with_storage(config, F32), why));
    TRY(tokenizer_copy(o->model_path, folder, why));
    TRY(options_write(o, path_join(path, folder, OPTIONS_FILE), why));
    return text_write(folder, "state.json", state_text(state), why);
}

/* Gives the finished folder its name; a folder that has it already (the run was rolled back) makes room only
 * when the new one is ready. */
static status publish(const char *temporary, const char *final, message *why)
{
    char old[PATH_BYTES];
    const bool replaces = folder_exists(final);
    snprintf(old, sizeof old, "%.*s.old", PATH_BYTES - 8, final);
    TRY(manifest_write(temporary, why));
    if (replaces) TRY(folder_commit(final, old, why));
    TRY(folder_commit(temporary, final, why));
    return replaces ? folder_remove(old, why) : OK;
}

status checkpoint_save(const char *run, const model_config *config, const model *m, optimizer *optim,
                       const checkpoint_state *state, const options *o, const comm *c, message *why)
{
    char final[PATH_BYTES], temporary[PATH_BYTES], path[PATH_BYTES];
    step_folder(final, run, state->step);
    snprintf(temporary, sizeof temporary, "%.*s.tmp", PATH_BYTES - 8, final);
    uint64_t hash;
    int64_t bytes;
    status s = comm_agree(c, c->rank == 0 ? files_save(temporary, config, state, o, why) : OK, why);
    if (s == OK) s = masters_write(temporary, &m->table, optim, c, why);
    if (s == OK)
        s = unit_file_write(path_join(path, temporary, "optim-00000.safetensors"), &m->table, optim,
                            moment_parts, moment_prefixes, 2, 1, c, &hash, &bytes, why);
    if (s == OK) s = comm_agree(c, c->rank == 0 ? publish(temporary, final, why) : OK, why);
    if (s != OK && c->rank == 0) {
        message ignored; /* the first failure is the one to tell */
        folder_remove(temporary, &ignored);
    }
    return s;
}

status checkpoint_prune(const char *run, int64_t keep, int64_t best, message *why)
{
    step_list list;
    TRY(steps_of(run, &list, why));
    status s = OK;
    char folder[PATH_BYTES], trash[PATH_BYTES];
    if (list.count > keep) {
        step_folder(folder, run, list.step[0]);
        s = checkpoint_verify(folder, why);
    }
    for (int64_t i = keep; i < list.count && s == OK; i++) {
        if (list.step[i] == best) continue;
        step_folder(folder, run, list.step[i]);
        snprintf(trash, sizeof trash, "%.*s.trash", PATH_BYTES - 8, folder);
        s = folder_commit(folder, trash,
                          why); /* first its name, so that no half-deleted folder looks like a checkpoint */
        if (s == OK) s = folder_remove(trash, why);
    }
    free(list.step);
    return s;
}

/* ---- finding and loading ------------------------------------------------------------------------------- */

status checkpoint_verify(const char *folder, message *why) { return manifest_verify(folder, why); }

status checkpoint_newest(const char *run, char *folder, message *why)
{
    step_list list;
    TRY(steps_of(run, &list, why));
    message damage = {{0}};
    folder[0] = 0;
    for (int i = 0; i < list.count && !folder[0]; i++) {
        step_folder(folder, run, list.step[i]);
        if (checkpoint_verify(folder, &damage) == OK) break;
        log_warning("passing over %s: %s", folder, damage.text);
        folder[0] = 0;
    }
    free(list.step);
    if (list.count && !folder[0])
        return fail(why, ERR_INPUT, "%s: none of its %d checkpoints is whole; the oldest: %.700s", run,
                    list.count, damage.text);
    return OK;
}

static status state_read(const char *folder, checkpoint_state *state, message *why)
{
    char path[PATH_BYTES], *text;
    int64_t bytes;
    TRY(file_read_text(path_join(path, folder, "state.json"), STATE_LIMIT, &text, &bytes, why));
    json_error_t error;
    json_t *json = json_loadb(text, (size_t)bytes, JSON_REJECT_DUPLICATES, &error);
    free(text);
    json_int_t step, position, tokens;
    const char *fingerprint;
    const int bad =
        !json || json_unpack_ex(json, &error, JSON_STRICT, "{s:I, s:I, s:I, s:s}", "step", &step, "position",
                                &position, "tokens", &tokens, "data_fingerprint", &fingerprint);
    if (!bad)
        *state = (checkpoint_state){.step = step,
                                    .position = position,
                                    .tokens = tokens,
                                    .fingerprint = strtoull(fingerprint, NULL, 16)};
    json_decref(json);
    return bad ? fail(why, ERR_INPUT, "%s: line %d: %s", path, error.line, error.text) : OK;
}

static status same_params(const char *folder, const param_table *found, const param_table *want, message *why)
{
    for (int i = 0; i < want->count && i < found->count; i++) {
        const param *f = &found->param[i], *w = &want->param[i];
        if (strcmp(f->name, w->name) != 0)
            return fail(why, ERR_INPUT,
                        "%s: is a checkpoint of another model: it has tensor %s where this model has %s",
                        folder, f->name, w->name);
        if (f->dim[0] != w->dim[0] || f->dim[1] != w->dim[1])
            return fail(
                why, ERR_INPUT,
                "%s: is a checkpoint of another model: %s is (%lld,%lld), this model's is (%lld,%lld)",
                folder, w->name, (long long)f->dim[0], (long long)f->dim[1], (long long)w->dim[0],
                (long long)w->dim[1]);
    }
    if (found->count != want->count)
        return fail(why, ERR_INPUT, "%s: is a checkpoint of another model: it has %d tensors, this model %d",
                    folder, found->count, want->count);
    return OK;
}

/* What no tensor shows: constants of the computation. */
static status same_constants(const char *folder, const dims *found, const dims *want, message *why)
{
    const struct {
        const char *key;
        double found, want;
    } constants[] = {
        {"rms_norm_eps", found->norm_eps, want->norm_eps},
        {"rope_theta", found->rope.theta, want->rope.theta},
        {"rope_scaling", found->rope.llama3, want->rope.llama3},
        {"rope_scaling factor", found->rope.factor, want->rope.factor},
        {"rope_scaling low_freq_factor", found->rope.low_freq_factor, want->rope.low_freq_factor},
        {"rope_scaling high_freq_factor", found->rope.high_freq_factor, want->rope.high_freq_factor},
        {"rope_scaling original_max_position_embeddings", found->rope.original_max_position,
         want->rope.original_max_position},
        {"num_attention_heads", (double)found->H, (double)want->H},
    };
    for (size_t i = 0; i < sizeof constants / sizeof constants[0]; i++)
        if (constants[i].found != constants[i].want)
            return fail(why, ERR_INPUT, "%s: is a checkpoint of another model: %s is %g, this model's is %g",
                        folder, constants[i].key, constants[i].found, constants[i].want);
    return OK;
}

/* Same tensors, shapes and constants, said before anything is read. */
static status same_model(const char *folder, const model *m, message *why)
{
    model_config config;
    TRY(config_read(&config, folder, why));
    param_table found;
    param_table_init(&found, &config.d);
    status s = same_params(folder, &found, &m->table, why);
    if (s == OK) s = same_constants(folder, &config.d, &m->d, why);
    param_table_free(&found);
    config_free(&config);
    return s;
}

/* A run goes on as if it had not stopped: what decides its batches must be as it was. */
static status same_options(const char *folder, const options *now, message *why)
{
    char path[PATH_BYTES];
    options then;
    message difference;
    options_init(&then);
    status s = options_read_yaml(&then, path_join(path, folder, OPTIONS_FILE), why);
    if (s == OK) {
        s = options_same(now, &then, &difference);
        if (s != OK)
            fail(why, s, "%s: %.600s; give the same value, or start a new run with model.path=%s", folder,
                 difference.text, folder);
    }
    options_free(&then);
    return s;
}

status checkpoint_load(const char *folder, const model *m, optimizer *optim, checkpoint_state *state,
                       const options *o, message *why)
{
    char path[PATH_BYTES];
    TRY(same_model(folder, m, why));
    TRY(same_options(folder, o, why));
    TRY(state_read(folder, state, why));
    TRY(model_check(folder, &m->d, why));
    TRY(masters_read(folder, &m->table, optim, why));
    return unit_file_read(path_join(path, folder, "optim-00000.safetensors"), &m->table, optim, moment_parts,
                          moment_prefixes, 2, why);
}
