/* Counters and histograms under one lock. A histogram's buckets are fixed bounds, in seconds; the text has
 * them as Prometheus wants them, each bucket with all that are below its bound. */
#include "serve/counters.h"
#include "base/memory.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BUCKETS = 16, MOST_ANSWERS = 128 };

static const double bounds[BUCKETS] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                       0.5,   1,      2.5,   5,    10,    30,   60,  300};

typedef struct histogram {
    int64_t bucket[BUCKETS + 1]; /* the last: above all bounds */
    int64_t count;
    double sum;
} histogram;

typedef struct answers { /* to one route with one code */
    const char *route;
    int code;
    int64_t count;
} answers;

struct counters {
    pthread_mutex_t lock;
    answers answered[MOST_ANSWERS];
    int num_answered;
    histogram request, waited, first, per_token;
};

counters *counters_new(void)
{
    counters *m = memory_new(1, sizeof *m, "counters");
    pthread_mutex_init(&m->lock, NULL);
    return m;
}

void counters_free(counters *m)
{
    pthread_mutex_destroy(&m->lock);
    free(m);
}

static void observe(histogram *h, double seconds)
{
    int i = 0;
    while (i < BUCKETS && seconds > bounds[i]) i++;
    h->bucket[i]++;
    h->count++;
    h->sum += seconds;
}

void counters_answered(counters *m, const char *route, int code, double seconds)
{
    pthread_mutex_lock(&m->lock);
    int i = 0;
    while (i < m->num_answered && (m->answered[i].code != code || strcmp(m->answered[i].route, route))) i++;
    if (i < MOST_ANSWERS) { /* there are fewer routes times codes */
        if (i == m->num_answered) m->answered[m->num_answered++] = (answers){route, code, 0};
        m->answered[i].count++;
    }
    observe(&m->request, seconds);
    pthread_mutex_unlock(&m->lock);
}

void counters_finished(counters *m, const engine_event *e)
{
    if (e->reason != FINISH_STOP && e->reason != FINISH_LENGTH) return;
    pthread_mutex_lock(&m->lock);
    observe(&m->waited, e->waited);
    if (e->index > 0) observe(&m->first, e->first);
    if (e->index > 1) observe(&m->per_token, (e->seconds - e->first) / (double)(e->index - 1));
    pthread_mutex_unlock(&m->lock);
}

/* ---- as text ------------------------------------------------------------------------------------------- */

static void print_head(text_buffer *out, const char *name, const char *kind, const char *help)
{
    text_buffer_print(out, "# HELP remla_%s %s\n# TYPE remla_%s %s\n", name, help, name, kind);
}

static void print_histogram(text_buffer *out, const char *name, const char *help, const histogram *h)
{
    print_head(out, name, "histogram", help);
    int64_t below = 0;
    for (int i = 0; i < BUCKETS; i++) {
        below += h->bucket[i];
        text_buffer_print(out, "remla_%s_bucket{le=\"%g\"} %lld\n", name, bounds[i], (long long)below);
    }
    text_buffer_print(out, "remla_%s_bucket{le=\"+Inf\"} %lld\n", name, (long long)h->count);
    text_buffer_print(out, "remla_%s_sum %.9g\nremla_%s_count %lld\n", name, h->sum, name,
                      (long long)h->count);
}

typedef struct number {
    const char *name, *kind, *help;
    size_t offset; /* in engine_statistics */
} number;
#define NUMBER(name, kind, member, help)                                                                     \
    {                                                                                                        \
        name, kind, help, offsetof(engine_statistics, member)                                                \
    }
static const number numbers[] = {
    NUMBER("queue_requests", "gauge", waiting, "Requests that wait."),
    NUMBER("running_sequences", "gauge", running, "Texts that are being generated."),
    NUMBER("prompt_tokens_total", "counter", prompt_tokens, "Tokens of prompts."),
    NUMBER("prompt_tokens_reused_total", "counter", reused_tokens, "Tokens of prompts found in the cache."),
    NUMBER("generated_tokens_total", "counter", generated_tokens, "Tokens generated."),
    NUMBER("passes_total", "counter", passes, "Passes through the model."),
    NUMBER("pass_rows_total", "counter", rows, "Tokens of all passes."),
    NUMBER("cancelled_requests_total", "counter", cancelled, "Requests that were cancelled."),
    NUMBER("cache_pages", "gauge", pages, "Pages of the cache."),
    NUMBER("cache_pages_used", "gauge", used, "Pages of the cache that hold something."),
    NUMBER("cache_pages_kept", "gauge", kept, "Of these, pages of prompts that are kept for later ones."),
};
enum { NUM_NUMBERS = sizeof numbers / sizeof numbers[0] };

static void print_label(text_buffer *out, const char *text)
{
    for (; *text; text++) {
        if (strchr("\\\"\n", *text)) text_buffer_print(out, "\\");
        text_buffer_print(out, "%c", *text == '\n' ? 'n' : *text);
    }
}

void counters_print(counters *m, const char *const *name, const engine_statistics *statistics, int models,
                    text_buffer *out)
{
    pthread_mutex_lock(&m->lock);
    print_head(out, "requests_total", "counter", "Requests answered, by route and code.");
    for (int i = 0; i < m->num_answered; i++)
        text_buffer_print(out, "remla_requests_total{route=\"%s\",code=\"%d\"} %lld\n", m->answered[i].route,
                          m->answered[i].code, (long long)m->answered[i].count);
    print_histogram(out, "request_seconds", "From a request's header to its answer.", &m->request);
    print_histogram(out, "queue_seconds", "From a request to its start.", &m->waited);
    print_histogram(out, "first_token_seconds", "From a request to its first token.", &m->first);
    print_histogram(out, "token_seconds", "For each token behind the first.", &m->per_token);
    pthread_mutex_unlock(&m->lock);
    for (int i = 0; i < NUM_NUMBERS; i++) {
        print_head(out, numbers[i].name, numbers[i].kind, numbers[i].help);
        for (int k = 0; k < models; k++) {
            int64_t value;
            memcpy(&value, (const char *)&statistics[k] + numbers[i].offset, sizeof value);
            text_buffer_print(out, "remla_%s{model=\"", numbers[i].name);
            print_label(out, name[k]);
            text_buffer_print(out, "\"} %lld\n", (long long)value);
        }
    }
}
