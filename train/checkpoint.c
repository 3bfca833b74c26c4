/* Saving and loading checkpoints. A checkpoint exists when a folder has its name, and only a rename gives it
 * that name:
 *
 *   .remla-tmp-step-00000012/    begin   rank 0 writes config, tokenizer and options
 *                                        all ranks gather masters and moments, a unit at a time;
 *                                        rank 0 writes them and syncs every file
 *                                end     rank 0 writes state.json, then MANIFEST.json with the
 *                                        hashes of what was in memory, reads all back, compares
 *           |
 *           |  rename, sync of RUN/checkpoints
 *           v
 *   step-00000012/                       from here on older checkpoints may go
 *
 * A kill before the rename leaves the older checkpoints, a kill after it the new one. The next start removes
 * a hidden folder that was left (checkpoint_clean).
 *
 * Two hashes guard the numbers beyond that. The manifest's are of files: a disk that loses a bit is found.
 * Those in state.json are of the values alone, in the model's order: every rank computes them again from what
 * it has loaded, so a reader that puts a right tensor in the wrong place is found, too. */
#include "base/file.h"
#include "base/machine.h"
#include "model/hf/model_files.h"
#include "model/hf/tokenizer_files.h"
#include "train/checkpoint_parts.h"
#include "train/environment.h"
#include "train/manifest.h"
#include "train/unit_file.h"
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static const optim_part moment_parts[] = {OPTIM_M, OPTIM_V};
static const char *const moment_prefixes[] = {"m.", "v."};

int64_t checkpoint_bytes(const param_table *table)
{
    return model_files_bytes(table, F32, MODEL_FILE_BYTES) + unit_file_bytes(table, moment_prefixes, 2);
}

/* ---- saving -------------------------------------------------------------------------------------------- */

/* Takes `text` over. */
static status text_write(const char *folder, const char *name, char *text, written_files *written,
                         message *why)
{
    char path[PATH_BYTES];
    const status s = written_text(written, path_join(path, folder, name), text, why);
    free(text);
    return s;
}

/* Rank 0's share before weights and moments. What is in the way shows before anything large is written. */
static status begin(const char *run, const char *folder, const model_config *config, const optimizer *optim,
                    const options *o, int64_t step, written_files *written, message *why)
{
    bool replaces;
    TRY(checkpoint_vacant(run, step, &replaces, why));
    TRY(folder_remove(folder, why));
    TRY(folder_make(folder, why));
    TRY(text_write(folder, "config.json", config_with_storage(config, F32), written, why));
    TRY(tokenizer_files_copy(o->model_path, folder, written, why));
    TRY(text_write(folder, CHECKPOINT_OPTIONS, options_text(o), written, why));
    return environment_write(folder, o, optim->k, optim->c, written, why);
}

/* Rank 0's share after weights and moments. Reads back what was written before it counts as a checkpoint, and
 * so before an older one goes. */
static status end(const char *run, const char *folder, const checkpoint_state *state, written_files *written,
                  message *why)
{
    message damage;
    TRY(checkpoint_state_write(folder, state, written, why));
    TRY(manifest_write(folder, written, why));
    const status s = checkpoint_verify(folder, &damage);
    if (s != OK) return fail(why, s, "the checkpoint is not what was written: %.900s", damage.text);
    return checkpoint_publish(run, state->step, why);
}

status checkpoint_save(const char *run, const model_config *config, optimizer *optim,
                       const checkpoint_state *state, const options *o, const comm *c, message *why)
{
    char folder[PATH_BYTES], path[PATH_BYTES];
    written_files written = {0};
    checkpoint_state now = *state;
    now.ranks = c->size;
    now.threads = machine_threads();
    checkpoint_temporary(folder, run, now.step);
    status s = COMM_ROOT(c, begin(run, folder, config, optim, o, now.step, &written, why), why);
    if (s == OK) s = unit_file_write_masters(folder, optim, c, &written, &now.weights, why);
    if (s == OK)
        s = unit_file_write(path_join(path, folder, CHECKPOINT_MOMENTS), optim, moment_parts, moment_prefixes,
                            2, 1, c, &written, &now.moments, why);
    if (s == OK) s = COMM_ROOT(c, end(run, folder, &now, &written, why), why);
    if (s != OK && c->rank == 0) {
        message ignored; /* the first failure is reported */
        folder_remove(folder, &ignored);
    }
    written_free(&written);
    return s;
}

/* ---- loading ------------------------------------------------------------------------------------------- */

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

/* Compares the constants of the computation, which no tensor shows. */
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

/* Compares tensors, shapes and constants before any weight is read. */
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

/* A run that resumes continues as if it had not stopped, so the options that decide its batches must be
 * equal.
 */
static status same_options(const char *folder, const options *now, const options *then, message *why)
{
    message difference;
    const status s = options_same(now, then, &difference);
    if (s == OK) return OK;
    return fail(why, s, "%s: %.600s; give the same value, or start a new run with model.path=%s", folder,
                difference.text, folder);
}

static status state_load(const char *folder, const options *now, checkpoint_state *state, message *why)
{
    char path[PATH_BYTES];
    options then;
    options_init(&then);
    status s = options_read_yaml(&then, path_join(path, folder, CHECKPOINT_OPTIONS), why);
    if (s == OK) s = same_options(folder, now, &then, why);
    if (s == OK) s = checkpoint_state_read(folder, &then, state, why);
    options_free(&then);
    return s;
}

/* Rank 0 has verified the files. This checks what every rank has read. */
static status same_values(const char *folder, const char *what, uint64_t found, uint64_t want, message *why)
{
    if (found == want) return OK;
    return fail(why, ERR_INPUT,
                "%s: the %s that were read have the XXH3 %016" PRIx64 ", its " CHECKPOINT_STATE
                " says %016" PRIx64 ": they are not what was saved",
                folder, what, found, want);
}

status checkpoint_load(const char *folder, const model *m, optimizer *optim, checkpoint_state *state,
                       const options *o, message *why)
{
    char path[PATH_BYTES];
    uint64_t masters, moments;
    TRY(same_model(folder, m, why));
    TRY(state_load(folder, o, state, why));
    TRY(model_check(folder, &m->d, why));
    TRY(unit_file_read_masters(folder, optim, &masters, why));
    TRY(unit_file_read(path_join(path, folder, CHECKPOINT_MOMENTS), optim, moment_parts, moment_prefixes, 2,
                       &moments, why));
    if (!state->hashed) return OK;
    TRY(same_values(folder, "weights", masters, state->weights, why));
    return same_values(folder, "moments", moments, state->moments, why);
}
