/* A mixture by earliest deadline first. Weights become the smallest whole numbers in their ratio; their sum
 * is the period, after which every source has had exactly its share. For weights 3 and 1:
 *
 *     turn      0  1  2  3 | 4  5  6  7 ...
 *     source    A  A  A  B | A  A  A  B
 *     before    0  1  2  0                   turns that this source had before, in this period
 *
 * The table of one period makes any position O(1): mixture_at divides by the period and looks up the rest. */
#include "data/mixture.h"
#include "base/memory.h"
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_DIGITS = 15 };

/* ---- weights ------------------------------------------------------------------------------------------- */

/* Parses digits with at most one point among them: *value is the number times 10^*decimals. */
static bool parse(const char *text, int64_t *value, int *decimals)
{
    const char *point = strchr(text, '.');
    const size_t length = strlen(text);
    *decimals = point ? (int)(text + length - point - 1) : 0;
    const size_t digits = length - (point ? 1 : 0);
    if (digits == 0 || digits > MOST_DIGITS || strspn(text, "0123456789.") != length) return false;
    *value = 0;
    for (const char *c = text; *c; c++) {
        if (c == point) continue;
        if (*c == '.') return false; /* a second one */
        *value = 10 * *value + (*c - '0');
    }
    return *value > 0;
}

static int64_t common_divisor(int64_t a, int64_t b)
{
    while (b) {
        const int64_t rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Scales the parsed weights by 10^(most - decimals). */
static bool scale(mixture *m, const int *decimals, int most)
{
    for (int i = 0; i < m->sources; i++)
        for (int d = decimals[i]; d < most; d++)
            if (__builtin_mul_overflow(m->weight[i], 10, &m->weight[i])) return false;
    return true;
}

/* Divides the weights by their common divisor, and adds them up. */
static bool reduce(mixture *m)
{
    int64_t divisor = 0;
    for (int i = 0; i < m->sources; i++) divisor = common_divisor(divisor, m->weight[i]);
    for (int i = 0; i < m->sources; i++) {
        m->weight[i] /= divisor;
        if (m->weight[i] > MIXTURE_PERIOD - m->period) return false;
        m->period += m->weight[i];
    }
    return true;
}

static status weights_open(mixture *m, const char *key, const char *const *weight, message *why)
{
    int decimals[MIXTURE_SOURCES], most = 0;
    for (int i = 0; i < m->sources; i++) {
        if (!parse(weight[i], &m->weight[i], &decimals[i]))
            return fail(why, ERR_USAGE,
                        "%s: the weight %.100s is not a decimal number above 0 of at most %d digits", key,
                        weight[i], MOST_DIGITS);
        if (decimals[i] > most) most = decimals[i];
    }
    if (scale(m, decimals, most) && reduce(m)) return OK;
    return fail(why, ERR_USAGE,
                "%s: in whole numbers the weights add up to more than %d: give them with fewer digits", key,
                MIXTURE_PERIOD);
}

/* ---- turns --------------------------------------------------------------------------------------------- */

/* Returns the source of turn t: among the sources that are behind their share of t+1 turns, the one with the
 * earliest deadline. The deadline of source i after `had` turns is (had+1) * period / weight, when it would
 * be a whole turn behind. Taking the source that is furthest behind instead would let shares err by more than
 * one. */
static int next_turn(const mixture *m, const int32_t *had, int64_t t)
{
    int best = -1;
    for (int i = 0; i < m->sources; i++) {
        if (m->weight[i] * (t + 1) <= m->period * had[i]) continue;
        if (best < 0 || (had[i] + 1) * m->weight[best] < (had[best] + 1) * m->weight[i]) best = i;
    }
    return best;
}

static void turns_open(mixture *m)
{
    m->source = memory_new(m->period, sizeof *m->source, "a mixture");
    m->before = memory_new(m->period, sizeof *m->before, "a mixture");
    int32_t *had = memory_new(m->sources, sizeof *had, "a mixture");
    for (int64_t t = 0; t < m->period; t++) {
        const int i = next_turn(m, had, t);
        m->source[t] = i;
        m->before[t] = had[i]++;
    }
    for (int i = 0; i < m->sources; i++)
        REQUIRE(had[i] == m->weight[i], "source %d had %d turns of %lld", i, had[i], (long long)m->weight[i]);
    free(had);
}

status mixture_open(mixture *m, const char *key, const char *const *weight, int sources, message *why)
{
    *m = (mixture){.sources = sources};
    if (sources > MIXTURE_SOURCES)
        return fail(why, ERR_USAGE, "%s: %d sources, at most %d are possible", key, sources, MIXTURE_SOURCES);
    m->weight = memory_new(sources, sizeof *m->weight, "a mixture");
    const status s = weights_open(m, key, weight, why);
    if (s == OK)
        turns_open(m);
    else
        mixture_close(m);
    return s;
}

void mixture_close(mixture *m)
{
    free(m->weight);
    free(m->source);
    free(m->before);
    *m = (mixture){0};
}

/* ---- positions ----------------------------------------------------------------------------------------- */

void mixture_at(const mixture *m, uint64_t position, int *source, uint64_t *index)
{
    const uint64_t period = (uint64_t)m->period, turn = position % period;
    *source = m->source[turn];
    *index = position / period * (uint64_t)m->weight[*source] + (uint64_t)m->before[turn];
}

uint64_t mixture_position(const mixture *m, int source, uint64_t index)
{
    const uint64_t weight = (uint64_t)m->weight[source], rest = index % weight;
    uint64_t turn = 0, start;
    while (m->source[turn] != source || (uint64_t)m->before[turn] != rest) turn++;
    if (__builtin_mul_overflow(index / weight, (uint64_t)m->period, &start) ||
        __builtin_add_overflow(start, turn, &start))
        return UINT64_MAX;
    return start;
}
