/* Goes on from a checkpoint: on other data it refuses, and of a run that sums in another order it says so. */
#include "base/log.h"
#include "train/training.h"
#include <stdio.h>

/* A sum's rounding depends on its parts: one that is cut otherwise than before gives other bits. Pairwise
 * sums are cut by micro-batches alone; the others by ranks, and by the micro-batches of a rank from stage 2
 * on. */
static void say_differences(const training *t, const checkpoint_state *then)
{
    const bool pairwise = t->parameters.set.how.pairwise, both = pairwise && then->pairwise;
    const int stage = t->parameters.set.stage;
    const struct {
        const char *name;
        int64_t then, now;
        bool tells;
    } parts[] = {
        {"ranks", then->ranks, t->c->size, !both && then->ranks},
        {"train.micro_batch", then->micro_batch, t->o->train_micro_batch, then->micro_batch},
        {"parallel.zero", then->stage, stage, !both && (then->stage >= 2) != (stage >= 2)},
    };
    char text[200] = "";
    size_t used = 0;
    if (pairwise != then->pairwise)
        used += (size_t)snprintf(text, sizeof text, "parallel.sum %s",
                                 pairwise ? "fast -> exact" : "exact -> fast");
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (parts[i].tells && parts[i].then != parts[i].now)
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%s %lld -> %lld", used ? ", " : "",
                                     parts[i].name, (long long)parts[i].then, (long long)parts[i].now);
    if (used)
        log_line("%s: losses will agree%s, not bit for bit", text, t->backend.device ? "" : " to about 1e-8");
}

static status resume_alone(training *t, const char *checkpoint, message *why)
{
    checkpoint_state then;
    TRY(checkpoint_load(checkpoint, &t->m, &t->opt, &then, t->o, why));
    /* Checkpoints from before token shards had hashes, or of token shards that have been compressed since,
     * know the data by its sizes and documents only. */
    if (then.fingerprint != t->state.fingerprint && then.fingerprint != feed_fingerprint(&t->data, false))
        return fail(why, ERR_INPUT,
                    "%s was trained on other data than data.train names now: give the same shards, or start "
                    "a new run with model.path=%s",
                    checkpoint, checkpoint);
    then.fingerprint = t->state.fingerprint;
    t->state = then;
    say_differences(t, &then);
    return OK;
}

status training_resume(training *t, const char *checkpoint, message *why)
{
    return comm_agree(t->c, resume_alone(t, checkpoint, why), why);
}
