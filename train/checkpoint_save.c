/* Saving checkpoints. A checkpoint exists when a folder has its name, and only a rename gives it
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
#include "base/clock.h"
#include "base/file.h"
#include "base/machine.h"
#include "base/memory.h"
#include "model/hf/model_files.h"
#include "model/hf/tokenizer_files.h"
#include "optim/fingerprints.h"
#include "train/checkpoint_parts.h"
#include "train/environment.h"
#include "train/manifest.h"
#include "train/unit_file.h"
#include <stdlib.h>

static const optim_part moment_parts[] = {OPTIM_M, OPTIM_V};
static const char *const moment_prefixes[] = {"m.", "v."};

int64_t checkpoint_bytes(const param_table *table)
{
    return model_files_bytes(table, F32, MODEL_FILE_BYTES) + unit_file_bytes(table, moment_prefixes, 2);
}

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

static status write_all(const char *run, const model_config *config, optimizer *optim, checkpoint_state *now,
                        const options *o, const comm *c, message *why)
{
    char folder[PATH_BYTES], path[PATH_BYTES];
    written_files written = {0};
    now->ranks = c->size;
    now->threads = machine_threads();
    checkpoint_temporary(folder, run, now->step);
    status s = COMM_ROOT(c, begin(run, folder, config, optim, o, now->step, &written, why), why);
    if (s == OK) s = unit_file_write_masters(folder, optim, c, &written, NULL, why);
    if (s == OK)
        s = unit_file_write(path_join(path, folder, CHECKPOINT_MOMENTS), optim, moment_parts, moment_prefixes,
                            2, 1, c, &written, NULL, why);
    now->masters = fingerprint_states(optim, OPTIM_MASTER);
    now->moments = fingerprint_states(optim, OPTIM_M) + fingerprint_states(optim, OPTIM_V);
    now->weights = fingerprint_weights(optim);
    now->hashed = true;
    if (s == OK) s = COMM_ROOT(c, end(run, folder, now, &written, why), why);
    if (s != OK && c->rank == 0) {
        message ignored; /* the first failure is reported */
        folder_remove(folder, &ignored);
    }
    written_free(&written);
    return s;
}

struct checkpoint_writer {
    optimizer *optim;
    const model *m;
    const model_config *config;
    const options *o;
    const comm *c;
    checkpoint_progress progress;
};

checkpoint_writer *checkpoint_writer_open(optimizer *optim, const model *m, const model_config *config,
                                          const options *o, const comm *c)
{
    checkpoint_writer *w = memory_new(1, sizeof *w, "the writer of checkpoints");
    *w = (checkpoint_writer){.optim = optim, .m = m, .config = config, .o = o, .c = c};
    return w;
}

void checkpoint_writer_close(checkpoint_writer *w) { free(w); }

status checkpoint_begin(checkpoint_writer *w, const char *run, const checkpoint_state *state, message *why)
{
    const double start = clock_seconds();
    checkpoint_state now = *state;
    TRY(write_all(run, w->config, w->optim, &now, w->o, w->c, why));
    const double seconds = clock_seconds() - start;
    w->progress = (checkpoint_progress){
        .running = true, .step = now.step, .weights = now.weights, .stall = seconds, .seconds = seconds};
    return OK;
}

status checkpoint_poll(checkpoint_writer *w, bool wait, checkpoint_progress *p, message *why)
{
    (void)wait, (void)why;
    w->progress.running = false;
    *p = w->progress;
    return OK;
}
