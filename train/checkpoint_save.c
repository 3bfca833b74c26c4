/* Saving checkpoints, behind the run. A checkpoint exists when a folder has its name, and only a rename gives
 * it that name:
 *
 *                                the training         a thread of each rank
 *   .remla-tmp-step-00000012/    checkpoint_begin
 *                                  makes the folder
 *                                  reserves bytes
 *                                  copies             hashes, writes and syncs its files; rank 0 config,
 *                                checkpoint_poll      tokenizer and options, too
 *                                  all have written:
 *                                  hashes go to       of rank 0: writes state.json, then MANIFEST.json
 *                                  rank 0             with the hashes of what was in memory
 *           |
 *           |  rename, sync of RUN/checkpoints
 *           v
 *   step-00000012/                 all know it        from here on older checkpoints may go
 *
 * A kill before the rename leaves the older checkpoints, a kill after it the new one. The next start removes
 * a hidden folder that was left (checkpoint_clean). Threads talk to no other rank: what one of them has found
 * out travels when all ranks poll.
 *
 * Nothing is read back: a sync that has succeeded vouches for the bytes, and one that has failed for none,
 * whatever a second one would say. Two kinds of hashes find what a disk changes later. The manifest's are of
 * files. Those in state.json are fingerprints of the values alone: a reader that puts a right tensor in the
 * wrong place is found, too. */
#include "base/clock.h"
#include "base/file.h"
#include "base/json_text.h"
#include "base/log.h"
#include "base/machine.h"
#include "base/memory.h"
#include "base/helper.h"
#include "model/hf/tokenizer_files.h"
#include "train/checkpoint_files.h"
#include "train/checkpoint_parts.h"
#include "train/environment.h"
#include "train/manifest.h"
#include "train/option_words.h"
#include <stdlib.h>
#include <string.h>

struct checkpoint_writer {
    const model_config *config;
    const options *o;
    const comm *c;
    helper *thread;
    json_t *environment;
    checkpoint_files files;
    enum { IDLE, WRITING, COMMITTING } phase; /* the same on all ranks */
    char run[PATH_BYTES], folder[PATH_BYTES]; /* `folder`: the hidden one */
    checkpoint_state state;
    written_files written; /* on rank 0: the files of all ranks */
    double start;          /* when it began */
    double handed;         /* when this rank's thread got its work */
};

checkpoint_writer *checkpoint_writer_open(optimizer *optim, const model_config *config, const options *o,
                                          json_t *environment, const comm *c)
{
    checkpoint_writer *w = memory_new(1, sizeof *w, "the writer of checkpoints");
    *w = (checkpoint_writer){
        .config = config, .o = o, .environment = environment, .c = c, .thread = helper_start()};
    checkpoint_files_init(&w->files, optim, checkpoint_weights_of(o, optim->k->act));
    return w;
}

void checkpoint_writer_close(checkpoint_writer *w)
{
    checkpoint_progress ignored;
    message why;
    if (!w) return;
    if (checkpoint_poll(w, true, &ignored, &why) != OK)
        log_warning("step %lld has no checkpoint: %s", (long long)w->state.step, why.text);
    helper_stop(w->thread);
    checkpoint_files_free(&w->files);
    written_free(&w->written);
    free(w);
}

/* On a thread. */
static status touch(void *context, message *why)
{
    checkpoint_writer *const w = context;
    (void)why;
    copy_ring_touch(w->files.ring);
    return OK;
}

void checkpoint_writer_prepare(checkpoint_writer *w)
{
    if (w->files.ring) return;
    checkpoint_files_room(&w->files);
    if (!w->files.o->k->device)
        helper_run(w->thread, touch, w); /* the system gives memory when it is touched */
}

/* ---- rank 0's small files ------------------------------------------------------------------------------ */

/* Takes `text` over. */
static status text_write(checkpoint_writer *w, const char *name, char *text, message *why)
{
    char path[PATH_BYTES];
    const status s = written_text(&w->written, path_join(path, w->folder, name), text, why);
    free(text);
    return s;
}

/* Writes those that say what the model is and where it comes from. */
static status describe(checkpoint_writer *w, message *why)
{
    TRY(text_write(w, "config.json", config_with_storage(w->config, w->files.storage), why));
    TRY(tokenizer_files_copy(w->o->model_path, w->folder, &w->written, why));
    TRY(text_write(w, CHECKPOINT_OPTIONS, options_text(w->o), why));
    return environment_write(w->folder, w->environment, &w->written, why);
}

/* Completes the folder when all ranks have written. The state is read again as a start will, for one that
 * would be refused then is no use. */
static status commit(void *context, message *why)
{
    checkpoint_writer *const w = context;
    const checkpoint_files *f = &w->files;
    TRY(model_files_index(w->folder, f->o->s->table, f->storage, f->model, f->models, &w->written, why));
    TRY(checkpoint_state_write(w->folder, &w->state, &w->written, why));
    TRY(checkpoint_state_verify(w->folder, why));
    TRY(manifest_write(w->folder, &w->written, why));
    return checkpoint_publish(w->run, w->state.step, why);
}

/* ---- beginning ----------------------------------------------------------------------------------------- */

/* On rank 0. What is in the way shows before anything large is written. */
static status folder_begin(checkpoint_writer *w, message *why)
{
    bool replaces;
    TRY(checkpoint_vacant(w->run, w->state.step, &replaces, why));
    TRY(folder_remove(w->folder, why));
    return folder_make(w->folder, why);
}

/* On every rank, when no rank has a file open in it any more. */
static void folder_end(checkpoint_writer *w)
{
    message ignored; /* the first failure is reported */
    if (w->c->rank == 0) folder_remove(w->folder, &ignored);
    w->phase = IDLE;
}

static status reserve(checkpoint_writer *w, message *why)
{
    status s = COMM_ROOT(w->c, folder_begin(w, why), why);
    if (s == OK) s = comm_agree(w->c, checkpoint_files_reserve(&w->files, w->folder, why), why);
    if (s == OK) return OK;
    checkpoint_files_abandon(&w->files);
    int64_t all = 0;
    comm_max_i64(w->c, &all, 1); /* have done so */
    folder_end(w);
    return s;
}

static void hand_over(checkpoint_writer *w, status (*job)(void *context, message *why))
{
    w->handed = clock_seconds();
    helper_run(w->thread, job, w);
}

/* Returns for how long this rank's thread has waited for the disk. */
static double silence(const checkpoint_writer *w)
{
    const double answered = file_answered();
    return helper_busy(w->thread) ? clock_seconds() - (answered > w->handed ? answered : w->handed) : 0;
}

/* On a thread. */
static status write_files(void *context, message *why)
{
    checkpoint_writer *const w = context;
    message first;
    const status s = w->c->rank == 0 ? describe(w, &first) : OK;
    if (s != OK) w->files.stop = w->files.failed = true;
    const status rest = checkpoint_files_write(&w->files, why);
    if (s != OK) *why = first;
    return s != OK ? s : rest;
}

status checkpoint_begin(checkpoint_writer *w, const char *run, const checkpoint_state *state, message *why)
{
    REQUIRE(w->phase == IDLE, "the checkpoint of step %lld is still being written", (long long)w->state.step);
    w->start = clock_seconds();
    w->state = *state;
    w->state.ranks = w->c->size;
    w->state.threads = machine_threads();
    snprintf(w->run, sizeof w->run, "%s", run);
    checkpoint_temporary(w->folder, run, state->step);
    written_free(&w->written);
    w->files.stop = w->files.failed = false;
    TRY(reserve(w, why));
    w->phase = WRITING;
    checkpoint_files_room(&w->files); /* before the thread looks for it */
    hand_over(w, write_files);
    checkpoint_files_copy(&w->files);
    return OK;
}

/* ---- ending -------------------------------------------------------------------------------------------- */

/* What a rank tells the others. */
typedef struct rank_file {
    char name[MODEL_FILE_NAME];
    int64_t bytes;
    uint64_t hash;
} rank_file;

/* Brings what all ranks have written to rank 0, and adds the fingerprints up on all. */
static void tell(checkpoint_writer *w)
{
    const checkpoint_files *f = &w->files;
    int64_t most = f->written.count;
    comm_max_i64(w->c, &most, 1);
    const int64_t bytes = (int64_t)sizeof(checkpoint_sums) + most * (int64_t)sizeof(rank_file);
    char *mine = memory_new(bytes, 1, "a list of files"),
         *all = memory_new(w->c->size * bytes, 1, "lists of files");
    memcpy(mine, &f->sums, sizeof f->sums);
    for (int64_t i = 0; i < f->written.count; i++) {
        const written_file *from = &f->written.file[i];
        rank_file to = {.bytes = from->bytes, .hash = from->hash};
        snprintf(to.name, sizeof to.name, "%s", from->name);
        memcpy(mine + sizeof f->sums + (size_t)i * sizeof to, &to, sizeof to);
    }
    comm_wait(w->c, comm_all_gather(w->c, all, mine, bytes));
    checkpoint_sums sums = {0};
    for (const char *of = all; of < all + w->c->size * bytes; of += bytes) {
        checkpoint_sums part;
        memcpy(&part, of, sizeof part);
        sums.weights += part.weights;
        sums.masters += part.masters;
        sums.moments += part.moments;
        for (int64_t i = 0; i < most; i++) {
            rank_file x;
            memcpy(&x, of + sizeof part + (size_t)i * sizeof x, sizeof x);
            if (x.name[0]) written_add(&w->written, x.name, x.bytes, x.hash);
        }
    }
    w->state.weights = sums.weights;
    w->state.masters = sums.masters;
    w->state.moments = sums.moments;
    w->state.hashed = true;
    free(mine);
    free(all);
}

/* True when the threads of all ranks have done their work; makes them stop when one has failed. */
static bool all_done(checkpoint_writer *w, bool wait)
{
    message ignored;
    if (wait) helper_wait(w->thread, &ignored);
    int64_t some[2] = {helper_busy(w->thread), w->files.failed};
    comm_max_i64(w->c, some, 2);
    if (some[1]) w->files.stop = true;
    return !some[0];
}

status checkpoint_poll(checkpoint_writer *w, bool wait, checkpoint_progress *p, message *why)
{
    *p = (checkpoint_progress){.running = w->phase != IDLE};
    while (w->phase != IDLE) {
        if (!all_done(w, wait)) {
            p->silent = silence(w);
            return OK;
        }
        const status s = comm_agree(w->c, helper_wait(w->thread, why), why);
        if (s != OK) {
            folder_end(w);
            p->running = false;
            return s;
        }
        if (w->phase == COMMITTING) {
            w->phase = IDLE;
            break;
        }
        tell(w);
        w->phase = COMMITTING;
        if (w->c->rank == 0) hand_over(w, commit);
        if (!wait) return OK;
    }
    if (!p->running) return OK;
    *p = (checkpoint_progress){
        .step = w->state.step, .seconds = clock_seconds() - w->start, .weights = w->state.weights};
    return OK;
}
