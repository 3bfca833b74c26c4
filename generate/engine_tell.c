/* Events, and the end of a choice. */
#include "base/clock.h"
#include "generate/engine_parts.h"

static engine_event event_of(const job *j, int number, engine_event_kind kind, int64_t index, int32_t token)
{
    return (engine_event){.kind = kind,
                          .request = j->id,
                          .choice = number,
                          .index = index,
                          .token = token,
                          .piece = "",
                          .text = "",
                          .stop = -1};
}

static void tell(const job *j, const engine_event *event) { j->r.listen(j->r.context, event); }

static void add_chances(engine_event *event, const token_chances *chances)
{
    event->scored = chances->known;
    event->logprob = chances->logprob;
    event->top = chances->top;
    event->tops = chances->tops;
}

static void add_texts(const engine *e, engine_event *event)
{
    if (e->piece.bytes) event->piece = e->piece.text, event->piece_bytes = e->piece.bytes;
    if (e->text.bytes) event->text = e->text.text, event->text_bytes = e->text.bytes;
}

void tell_prompt_token(engine *e, job *j, const token_chances *chances)
{
    const int64_t i = j->told++;
    engine_event event = event_of(j, 0, EVENT_PROMPT_TOKEN, i, j->r.prompt[i]);
    if (i) add_chances(&event, chances);
    e->piece.bytes = e->text.bytes = 0;
    if (j->prompt) {
        token_text_push(j->prompt, j->r.prompt[i], &e->piece);
        if (j->told == j->r.prompt_tokens) token_text_end(j->prompt, &e->piece);
    }
    add_texts(e, &event);
    tell(j, &event);
}

static bool ends_text(const job *j, int32_t token)
{
    for (int i = 0; i < j->r.ends; i++)
        if (j->r.end[i] == token) return true;
    return false;
}

/* Puts the text of a token into e->piece, and what may be shown into e->text. Returns a stop string, or -1.
 * An end token has no text, however it is spelled. Of a character that stays unfinished the last token has
 * what is left. */
static int add_token_text(engine *e, choice *c, int32_t token, bool end)
{
    e->piece.bytes = e->text.bytes = 0;
    if (!c->text) return -1;
    if (!end) token_text_push(c->text, token, &e->piece);
    if (end || c->generated == c->of->r.max_tokens) token_text_end(c->text, &e->piece);
    return stop_strings_push(&c->stops, e->piece.text, e->piece.bytes, &e->text);
}

void choice_take(engine *e, choice *c, int32_t token, const token_chances *chances)
{
    job *j = c->of;
    engine_event event = event_of(j, c->number, EVENT_TOKEN, c->generated, token);
    if (!c->generated++) c->first = clock_seconds() - j->submitted;
    c->last = token;
    sampler_saw(c->sampler, &token, 1);
    e->sum.generated_tokens++;
    const bool end = ends_text(j, token);
    const int stop = add_token_text(e, c, token, end);
    add_chances(&event, chances);
    add_texts(e, &event);
    tell(j, &event);
    if (j->cancelled) return;
    if (stop >= 0 || end)
        choice_finish(e, c, FINISH_STOP, stop);
    else if (c->generated == j->r.max_tokens)
        choice_finish(e, c, FINISH_LENGTH, -1);
}

/* The rest of the text, when no stop string has ended it. May find one in it. */
static int add_last_text(engine *e, choice *c)
{
    e->piece.bytes = e->text.bytes = 0;
    if (!c->text) return -1;
    token_text_end(c->text, &e->piece);
    const int stop = stop_strings_push(&c->stops, e->piece.text, e->piece.bytes, &e->text);
    return stop >= 0 ? stop : stop_strings_end(&c->stops, &e->text);
}

void choice_finish(engine *e, choice *c, finish_reason reason, int stop)
{
    job *j = c->of;
    engine_event event = event_of(j, c->number, EVENT_FINISHED, c->generated, -1);
    c->finished = true;
    j->finished++;
    if (stop >= 0)
        e->piece.bytes = e->text.bytes = 0;
    else
        stop = add_last_text(e, c);
    if (c->sequence >= 0) {
        if (reason == FINISH_ERROR)
            held_close(e, c->sequence);
        else
            held_release(e, c->sequence, j);
        c->sequence = -1;
    }
    if (j->started > 0) e->running_count--;
    if (j->finished == j->r.choices) e->sum.finished++;
    if (j->finished == j->r.choices && reason == FINISH_CANCELLED) e->sum.cancelled++;
    add_texts(e, &event);
    event.reason = stop >= 0 && reason == FINISH_LENGTH ? FINISH_STOP : reason;
    event.stop = stop;
    event.reused = j->reused;
    event.waited = j->started > 0 ? j->started - j->submitted : 0;
    event.first = c->first;
    event.seconds = clock_seconds() - j->submitted;
    tell(j, &event);
}

void job_finish(engine *e, job *j, finish_reason reason)
{
    for (int i = 0; i < j->r.choices; i++)
        if (!j->choice[i].finished) choice_finish(e, &j->choice[i], reason, -1);
}
