/* Loading a checkpoint: the model's shape and the options are compared before any weight is read, and the
 * values afterwards with the hashes in state.json. */
#include "model/hf/model_files.h"
#include "train/checkpoint_parts.h"
#include "train/unit_file.h"
#include <inttypes.h>
#include <string.h>

static const optim_part moment_parts[] = {OPTIM_M, OPTIM_V};
static const char *const moment_prefixes[] = {"m.", "v."};

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
    TRY(same_values(folder, "weights", masters, state->masters, why));
    return same_values(folder, "moments", moments, state->moments, why);
}
