/* Every filter looks at the tokens that the one before it has left, as transformers' processors do by setting
 * the others to -infinity. A filter moves those that it keeps to the front; top_p sorts them, the others keep
 * their order. */
#include "generate/sampler.h"
#include "base/memory.h"
#include "base/splitmix.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct candidate {
    float logit;
    int32_t token;
} candidate;

struct sampler_room {
    int64_t V;
    candidate *left;  /* (V) */
    double *chance;   /* (V) */
    float *threshold; /* (V) scratch of top_k */
};

struct sampler {
    sampler_settings set;
    sampler_room *room;
    uint64_t stream; /* seed of the draws */
    uint64_t drawn;  /* how often it has drawn */
    bool *seen;      /* (V) in the text; NULL: nobody asks */
};

sampler_settings sampler_default(void) { return (sampler_settings){.top_p = 1, .repetition_penalty = 1}; }

status sampler_check(const sampler_settings *s, message *why)
{
    if (!(s->temperature >= 0 && s->temperature <= 100))
        return fail(why, ERR_USAGE, "temperature is %g; it can be from 0 (greedy) to 100", s->temperature);
    if (s->top_k < 0)
        return fail(why, ERR_USAGE, "top_k is %lld; it can be 0 (all tokens) or more", (long long)s->top_k);
    if (!(s->top_p > 0 && s->top_p <= 1))
        return fail(why, ERR_USAGE, "top_p is %g; it can be above 0 and at most 1 (all tokens)", s->top_p);
    if (!(s->min_p >= 0 && s->min_p <= 1))
        return fail(why, ERR_USAGE, "min_p is %g; it can be from 0 (all tokens) to 1", s->min_p);
    if (!(s->repetition_penalty >= 0.01 && s->repetition_penalty <= 100))
        return fail(why, ERR_USAGE, "repetition_penalty is %g; it can be from 0.01 to 100, and 1 is none",
                    s->repetition_penalty);
    return OK;
}

sampler_room *sampler_room_new(int64_t V)
{
    sampler_room *r = memory_new(1, sizeof *r, "a sampler");
    r->V = V;
    r->left = memory_new(V, sizeof *r->left, "a sampler");
    r->chance = memory_new(V, sizeof *r->chance, "a sampler");
    r->threshold = memory_new(V, sizeof *r->threshold, "a sampler");
    return r;
}

void sampler_room_free(sampler_room *r)
{
    if (!r) return;
    free(r->left);
    free(r->chance);
    free(r->threshold);
    free(r);
}

sampler *sampler_new(const sampler_settings *set, sampler_room *room, uint64_t stream)
{
    sampler *s = memory_new(1, sizeof *s, "a sampler");
    s->set = *set;
    s->room = room;
    s->stream = splitmix(splitmix_scramble(set->seed), stream);
    if (set->repetition_penalty != 1) s->seen = memory_new(room->V, sizeof *s->seen, "a sampler");
    return s;
}

void sampler_free(sampler *s)
{
    if (!s) return;
    free(s->seen);
    free(s);
}

void sampler_saw(sampler *s, const int32_t *tokens, int64_t count)
{
    for (int64_t i = 0; s->seen && i < count; i++) s->seen[tokens[i]] = true;
}

bool sampler_is_argmax(const sampler *s) { return s->set.temperature == 0 && s->set.repetition_penalty == 1; }

/* ---- steps --------------------------------------------------------------------------------------------- */

static bool all_finite(const float *logits, int64_t V)
{
    for (int64_t i = 0; i < V; i++)
        if (!isfinite(logits[i])) return false;
    return true;
}

static void penalize(const sampler *s, float *logits)
{
    const float penalty = (float)s->set.repetition_penalty;
    for (int64_t i = 0; s->seen && i < s->room->V; i++)
        if (s->seen[i]) logits[i] = logits[i] < 0 ? logits[i] * penalty : logits[i] / penalty;
}

static int32_t likeliest(const float *logits, int64_t V)
{
    int64_t best = 0;
    for (int64_t i = 1; i < V; i++)
        if (logits[i] > logits[best]) best = i;
    return (int32_t)best;
}

/* The k-th largest of x (n), k from 1; reorders x. Hoare's selection. */
static float kth_largest(float *x, int64_t n, int64_t k)
{
    int64_t low = 0, high = n - 1;
    while (low < high) {
        const float pivot = x[low + (high - low) / 2];
        int64_t i = low, j = high;
        while (i <= j) {
            while (x[i] > pivot) i++;
            while (x[j] < pivot) j--;
            if (i <= j) {
                const float swapped = x[i];
                x[i++] = x[j], x[j--] = swapped;
            }
        }
        if (k - 1 <= j)
            high = j;
        else if (k - 1 >= i)
            low = i;
        else
            break;
    }
    return x[k - 1];
}

/* Keeps the candidates with at least this logit. */
static int64_t keep_from(candidate *left, int64_t n, float least)
{
    int64_t kept = 0;
    for (int64_t i = 0; i < n; i++)
        if (left[i].logit >= least) left[kept++] = left[i];
    return kept;
}

static int64_t keep_top_k(sampler *s, int64_t n)
{
    if (s->set.top_k == 0 || s->set.top_k >= n) return n;
    for (int64_t i = 0; i < n; i++) s->room->threshold[i] = s->room->left[i].logit;
    return keep_from(s->room->left, n, kth_largest(s->room->threshold, n, s->set.top_k));
}

static int by_chance(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->logit != y->logit) return x->logit > y->logit ? -1 : 1;
    return x->token < y->token ? -1 : 1;
}

static float largest(const candidate *left, int64_t n)
{
    float most = left[0].logit;
    for (int64_t i = 1; i < n; i++) most = left[i].logit > most ? left[i].logit : most;
    return most;
}

static double sum_of(const candidate *left, int64_t n, float most)
{
    double sum = 0;
    for (int64_t i = 0; i < n; i++) sum += exp((double)left[i].logit - (double)most);
    return sum;
}

/* Removes the unlikeliest tokens whose probabilities are 1-top_p at most together. */
static int64_t keep_top_p(sampler *s, int64_t n)
{
    if (s->set.top_p >= 1) return n;
    const float most = largest(s->room->left, n);
    const double sum = sum_of(s->room->left, n, most), surplus = (1 - s->set.top_p) * sum;
    /* Tokens that are each less likely than surplus/n are so together, too: they need not be sorted. */
    double removed = 0;
    int64_t kept = 0;
    for (int64_t i = 0; i < n; i++) {
        const double p = exp((double)s->room->left[i].logit - (double)most);
        if (p * (double)n < surplus)
            removed += p;
        else
            s->room->left[kept++] = s->room->left[i];
    }
    qsort(s->room->left, (size_t)kept, sizeof *s->room->left, by_chance);
    while (kept > 1) {
        removed += exp((double)s->room->left[kept - 1].logit - (double)most);
        if (removed > surplus) break;
        kept--;
    }
    return kept;
}

static int64_t keep_min_p(const sampler *s, int64_t n)
{
    if (s->set.min_p <= 0) return n;
    const double most = (double)largest(s->room->left, n);
    int64_t kept = 0;
    for (int64_t i = 0; i < n; i++)
        if (exp((double)s->room->left[i].logit - most) >= s->set.min_p)
            s->room->left[kept++] = s->room->left[i];
    return kept;
}

/* A number of [0,1), of 53 bits. */
static double draw(sampler *s) { return (double)(splitmix(s->stream, s->drawn++) >> 11) * 0x1p-53; }

bool sampler_chances(sampler *s, float *logits, double *chances)
{
    if (!all_finite(logits, s->room->V)) return false;
    penalize(s, logits);
    for (int64_t i = 0; i < s->room->V; i++) chances[i] = 0;
    if (s->set.temperature == 0) {
        chances[likeliest(logits, s->room->V)] = 1;
        return true;
    }
    const float temperature = (float)s->set.temperature;
    for (int64_t i = 0; i < s->room->V; i++)
        s->room->left[i] = (candidate){.logit = logits[i] / temperature, .token = (int32_t)i};
    const int64_t n = keep_min_p(s, keep_top_p(s, keep_top_k(s, s->room->V)));
    const float most = largest(s->room->left, n);
    const double sum = sum_of(s->room->left, n, most);
    for (int64_t i = 0; i < n; i++)
        chances[s->room->left[i].token] = exp((double)s->room->left[i].logit - (double)most) / sum;
    return true;
}

int32_t sampler_next(sampler *s, float *logits)
{
    if (!sampler_chances(s, logits, s->room->chance)) return -1;
    double at = draw(s);
    int32_t last = -1; /* rounding may leave a little behind the last one */
    for (int64_t i = 0; i < s->room->V; i++) {
        if (s->room->chance[i] <= 0) continue;
        last = (int32_t)i;
        at -= s->room->chance[i];
        if (at < 0) break;
    }
    return last;
}
