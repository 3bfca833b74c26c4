/* Loading a checkpoint: the model's shape and the options are compared before any weight is read. Then every
 * rank reads what it updates, whatever number of ranks has written it, and the weights that it only reads
 * come from the others as after an update. Last, the values are fingerprinted where they now lie and compared
 * with those of the run that wrote them. The manifest guards bytes of files; this guards what is made of
 * them: a tensor that was not set, a slice in the wrong place, a copy to a device that went wrong. */
#include "base/log.h"
#include "model/hf/model_files.h"
#include "optim/fingerprints.h"
#include "train/checkpoint_parts.h"
#include "train/slices_read.h"
#include <inttypes.h>
#include <string.h>

/* ---- the same model, the same options ------------------------------------------------------------------ */

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

/* ---- values -------------------------------------------------------------------------------------------- */

/* Masters that no state file holds are the model files', which are then float32: a rounded copy would not be
 * what the run had. */
static status check_masters(const char *folder, const safetensors *files, message *why)
{
    for (int i = 0; i < files->count; i++)
        if (files->entry[i].type != F32)
            return fail(
                why, ERR_INPUT,
                "%s: has no master weights: its optim-*.safetensors hold none, and tensor '%.200s' of the "
                "model is %s",
                folder, files->entry[i].name, dtype_name(files->entry[i].type));
    return OK;
}

static status values_from(const char *folder, optimizer *optim, const state_reader *stored,
                          const safetensors *files, message *why)
{
    const value_source masters = value_source_masters(stored, files),
                       m = value_source_states(stored, STATE_M), v = value_source_states(stored, STATE_V);
    if (masters.model) TRY(check_masters(folder, files, why));
    TRY(slices_read(optim, STATE_MASTER, &masters, why));
    TRY(slices_read(optim, STATE_M, &m, why));
    return slices_read(optim, STATE_V, &v, why);
}

/* Reads what this rank updates. Everything is open, and its headers have been checked, before it changes a
 * value. */
static status values_read(const char *folder, const model *m, optimizer *optim, message *why)
{
    model_reader r;
    state_reader stored;
    TRY(model_reader_open(&r, folder, &m->table, m->k, why));
    status s = state_reader_open(&stored, folder, &m->table, why);
    if (s == OK) {
        s = values_from(folder, optim, &stored, &r.files, why);
        state_reader_close(&stored);
    }
    model_reader_close(&r);
    return s;
}

/* ---- what was saved and what lies here now ------------------------------------------------------------- */

/* Gives the fingerprint that the weights must have, which follow from the masters. Float32 weights are the
 * masters; rounded ones were saved by a run that rounded them, too: one whose weights are not its masters.
 * False: nobody knows. */
static bool weights_wanted(const optimizer *optim, const checkpoint_state *then, uint64_t *want)
{
    const bool rounded = optim->k->act != optim->k->real;
    *want = rounded ? then->weights : then->masters;
    return !rounded || then->weights != then->masters;
}

status checkpoint_same_values(const char *folder, optimizer *optim, const checkpoint_state *then,
                              message *why)
{
    const uint64_t masters = fingerprint_states(optim, OPTIM_MASTER),
                   moments = fingerprint_states(optim, OPTIM_M) + fingerprint_states(optim, OPTIM_V),
                   copies = fingerprint_weights(optim);
    if (!then->hashed) {
        log_line("%s was written before there were fingerprints: here masters have %016" PRIx64
                 ", moments %016" PRIx64 ", weights %016" PRIx64 ", and nothing to compare them with",
                 folder, masters, moments, copies);
        return OK;
    }
    uint64_t want;
    const bool known = weights_wanted(optim, then, &want);
    status s = checkpoint_same_fingerprint(folder, "masters", masters, then->masters, why);
    if (s == OK) s = checkpoint_same_fingerprint(folder, "moments", moments, then->moments, why);
    if (s == OK && known) s = checkpoint_same_fingerprint(folder, "weights", copies, want, why);
    TRY(comm_agree(optim->c, s, why));
    log_line("%s: in memory as it was saved: fingerprints of weights %016" PRIx64 "%s, masters %016" PRIx64
             ", moments %016" PRIx64,
             folder, copies, known ? "" : " (not compared: the run that saved them did not round)", masters,
             moments);
    return OK;
}

status checkpoint_load(const char *folder, const model *m, optimizer *optim, checkpoint_state *state,
                       const options *o, message *why)
{
    const comm *const c = optim->c;
    TRY_ALL(c, same_model(folder, m, why), why);
    TRY_ALL(c, state_load(folder, o, state, why), why);
    TRY_ALL(c, values_read(folder, m, optim, why), why);
    optimizer_masters_set(optim);
    return checkpoint_same_values(folder, optim, state, why);
}
