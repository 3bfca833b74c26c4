/* Settings with which a run fits that does not fit as it is. */
#include "base/memory.h"
#include "train/plan_parts.h"
#include <stdio.h>
#include <string.h>

/* What may be changed, and what it costs: smaller products, or more time. */
typedef struct setting {
    int64_t micro_batch, zero;
    option_train_recompute again;
    bool offload;
} setting;

static setting setting_of(const options *o)
{
    return (setting){o->train_micro_batch, o->parallel_zero, o->train_recompute, o->optim_offload};
}

static bool fits(const plan_run *r, setting s)
{
    options o = *r->o; /* borrows its lists */
    o.train_micro_batch = s.micro_batch;
    o.parallel_zero = s.zero;
    o.train_recompute = s.again;
    o.optim_offload = s.offload;
    plan_run other = *r;
    other.o = &o;
    plan p = {0};
    plan_memory(&p, &other);
    return p.fits;
}

static const char *word_of(option_train_recompute again)
{
    switch (again) {
    case OPTION_train_recompute_none:
        return "none";
    case OPTION_train_recompute_light:
        return "light";
    case OPTION_train_recompute_layer:
        break;
    }
    return "layer";
}

/* What differs from the options, as for the command line. */
static void advise(plan *p, const plan_run *r, setting s)
{
    const setting now = setting_of(r->o);
    char *text = p->advice[p->advices++];
    size_t used = 0;
    const size_t size = PLAN_ADVICE_BYTES;
    if (s.zero != now.zero)
        used += (size_t)snprintf(text + used, size - used, " parallel.zero=%lld", (long long)s.zero);
    if (s.micro_batch != now.micro_batch)
        used +=
            (size_t)snprintf(text + used, size - used, " train.micro_batch=%lld", (long long)s.micro_batch);
    if (s.again != now.again)
        used += (size_t)snprintf(text + used, size - used, " train.recompute=%s", word_of(s.again));
    if (s.offload != now.offload) used += (size_t)snprintf(text + used, size - used, " optim.offload=true");
    memmove(text, text + 1, used); /* the first blank */
}

/* The next smaller number of sequences that divides those of a rank in a step as well; 0: none. */
static int64_t smaller(int64_t micro_batch)
{
    for (int64_t m = micro_batch - 1; m > 0; m--)
        if (micro_batch % m == 0) return m;
    return 0;
}

/* Each alone, as far as it must go. */
static void one_setting(plan *p, const plan_run *r)
{
    const setting now = setting_of(r->o);
    setting s = now;
    while ((s.micro_batch = smaller(s.micro_batch)) > 0 && !fits(r, s)) {
    }
    if (s.micro_batch > 0) advise(p, r, s);
    s = now;
    while (r->ranks > 1 && ++s.zero <= 3)
        if (fits(r, s)) {
            advise(p, r, s);
            break;
        }
    s = now;
    while (s.again != OPTION_train_recompute_layer) {
        s.again = s.again == OPTION_train_recompute_none ? OPTION_train_recompute_light
                                                         : OPTION_train_recompute_layer;
        if (!fits(r, s)) continue;
        advise(p, r, s);
        break;
    }
    s = now;
    s.offload = true;
    if (r->machine.gpu && !now.offload && fits(r, s)) advise(p, r, s);
}

/* The first of all combinations, those that cost least first: higher stages, smaller micro-batches, layers
 * computed again, states on the host. */
static void several_settings(plan *p, const plan_run *r)
{
    const setting now = setting_of(r->o);
    for (int offload = now.offload; offload <= (now.offload || r->machine.gpu); offload++)
        for (int again = now.again; again <= OPTION_train_recompute_layer; again++)
            for (int64_t zero = now.zero; zero <= (r->ranks > 1 ? 3 : now.zero); zero++)
                for (int64_t m = now.micro_batch; m > 0; m = smaller(m)) {
                    const setting s = {m, zero, (option_train_recompute)again, offload};
                    if (!fits(r, s)) continue;
                    advise(p, r, s);
                    return;
                }
}

void plan_advice(plan *p, const plan_run *r)
{
    one_setting(p, r);
    if (!p->advices) several_settings(p, r);
}
