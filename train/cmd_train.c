/* remla train CONFIG.yaml [section.key=value ...]: the main job. Read this file first: it is a training run
 * from start to end. */
#include "base/log.h"
#include "base/stop.h"
#include "train/commands.h"
#include "train/evaluate.h"
#include "train/metrics.h"
#include "train/progress.h"
#include "train/run_folder.h"
#include "train/training.h"
#include "train/weights_hash.h"
#include <inttypes.h>
#include <string.h>

/* A run whose gradients are not finite this many steps in a row will not come back. */
enum { SKIPS_IN_A_ROW = 3 };

static bool due(int64_t step, int64_t every) { return every && step % every == 0; }

static status prune(const training *t, const run_folder *run, message *why)
{
    return comm_agree(
        t->c, t->c->rank == 0 ? checkpoint_prune(run->path, t->o->checkpoint_keep, -1, why) : OK, why);
}

/* *elsewhere: the checkpoint is not one of this run's own. */
static status resume(training *t, const run_folder *run, bool *elsewhere, message *why)
{
    char checkpoint[PATH_BYTES];
    *elsewhere = false;
    TRY(run_folder_resume(run, t->o, t->c, checkpoint, why));
    if (!checkpoint[0]) return OK;
    TRY(training_resume(t, checkpoint, why));
    const size_t length = strlen(run->path); /* runs/ab is not inside runs/a */
    *elsewhere = strncmp(checkpoint, run->path, length) != 0 || checkpoint[length] != '/';
    log_line("resumed from %s: step %lld, %lld tokens", checkpoint, (long long)t->at.step,
             (long long)t->at.tokens);
    if (!*elsewhere) TRY(prune(t, run, why)); /* a run that was killed may have left one too many */
    if (t->at.step <= t->steps) return OK;
    return fail(why, ERR_USAGE, "train.steps=%lld, but %s has taken %lld steps already", (long long)t->steps,
                checkpoint, (long long)t->at.step);
}

static status validate(training *t, metrics *log, message *why)
{
    if (!t->held_out.windows) return OK;
    evaluation e;
    TRY(evaluate(&t->m, &t->held_out, t->o->val_tokens, t->c, &e, why));
    log_line("val  %lld | loss %.4f | ppl %.3f | %lld tokens in %.1f s", (long long)t->at.step, e.loss, e.ppl,
             (long long)e.tokens, e.seconds);
    return comm_agree(t->c, metrics_validation(log, t->at.step, &e, why), why);
}

static status save(training *t, const run_folder *run, message *why)
{
    const double start = clock_seconds();
    uint64_t hash;
    TRY(weights_hash(&t->m, t->c, &hash, why));
    TRY(checkpoint_save(run->path, &t->config, &t->m, &t->opt, &t->at, t->o, t->c, why));
    log_line("checkpoint %s/checkpoints/step-%08lld in %.1f s | weights %016" PRIx64, run->path,
             (long long)t->at.step, clock_seconds() - start, hash);
    return prune(t, run, why);
}

static status train(training *t, const run_folder *run, metrics *log, message *why)
{
    const options *o = t->o;
    progress p;
    progress_start(&p, t);
    int64_t taken = 0;
    int skips = 0, signal = 0;
    if (o->val_every && t->at.step == 0) TRY(validate(t, log, why));

    while (t->at.step < t->steps && !signal && !(o->train_stop_after && taken == o->train_stop_after)) {
        step_result r;
        TRY(training_step(t, &r, why));
        taken++;
        TRY(comm_agree(t->c, progress_step(&p, t, &r, log, why), why));

        skips = r.skipped ? skips + 1 : 0;
        if (skips == SKIPS_IN_A_ROW)
            return fail(why, ERR_INPUT,
                        "step %lld: loss or gradient was not finite %d steps in a row; go on from an older "
                        "checkpoint (train.resume) in another train.out, with a lower optim.lr",
                        (long long)t->at.step, skips);
        signal = r.signal;
        const bool last = t->at.step == t->steps,
                   stops = last || signal || (o->train_stop_after && taken == o->train_stop_after);
        if (last || due(t->at.step, o->val_every)) TRY(validate(t, log, why));
        if (stops || due(t->at.step, o->checkpoint_every)) TRY(save(t, run, why));
        progress_pause(&p); /* validation and saving are not part of the next step's time */
    }
    if (signal && t->at.step < t->steps)
        return fail(
            why, STOPPED,
            "stopped by signal %d after step %lld; its checkpoint is written, the same command goes on",
            signal, (long long)t->at.step);
    log_line("done: step %lld of %lld, %lld tokens, in %s", (long long)t->at.step, (long long)t->steps,
             (long long)t->at.tokens, run->path);
    return OK;
}

static status run_training(training *t, const run_folder *run, message *why)
{
    metrics log;
    bool elsewhere;
    TRY(resume(t, run, &elsewhere, why));
    TRY(comm_agree(t->c, t->c->rank == 0 ? run_folder_describe(run, t->o, t->on.device, t->c, why) : OK,
                   why));
    TRY(comm_agree(t->c, metrics_open(&log, run->path, t->at.step ? t->at.step : -1, t->c->rank, why), why));
    /* A run that has nothing left to do leaves its last step's checkpoint all the same. */
    status s = elsewhere && t->at.step == t->steps ? save(t, run, why) : OK;
    if (s == OK) s = train(t, run, &log, why);
    metrics_close(&log);
    return s;
}

status cmd_train(const command_line *line, options *o, const comm *c, message *why)
{
    training t;
    run_folder run = {.lock = -1};
    stop_catch();
    status s = training_open(&t, o, c, why);
    if (s == OK) s = run_folder_open(&run, o, line->positional[0], c, why);
    if (s == OK) s = run_training(&t, &run, why);
    run_folder_close(&run);
    training_close(&t);
    return s;
}
