/* An engine without a model, for tests of what lies above it: generate/engine.h's functions, of which a test
 * program has these instead of the library's. What follows a token is fixed: the likeliest is 3*token+1
 * modulo the vocabulary, each further one a quarter nat less. Greedy requests get it; others, and further
 * choices, get their neighbours. */
#ifndef REMLA_TESTS_SERVE_FAKE_ENGINE_H
#define REMLA_TESTS_SERVE_FAKE_ENGINE_H
#include "base/clock.h"
#include "base/memory.h"
#include "generate/engine.h"
#include "generate/stop_strings.h"
#include "generate/token_text.h"
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The ids of tests/golden/tokenizer from 0, its end token, to 94, which are ASCII's signs. */
enum { FAKE_LONGEST = 256, FAKE_VOCABULARY = 95 };

static _Atomic long fake_step_nanoseconds;     /* that a pass takes */
static atomic_int fake_cancelled, fake_breaks; /* requests; whether numbers are not finite */

typedef struct fake_choice {
    token_text *pieces;
    stop_strings stop;
    int32_t last;
    int64_t generated;
    bool over;
} fake_choice;

typedef struct fake_request {
    struct fake_request *next;
    engine_request r;
    int32_t *prompt, *end;
    uint64_t id;
    fake_choice *choice;
    bool started;
    double submitted, first;
} fake_request;

struct engine {
    const tokenizer *t;
    engine_settings settings;
    fake_request *first;
    uint64_t ids;
    engine_statistics statistics;
};

static int32_t fake_best(int32_t token) { return (3 * token + 1) % FAKE_VOCABULARY; }

static double fake_logprob(int32_t before, int32_t token)
{
    const int32_t V = FAKE_VOCABULARY;
    return -0.1 - 0.25 * (((token - fake_best(before)) % V + V) % V);
}

const char *finish_reason_text(finish_reason r)
{
    static const char *const text[] = {"stop", "length", "cancelled", "error"};
    return text[r];
}

engine_request engine_request_default(void)
{
    return (engine_request){.choices = 1, .sampling = {.top_p = 1, .repetition_penalty = 1}, .top = -1};
}

engine *engine_new(decoder *d, const tokenizer *t, const engine_settings *s)
{
    (void)d;
    engine *e = memory_new(1, sizeof *e, "a fake");
    e->t = t, e->settings = *s;
    e->statistics.pages = 100;
    return e;
}

static void fake_free(fake_request *f)
{
    for (int c = 0; c < f->r.choices; c++) {
        token_text_free(f->choice[c].pieces);
        stop_strings_free(&f->choice[c].stop);
    }
    free(f->prompt);
    free(f->end);
    free(f->choice);
    free(f);
}

void engine_free(engine *e)
{
    while (e && e->first) {
        fake_request *next = e->first->next;
        fake_free(e->first);
        e->first = next;
    }
    free(e);
}

status engine_submit(engine *e, const engine_request *r, uint64_t *id, message *why)
{
    if (r->prompt_tokens + r->max_tokens > FAKE_LONGEST) return fail(why, ERR_USAGE, "too long for the fake");
    if (r->sampling.top_p <= 0) return fail(why, ERR_USAGE, "top_p is %g", r->sampling.top_p);
    fake_request *f = memory_new(1, sizeof *f, "a fake"), **link = &e->first;
    f->r = *r;
    f->prompt = memory_new(r->prompt_tokens, sizeof *f->prompt, "a fake");
    memcpy(f->prompt, r->prompt, (size_t)r->prompt_tokens * sizeof *f->prompt);
    f->end = memory_new(r->ends, sizeof *f->end, "a fake");
    if (r->ends) memcpy(f->end, r->end, (size_t)r->ends * sizeof *f->end);
    f->choice = memory_new(r->choices, sizeof *f->choice, "a fake");
    for (int c = 0; c < r->choices; c++) {
        f->choice[c].pieces = token_text_new(e->t, r->special_text, true);
        f->choice[c].last = r->prompt[r->prompt_tokens - 1];
        stop_strings_init(&f->choice[c].stop, r->stop, r->stops);
    }
    f->id = *id = ++e->ids;
    f->submitted = clock_seconds();
    while (*link) link = &(*link)->next;
    *link = f;
    e->statistics.requests++;
    return OK;
}

static void fake_tell(fake_request *f, engine_event *event)
{
    event->request = f->id;
    f->r.listen(f->r.context, event);
}

static void fake_finish(fake_request *f, int c, finish_reason reason, int stop, const text_buffer *shown)
{
    fake_choice *x = &f->choice[c];
    text_buffer rest = {0}, held = {0};
    token_text_end(x->pieces, &rest);
    if (shown) text_buffer_append(&held, shown->text, shown->bytes);
    if (stop < 0 && rest.bytes) stop = stop_strings_push(&x->stop, rest.text, rest.bytes, &held);
    if (stop < 0) stop = stop_strings_end(&x->stop, &held);
    x->over = true;
    fake_tell(f, &(engine_event){.kind = EVENT_FINISHED,
                                 .choice = c,
                                 .index = x->generated,
                                 .token = -1,
                                 .piece = rest.text,
                                 .piece_bytes = rest.bytes,
                                 .text = held.text,
                                 .text_bytes = held.bytes,
                                 .reason = stop >= 0 ? FINISH_STOP : reason,
                                 .stop = stop,
                                 .first = f->first,
                                 .seconds = clock_seconds() - f->submitted});
    text_buffer_free(&rest);
    text_buffer_free(&held);
}

/* Fills `top`, and what else is known of a token behind another. */
static void fake_score(const fake_request *f, int32_t before, int32_t token, token_chance *top,
                       engine_event *event)
{
    event->scored = true;
    event->logprob = fake_logprob(before, token);
    event->top = top, event->tops = f->r.top;
    for (int i = 0; i < f->r.top; i++) {
        top[i].token = (fake_best(before) + i) % FAKE_VOCABULARY;
        top[i].logprob = fake_logprob(before, top[i].token);
    }
}

static void fake_echo(engine *e, fake_request *f)
{
    token_text *pieces = token_text_new(e->t, f->r.special_text, false);
    token_chance top[ENGINE_MAX_TOP];
    text_buffer piece = {0};
    for (int64_t i = 0; f->r.echo && i < f->r.prompt_tokens; i++) {
        piece.bytes = 0;
        token_text_push(pieces, f->prompt[i], &piece);
        engine_event event = {.kind = EVENT_PROMPT_TOKEN,
                              .index = i,
                              .token = f->prompt[i],
                              .piece = piece.text,
                              .piece_bytes = piece.bytes};
        if (f->r.top >= 0 && i) fake_score(f, f->prompt[i - 1], f->prompt[i], top, &event);
        fake_tell(f, &event);
    }
    token_text_free(pieces);
    text_buffer_free(&piece);
    e->statistics.prompt_tokens += f->r.prompt_tokens;
}

static void fake_token(engine *e, fake_request *f, int c)
{
    fake_choice *x = &f->choice[c];
    if (x->over) return;
    if (x->generated >= f->r.max_tokens) {
        fake_finish(f, c, FINISH_LENGTH, -1, NULL);
        return;
    }
    if (atomic_load(&fake_breaks)) {
        fake_finish(f, c, FINISH_ERROR, -1, NULL);
        return;
    }
    const int32_t before = x->last,
                  other = c + (f->r.sampling.temperature > 0 ? (int32_t)(f->r.sampling.seed % 3) : 0);
    x->last = (fake_best(before) + other) % FAKE_VOCABULARY;
    if (!x->generated) f->first = clock_seconds() - f->submitted;
    text_buffer piece = {0}, shown = {0};
    token_text_push(x->pieces, x->last, &piece);
    const int stop = piece.bytes ? stop_strings_push(&x->stop, piece.text, piece.bytes, &shown) : -1;
    token_chance top[ENGINE_MAX_TOP];
    engine_event event = {.kind = EVENT_TOKEN,
                          .choice = c,
                          .index = x->generated++,
                          .token = x->last,
                          .piece = piece.text,
                          .piece_bytes = piece.bytes,
                          .text = shown.text,
                          .text_bytes = shown.bytes};
    if (f->r.top >= 0) fake_score(f, before, x->last, top, &event);
    fake_tell(f, &event);
    e->statistics.generated_tokens++;
    bool ends = false;
    for (int i = 0; i < f->r.ends; i++) ends |= f->end[i] == x->last;
    if (stop >= 0 || ends)
        fake_finish(f, c, FINISH_STOP, stop, NULL);
    else if (x->generated == f->r.max_tokens)
        fake_finish(f, c, FINISH_LENGTH, -1, NULL);
    text_buffer_free(&piece);
    text_buffer_free(&shown);
}

static bool fake_is_over(const fake_request *f)
{
    for (int c = 0; c < f->r.choices; c++)
        if (!f->choice[c].over) return false;
    return true;
}

static void fake_sweep(engine *e)
{
    for (fake_request **link = &e->first; *link;) {
        fake_request *f = *link;
        if (!fake_is_over(f)) {
            link = &f->next;
            continue;
        }
        *link = f->next;
        e->statistics.finished++;
        fake_free(f);
    }
}

bool engine_cancel(engine *e, uint64_t id)
{
    fake_request *f = e->first;
    while (f && f->id != id) f = f->next;
    if (!f) return false;
    for (int c = 0; c < f->r.choices; c++)
        if (!f->choice[c].over) fake_finish(f, c, FINISH_CANCELLED, -1, NULL);
    atomic_fetch_add(&fake_cancelled, 1);
    e->statistics.cancelled++;
    fake_sweep(e);
    return true;
}

bool engine_waits(const engine *e, uint64_t id)
{
    const fake_request *f = e->first;
    while (f && f->id != id) f = f->next;
    return f && !f->started;
}

bool engine_busy(const engine *e) { return e->first != NULL; }

void engine_step(engine *e)
{
    int64_t running = 0;
    nanosleep(&(struct timespec){.tv_nsec = atomic_load(&fake_step_nanoseconds)}, NULL);
    for (fake_request *f = e->first; f && running + f->r.choices <= e->settings.running; f = f->next) {
        running += f->r.choices;
        if (!f->started) fake_echo(e, f);
        f->started = true;
        for (int c = 0; c < f->r.choices; c++) fake_token(e, f, c);
    }
    e->statistics.passes++;
    e->statistics.rows += running;
    fake_sweep(e);
}

engine_statistics engine_statistics_now(const engine *e)
{
    engine_statistics now = e->statistics;
    for (const fake_request *f = e->first; f; f = f->next)
        if (f->started)
            now.running += f->r.choices;
        else
            now.waiting++;
    return now;
}

#endif
