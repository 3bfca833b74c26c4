/* Goes on from a checkpoint; on other data it refuses. */
#include "train/training.h"

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
    return OK;
}

status training_resume(training *t, const char *checkpoint, message *why)
{
    return comm_agree(t->c, resume_alone(t, checkpoint, why), why);
}
