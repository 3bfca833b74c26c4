/* A row of fingerprints, one of each unit, goes from every rank to all others; so all find the same faults,
 * and return the same sentence. */
#include "train/rank_check.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/splitmix.h"
#include "optim/fingerprints.h"
#include "train/environment.h"
#include "train/training.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HOST_BYTES = 64, NAMED = 4, NAMES_BYTES = NAMED * (HOST_BYTES + 32) };

/* ---- what can be compared ------------------------------------------------------------------------------ */

void rank_check_start(training *t)
{
    const bool wanted = t->c->size > 1 && t->o->parallel_check.word == OPTION_NUMBER,
               repeats = !t->backend.device || t->o->device_attention != OPTION_device_attention_cudnn;
    message why;
    const bool alike = environment_same(t->environment, t->c, &why) == OK;
    if (!alike)
        log_warning("%s: their bits may differ%s", why.text,
                    wanted ? ", and parallel.check compares weights alone" : "");
    else if (wanted && !repeats)
        log_line("parallel.check: weights alone are compared; device.attention=cudnn may not repeat");
    t->check.gradients = wanted && alike && repeats;
}

/* ---- comparing ----------------------------------------------------------------------------------------- */

static int same_as(const uint64_t *of, int64_t stride, int ranks, int r)
{
    int same = 0;
    for (int other = 0; other < ranks; other++) same += of[other * stride] == of[r * stride];
    return same;
}

int rank_check_odd(const uint64_t *of, int64_t stride, int ranks, bool *odd)
{
    int most = 0, having = 0, odds = 0;
    for (int r = 0; r < ranks; r++) {
        const int same = same_as(of, stride, ranks, r);
        if (same > most) most = same, having = 0;
        having += same == most;
    }
    for (int r = 0; r < ranks; r++) {
        odd[r] = having > most || same_as(of, stride, ranks, r) < most;
        odds += odd[r];
    }
    return odds;
}

/* "rank 1 (node7) and rank 3 (node9)". Returns how many there are. */
static int names_of(const training *t, const bool *odd, char names[NAMES_BYTES])
{
    int named = 0, odds = 0;
    size_t used = 0;
    for (int r = 0; r < t->c->size; r++) odds += odd[r];
    for (int r = 0; r < t->c->size && named < NAMED; r++) {
        if (!odd[r]) continue;
        named++;
        used += (size_t)snprintf(names + used, NAMES_BYTES - used, "%srank %d (%s)",
                                 named == 1      ? ""
                                 : named == odds ? " and "
                                                 : ", ",
                                 r, comm_host(t->c, r));
    }
    if (odds > NAMED) snprintf(names + used, NAMES_BYTES - used, " and %d more", odds - NAMED);
    return odds;
}

/* "the embedding", "layer 3", "the last norm and the head". */
static const char *unit_text(const param_table *t, int u, char *text, size_t size)
{
    const bool last = u == t->num_units - 1;
    if (u > 0 && !last)
        snprintf(text, size, "layer %d", u - 1);
    else
        snprintf(text, size, "%s",
                 u == 0              ? "the embedding"
                 : t->head_unit == u ? "the last norm and the head"
                                     : "the last norm");
    return text;
}

/* Says what is wrong: unit u, and `differing` units in all. */
static status differ(const training *t, const char *what, int u, int differing, const bool *odd, message *why)
{
    char names[NAMES_BYTES], unit[32], others[48] = "";
    const bool all = names_of(t, odd, names) == t->c->size;
    unit_text(&t->m.table, u, unit, sizeof unit);
    if (differing > 1)
        snprintf(others, sizeof others, " and of %d more of %d units", differing - 1, t->m.table.num_units);
    return fail(why, ERR_DEVICE,
                "%s of %s%s %s %s%s: a fault of a device, of memory or of the network; go on from the last "
                "checkpoint%s",
                what, unit, others, all ? "differ between" : "on", names,
                all ? "" : " are not those of the other ranks",
                all ? "" : ", and without that host if it happens again");
}

/* Compares the fingerprints of all ranks, mine (units). Of the units that differ one is named: the one that
 * comes last in a pass where they are of a `backward`, else the first. */
static status compare(const training *t, const char *what, const uint64_t *mine, bool backward, message *why)
{
    const int n = t->m.table.num_units, ranks = t->c->size;
    uint64_t *all = memory_new(ranks * n, sizeof *all, "fingerprints of %d ranks", ranks);
    bool *odd = memory_new(ranks, sizeof *odd, "a list of ranks");
    int named = -1, differing = 0;
    comm_wait(t->c, comm_all_gather(t->c, all, mine, n * (int64_t)sizeof *all));
    for (int u = 0; u < n; u++) {
        if (!rank_check_odd(all + u, n, ranks, odd)) continue;
        if (named < 0 || backward) named = u;
        differing++;
    }
    status s = OK;
    if (differing) {
        rank_check_odd(all + named, n, ranks, odd);
        s = differ(t, what, named, differing, odd, why);
    }
    free(all);
    free(odd);
    return s;
}

/* ---- weights ------------------------------------------------------------------------------------------- */

status rank_check_weights(training *t, message *why)
{
    const int n = t->m.table.num_units;
    if (t->c->size == 1 || t->parameters.set.stage == 3) return OK;
    fingerprints_of_weights(&t->opt);
    uint64_t *mine = memory_new(n, sizeof *mine, "fingerprints of %d units", n);
    fingerprints_read(&t->opt, mine);
    char what[64];
    snprintf(what, sizeof what, "after step %lld the weights", (long long)t->state.step);
    const status s = compare(t, what, mine, false, why);
    free(mine);
    return s;
}

/* ---- gradients ----------------------------------------------------------------------------------------- */

/* Gradients of which nothing but their fingerprints is kept. */
typedef struct seen {
    optimizer *o;
    units inner;
} seen;

static tensor seen_acquire(void *owner, int u) { return units_acquire(&((seen *)owner)->inner, u); }

static void seen_release(void *owner, int u)
{
    const seen *x = owner;
    const tensor full = units_acquire(&x->inner, u); /* it is held: the same */
    fingerprints_add(x->o, u, &full, 0);
    units_release(&x->inner, u);
}

/* Hands the sequences of the rank that has them to all. `all`: room for them. */
static void broadcast(const training *t, token_batch *all, const token_batch *mine, int64_t row, int owner)
{
    const int64_t bytes = all->sequences * all->T * (int64_t)sizeof(int32_t);
    for (int64_t i = 0; i < all->sequences && t->c->rank == owner; i++)
        token_batch_copy(all, i, mine, row + i);
    comm_broadcast(t->c, all->tokens, bytes, owner);
    comm_broadcast(t->c, all->targets, bytes, owner);
    comm_broadcast(t->c, all->first, bytes, owner);
}

static void compute_again(training *t, const token_batch *micro)
{
    seen x = {.o = &t->opt, .inner = shards_gradients_unsummed(&t->parameters)};
    const units gradients = {.acquire = seen_acquire, .release = seen_release, .owner = &x};
    optimizer_begin(&t->opt); /* zeros for the loss, which the step makes again */
    tensor loss = optimizer_loss(&t->opt, 0);
    fingerprints_begin(&t->opt);
    model_train(&t->m, &t->acts, &gradients, micro, &loss);
}

static status check_gradients(training *t, const token_batch *batch, message *why)
{
    const int64_t B = t->acts.B, of_rank = batch->sequences / B;
    const uint64_t all = (uint64_t)(of_rank * t->c->size),
                   chosen = splitmix((uint64_t)t->o->train_seed, (uint64_t)t->state.step) % all;
    const int n = t->m.table.num_units, owner = (int)(chosen % (uint64_t)t->c->size);
    token_batch micro;
    token_batch_init(&micro, B, batch->T);
    broadcast(t, &micro, batch, (int64_t)(chosen / (uint64_t)t->c->size) * B, owner);
    compute_again(t, &micro);
    uint64_t *mine = memory_new(n, sizeof *mine, "fingerprints of %d units", n);
    fingerprints_read(&t->opt, mine); /* waits for the pass, which reads `micro` */
    char what[64];
    snprintf(what, sizeof what, "in step %lld the gradients", (long long)t->state.step + 1);
    const status s = compare(t, what, mine, true, why);
    free(mine);
    token_batch_free(&micro);
    return s;
}

/* ---- a step -------------------------------------------------------------------------------------------- */

static bool due(const training *t)
{
    return t->c->size > 1 && option_due(t->o->parallel_check, t->state.step + 1);
}

status rank_check_step(training *t, const token_batch *batch, message *why)
{
    message cause;
    if (!due(t) || !t->check.gradients) return OK;
    const status s = check_gradients(t, batch, &cause);
    if (s == OK) return OK;
    TRY(rank_check_weights(t, why)); /* other weights have other gradients */
    *why = cause;
    return s;
}

status rank_check_update(training *t, message *why) { return due(t) ? rank_check_weights(t, why) : OK; }
