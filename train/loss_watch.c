/* The estimates of loss_watch.h, from a ring of the last 64 losses. They are medians, which a few wild
 * losses, infinite ones too, do not move. `past` and `limit` are learned only when the level is the lowest so
 * far: a loss that creeps up meets the limit of the run's best days, however slowly it rises. */
#include "train/loss_watch.h"
#include <math.h>
#include <stdlib.h>

static int rising(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Returns the median, and sorts `value`. */
static double median(double *value, int count)
{
    qsort(value, (size_t)count, sizeof *value, rising);
    return (value[(count - 1) / 2] + value[count / 2]) / 2;
}

/* Copies the last `most` losses, or all if there are fewer, in their order. Returns how many. */
static int last(const loss_watch *w, int most, double *loss)
{
    const int count = w->taken < most ? (int)w->taken : most;
    for (int i = 0; i < count; i++) loss[i] = w->loss[(w->taken - count + i) % LOSS_WATCH_LAST];
    return count;
}

static double noise(const loss_watch *w)
{
    double loss[LOSS_WATCH_LAST], distance[LOSS_WATCH_LAST];
    const int count = last(w, LOSS_WATCH_LAST, loss);
    for (int i = 1; i < count; i++) {
        const bool both = isfinite(loss[i]) && isfinite(loss[i - 1]); /* inf - inf is not a number */
        distance[i - 1] = both ? fabs(loss[i] - loss[i - 1]) : (double)INFINITY;
    }
    return 1.4826 / sqrt(2) * median(distance, count - 1);
}

static void learn(loss_watch *w)
{
    double loss[LOSS_WATCH_LEVEL];
    const double level = median(loss, last(w, LOSS_WATCH_LEVEL, loss));
    if (w->taken > LOSS_WATCH_SHORT && !(level < w->past)) return;
    w->past = level;
    w->limit = level + fmax(7 * noise(w), 1);
}

double loss_watch_limit(const loss_watch *w) { return w->far ? (w->past + w->limit) / 2 : w->limit; }

void loss_watch_add(loss_watch *w, double loss, bool skipped)
{
    double recent[LOSS_WATCH_SHORT];
    const bool finite = isfinite(loss);
    w->loss[w->taken++ % LOSS_WATCH_LAST] = finite ? loss : (double)INFINITY;
    bool far = skipped || !finite;
    w->skips = far ? w->skips + 1 : 0;
    if (w->taken >= LOSS_WATCH_SHORT) {
        learn(w);
        const double limit = loss_watch_limit(w);
        far = far || loss > limit || median(recent, last(w, LOSS_WATCH_SHORT, recent)) > limit;
    }
    w->far = far ? w->far + 1 : 0;
}

bool loss_watch_exploded(const loss_watch *w)
{
    if (w->skips >= LOSS_WATCH_SKIPS) return true;
    if (w->far == 0 || w->far % LOSS_WATCH_FAR != 0) return false;
    return w->loss[(w->taken - 1) % LOSS_WATCH_LAST] > loss_watch_limit(w); /* else it is on its way back */
}
