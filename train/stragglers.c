/* Medians of medians. */
#include "train/stragglers.h"
#include "base/memory.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double SLOW = 1.2, FAST = 1.1; /* times the median of the ranks */
static const int64_t LEAST = 50000000;      /* nanoseconds: less is not worth a line */

void stragglers_init(stragglers *s, int ranks)
{
    *s = (stragglers){.ranks = ranks};
    s->own = memory_new((int64_t)ranks * STRAGGLERS_STEPS, sizeof *s->own, "times of %d ranks", ranks);
    s->data = memory_new((int64_t)ranks * STRAGGLERS_STEPS, sizeof *s->data, "times of %d ranks", ranks);
    s->slow = memory_new(ranks, sizeof *s->slow, "times of %d ranks", ranks);
}

void stragglers_free(stragglers *s)
{
    free(s->own);
    free(s->data);
    free(s->slow);
    *s = (stragglers){0};
}

static int by_value(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* Sorts them. Returns the smaller of the two in the middle. */
static int64_t median(int64_t *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, by_value);
    return values[(count - 1) / 2];
}

static void add(message *news, const char *text)
{
    const size_t used = strlen(news->text);
    snprintf(news->text + used, sizeof news->text - used, "%s%s", used ? "; " : "", text);
}

/* Compares the window, of which a rank's steps lie together. */
static void compare(stragglers *s, const comm *c, message *news)
{
    int64_t *const own = memory_new(2 * (int64_t)s->ranks, sizeof *own, "times of %d ranks", s->ranks);
    int64_t *const sorted = own + s->ranks;
    for (int r = 0; r < s->ranks; r++) own[r] = median(s->own + r * STRAGGLERS_STEPS, STRAGGLERS_STEPS);
    memcpy(sorted, own, sizeof *own * (size_t)s->ranks);
    const int64_t usual = median(sorted, s->ranks);
    for (int r = 0; r < s->ranks; r++) {
        char text[300];
        const double times = (double)own[r] / (double)(usual > 0 ? usual : 1);
        const bool slow = s->slow[r] ? times >= FAST : times >= SLOW;
        if (slow == s->slow[r] || (slow && own[r] - usual < LEAST)) continue;
        s->slow[r] = slow;
        if (slow)
            snprintf(
                text, sizeof text,
                "rank %d on %s is slow: it takes %.2f s for its own part of a step, %.2f s of them waiting "
                "for its data; the median of the ranks is %.2f s",
                r, comm_host(c, r), 1e-9 * (double)own[r],
                1e-9 * (double)median(s->data + r * STRAGGLERS_STEPS, STRAGGLERS_STEPS),
                1e-9 * (double)usual);
        else
            snprintf(text, sizeof text,
                     "rank %d on %s is not slow any more: %.2f s a step, the median of the ranks is %.2f s",
                     r, comm_host(c, r), 1e-9 * (double)own[r], 1e-9 * (double)usual);
        add(news, text);
    }
    free(own);
}

bool stragglers_step(stragglers *s, const int64_t *own, const int64_t *data, const comm *c, message *news)
{
    for (int r = 0; r < s->ranks; r++) {
        s->own[r * STRAGGLERS_STEPS + s->steps] = own[r];
        s->data[r * STRAGGLERS_STEPS + s->steps] = data[r];
    }
    news->text[0] = 0;
    if (++s->steps < STRAGGLERS_STEPS) return false;
    s->steps = 0;
    compare(s, c, news);
    return news->text[0];
}
