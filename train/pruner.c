/* A removal is one piece of work of a helper. */
#include "train/pruner.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/helper.h"
#include "train/checkpoint.h"
#include <stdio.h>

static status prune(void *context, message *why)
{
    const pruner *p = context;
    const status s = checkpoint_prune(p->run, p->keep, p->best, why);
    if (s != OK) log_warning("older checkpoints stay: %s", why->text);
    return s;
}

void pruner_run(pruner *p, const char *run, int64_t keep, int64_t best)
{
    message ignored; /* it was a warning */
    if (!p->thread) p->thread = helper_start();
    helper_wait(p->thread, &ignored);
    snprintf(p->run, sizeof p->run, "%s", run);
    p->keep = keep;
    p->best = best;
    helper_run(p->thread, prune, p);
}

bool pruner_wait(const pruner *p, double seconds)
{
    const double began = clock_seconds();
    double nap = 1e-4;
    while (p->thread && helper_busy(p->thread)) {
        if (clock_seconds() - began > seconds) return false;
        clock_nap(&nap);
    }
    return true;
}

void pruner_stop(pruner *p)
{
    if (pruner_wait(p, 0)) helper_stop(p->thread);
    *p = (pruner){.thread = NULL};
}
