/* The queue, and what is asked of the engine. */
#include "generate/engine.h"
#include "base/clock.h"
#include "base/memory.h"
#include "generate/engine_parts.h"
#include <stdlib.h>
#include <string.h>

const char *finish_reason_text(finish_reason r)
{
    switch (r) {
    case FINISH_STOP:
        return "stop";
    case FINISH_LENGTH:
        return "length";
    case FINISH_CANCELLED:
        return "cancelled";
    case FINISH_ERROR:
        return "error";
    }
    return "error";
}

engine_request engine_request_default(void)
{
    return (engine_request){.max_tokens = 16, .choices = 1, .sampling = sampler_default(), .top = -1};
}

/* ---- life ---------------------------------------------------------------------------------------------- */

engine *engine_new(decoder *d, const tokenizer *t, const engine_settings *s)
{
    engine *e = memory_new(1, sizeof *e, "an engine");
    *e = (engine){.d = d, .t = t, .set = *s, .V = d->m->d.V, .pages = decoder_pages_free(d), .next_id = 1};
    const int64_t most = d->settings.sequences < d->settings.rows ? d->settings.sequences : d->settings.rows;
    if (e->set.running > most) e->set.running = most;
    if (d->m->d.kind != ATTENTION_MLA || !d->settings.materialise) e->set.materialise_from = 0;
    e->held = memory_new(d->settings.sequences, sizeof *e->held, "an engine");
    e->room = sampler_room_new(e->V);
    e->logits = memory_new(LOGITS_ROWS * e->V, sizeof *e->logits, "an engine");
    e->draft = memory_new(e->V, sizeof *e->draft, "an engine");
    engine_pass_init(e);
    return e;
}

static void job_free(job *j)
{
    for (int i = 0; j->choice && i < j->r.choices; i++) {
        sampler_free(j->choice[i].sampler);
        token_text_free(j->choice[i].text);
        stop_strings_free(&j->choice[i].stops);
    }
    free(j->choice);
    token_text_free(j->prompt);
    for (int i = 0; i < j->r.stops; i++) free((char *)j->r.stop[i]);
    free((char **)j->r.stop);
    free((int32_t *)j->r.prompt);
    free((int32_t *)j->r.end);
    free(j);
}

static void free_jobs(job *j)
{
    while (j) {
        job *next = j->next;
        job_free(j);
        j = next;
    }
}

void engine_free(engine *e)
{
    if (!e) return;
    free_jobs(e->waiting);
    free_jobs(e->running);
    for (int i = 0; i < (int)e->d->settings.sequences; i++) {
        if (e->held[i].open) decoder_close(e->d, i);
        free(e->held[i].tokens);
        free(e->held[i].score);
    }
    engine_pass_free(e);
    sampler_room_free(e->room);
    text_buffer_free(&e->piece);
    text_buffer_free(&e->text);
    free(e->held);
    free(e->logits);
    free(e->draft);
    free(e);
}

/* ---- requests ------------------------------------------------------------------------------------------ */

static status check_tokens(const engine *e, const char *what, const int32_t *tokens, int64_t count,
                           message *why)
{
    for (int64_t i = 0; i < count; i++)
        if (tokens[i] < 0 || tokens[i] >= e->V)
            return fail(why, ERR_USAGE, "%s: token %lld is %d; the model's are from 0 to %lld", what,
                        (long long)i, tokens[i], (long long)e->V - 1);
    return OK;
}

static status check_sizes(const engine *e, const engine_request *r, message *why)
{
    if (r->prompt_tokens < 1) return fail(why, ERR_USAGE, "the prompt is empty; it needs one token at least");
    if (r->max_tokens < 0)
        return fail(why, ERR_USAGE, "max_tokens is %lld; it can be 0 or more", (long long)r->max_tokens);
    const int64_t most = e->set.running < ENGINE_MAX_CHOICES ? e->set.running : ENGINE_MAX_CHOICES;
    if (r->choices < 1 || r->choices > most)
        return fail(why, ERR_USAGE, "%d choices are wanted; there can be 1 to %lld", r->choices,
                    (long long)most);
    if (r->top < -1 || r->top > ENGINE_MAX_TOP)
        return fail(why, ERR_USAGE, "%d likeliest tokens are wanted; there can be 0 to %d", r->top,
                    ENGINE_MAX_TOP);
    return OK;
}

/* Whether it fits when nothing else is there. */
static status check_room(const engine *e, const engine_request *r, message *why)
{
    const int64_t longest = e->d->settings.longest;
    if (r->prompt_tokens > longest || r->max_tokens > longest ||
        r->prompt_tokens + r->max_tokens > longest + 1)
        return fail(
            why, ERR_USAGE,
            "the prompt has %lld tokens and max_tokens is %lld: more than the %lld of a sequence together",
            (long long)r->prompt_tokens, (long long)r->max_tokens, (long long)longest);
    const int64_t all = decoder_pages_of(job_positions(&(job){.r = *r}));
    const int64_t pages = all + (r->choices - 1) * (all - r->prompt_tokens / DECODER_PAGE);
    if (pages > e->pages)
        return fail(why, ERR_USAGE,
                    "prompt and max_tokens take %lld positions of the cache over all choices; it has %lld",
                    (long long)pages * DECODER_PAGE, (long long)e->pages * DECODER_PAGE);
    return OK;
}

static status check_stops(const engine *e, const engine_request *r, message *why)
{
    if (r->stops && !e->t) return fail(why, ERR_USAGE, "stop strings need a tokenizer, and there is none");
    for (int i = 0; i < r->stops; i++)
        if (!r->stop[i][0]) return fail(why, ERR_USAGE, "stop string %d is empty", i + 1);
    return check_tokens(e, "the end tokens", r->end, r->ends, why);
}

static status check_request(const engine *e, const engine_request *r, message *why)
{
    TRY(check_sizes(e, r, why));
    TRY(check_room(e, r, why));
    TRY(check_tokens(e, "the prompt", r->prompt, r->prompt_tokens, why));
    TRY(check_stops(e, r, why));
    TRY(sampler_check(&r->sampling, why));
    if (e->waiting_count >= e->set.queue)
        return fail(why, ERR_DEVICE, "%lld requests are waiting, as many as may; try again later",
                    (long long)e->waiting_count);
    return OK;
}

static int32_t *copy_tokens(const int32_t *tokens, int64_t count)
{
    int32_t *copy = memory_new(count, sizeof *copy, "a request");
    if (count) memcpy(copy, tokens, (size_t)count * sizeof *copy);
    return copy;
}

static char **copy_texts(const char *const *texts, int count)
{
    char **copy = memory_new(count, sizeof *copy, "a request");
    for (int i = 0; i < count; i++) copy[i] = memory_check(strdup(texts[i]), "a request");
    return copy;
}

static job *job_new(engine *e, const engine_request *r)
{
    job *j = memory_new(1, sizeof *j, "a request");
    *j = (job){.id = e->next_id++, .r = *r, .submitted = clock_seconds()};
    j->r.prompt = copy_tokens(r->prompt, r->prompt_tokens);
    j->r.end = copy_tokens(r->end, r->ends);
    j->r.stop = (const char *const *)copy_texts(r->stop, r->stops);
    j->materialised = e->set.materialise_from > 0 && r->prompt_tokens >= e->set.materialise_from;
    j->choice = memory_new(r->choices, sizeof *j->choice, "a request");
    for (int i = 0; i < r->choices; i++) j->choice[i] = (choice){.of = j, .number = i, .sequence = -1};
    return j;
}

status engine_submit(engine *e, const engine_request *request, uint64_t *id, message *why)
{
    REQUIRE(request->listen, "a request without a listener");
    TRY(check_request(e, request, why));
    job *j = job_new(e, request), **end = &e->waiting;
    while (*end) end = &(*end)->next;
    *end = j;
    *id = j->id;
    e->waiting_count++;
    e->sum.requests++;
    return OK;
}

/* Frees the requests of a list that are over. Returns how many there were. */
static int64_t remove_finished(job **list)
{
    int64_t removed = 0;
    while (*list) {
        job *j = *list;
        if (j->finished == j->r.choices) {
            *list = j->next;
            job_free(j);
            removed++;
        } else
            list = &j->next;
    }
    return removed;
}

/* Ends those that are cancelled, and forgets those that are over. A listener may cancel others. */
static void clean(engine *e)
{
    bool found = true;
    while (found) {
        found = false;
        for (int list = 0; list < 2; list++)
            for (job *j = list ? e->running : e->waiting; j; j = j->next) {
                if (!j->cancelled || j->finished == j->r.choices) continue;
                job_finish(e, j, FINISH_CANCELLED);
                found = true;
            }
    }
    e->waiting_count -= remove_finished(&e->waiting);
    remove_finished(&e->running);
}

bool engine_cancel(engine *e, uint64_t id)
{
    for (int list = 0; list < 2; list++)
        for (job *j = list ? e->running : e->waiting; j; j = j->next) {
            if (j->id != id || j->cancelled || j->finished == j->r.choices) continue;
            j->cancelled = true;
            if (!e->stepping) {
                e->stepping = true; /* its listener may cancel others */
                clean(e);
                e->stepping = false;
            }
            return true;
        }
    return false;
}

bool engine_waits(const engine *e, uint64_t id)
{
    const job *j = e->waiting;
    while (j && j->id != id) j = j->next;
    return j;
}

bool engine_busy(const engine *e) { return e->waiting || e->running; }

void engine_step(engine *e)
{
    e->stepping = true;
    engine_start_jobs(e);
    clean(e);
    if (e->running) engine_pass(e);
    clean(e);
    e->stepping = false;
}

/* Pages that kept sequences alone hold are what closing them would free: not known without doing so; those
 * that the running ones do not need are counted instead. */
engine_statistics engine_statistics_now(const engine *e)
{
    engine_statistics s = e->sum;
    int64_t needed = 0;
    s.waiting = e->waiting_count;
    s.running = e->running_count;
    s.pages = e->pages;
    s.used = e->pages - decoder_pages_free(e->d);
    for (int i = 0; i < (int)e->d->settings.sequences; i++)
        if (e->held[i].open && e->held[i].by) needed += decoder_pages_of(e->held[i].count);
    s.kept = s.used > needed ? s.used - needed : 0;
    return s;
}
