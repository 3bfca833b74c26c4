/* A pass: the next token of every choice that generates, then as much of the prompts as there are rows for,
 * in the order in which they came. Afterwards every row of interest has an `ask`: what is asked of the
 * decoder about it. Where the likeliest token or the chance of a known one is enough, that is a score; else
 * the row's logits come to the host. */
#include "base/memory.h"
#include "generate/engine_parts.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct ask {
    job *j;
    choice *c; /* for its next token; NULL: for the next token of the prompt */
    int32_t row;
    int32_t target; /* that the row's chance is asked of; -1: none */
    bool logits;
    int64_t at; /* of its results */
} ask;

struct pass {
    span *span;          /* (sequences) */
    job **of;            /* (sequences) */
    choice **for_choice; /* (sequences) NULL: a piece of the prompt */
    int spans;
    int64_t rows;
    ask *ask; /* (rows + sequences): several choices may ask about the last row of a prompt */
    int64_t asks;
    int32_t *row, *target; /* (rows + sequences) of scores */
    token_score *score;
    int64_t scores;
    int32_t *logits_row;              /* (rows + sequences) */
    int64_t logits_rows, logits_from; /* logits_from: the first of those that are on the host; -1: none */
};

void engine_pass_init(engine *e)
{
    const int64_t n = e->d->settings.sequences, most = e->d->settings.rows + n;
    struct pass *p = e->pass = memory_new(1, sizeof *p, "an engine");
    p->span = memory_new(n, sizeof *p->span, "an engine");
    p->of = memory_new(n, sizeof *p->of, "an engine");
    p->for_choice = memory_new(n, sizeof *p->for_choice, "an engine");
    p->ask = memory_new(most, sizeof *p->ask, "an engine");
    p->row = memory_new(most, sizeof *p->row, "an engine");
    p->target = memory_new(most, sizeof *p->target, "an engine");
    p->score = memory_new(most, sizeof *p->score, "an engine");
    p->logits_row = memory_new(most, sizeof *p->logits_row, "an engine");
}

void engine_pass_free(engine *e)
{
    struct pass *p = e->pass;
    free(p->span);
    free(p->of);
    free(p->for_choice);
    free(p->ask);
    free(p->row);
    free(p->target);
    free(p->score);
    free(p->logits_row);
    free(p);
}

/* ---- what goes into it --------------------------------------------------------------------------------- */

static void add_span(struct pass *p, job *j, choice *c, const span *s)
{
    p->of[p->spans] = j;
    p->for_choice[p->spans] = c;
    p->span[p->spans++] = *s;
    p->rows += s->count;
}

static void collect(engine *e)
{
    struct pass *p = e->pass;
    p->spans = 0, p->rows = 0;
    for (job *j = e->running; j; j = j->next)
        for (int i = 0; i < j->r.choices && j->computed == j->r.prompt_tokens; i++) {
            choice *c = &j->choice[i];
            if (c->finished) continue;
            add_span(p, j, c, &(span){.sequence = c->sequence, .tokens = &c->last, .count = 1});
        }
    for (job *j = e->running; j && p->rows < e->d->settings.rows; j = j->next) {
        const int64_t left = j->r.prompt_tokens - j->computed, room = e->d->settings.rows - p->rows;
        if (!left) continue;
        add_span(p, j, NULL,
                 &(span){.sequence = j->choice[0].sequence,
                         .tokens = j->r.prompt + j->computed,
                         .count = left < room ? left : room,
                         .materialised = j->materialised});
    }
}

static void compute(engine *e)
{
    struct pass *p = e->pass;
    const bool fits = decoder_forward(e->d, p->span, p->spans);
    REQUIRE(fits, "pages of a request are free when it starts: %lld are left",
            (long long)decoder_pages_free(e->d));
    for (int i = 0; i < p->spans; i++) {
        held_add(e, p->span[i].sequence, p->span[i].tokens, p->span[i].count);
        if (p->for_choice[i]) continue;
        p->of[i]->computed += p->span[i].count;
        e->sum.prompt_tokens += p->span[i].count;
    }
    e->sum.passes++;
    e->sum.rows += p->rows;
}

/* ---- what is asked about it ---------------------------------------------------------------------------- */

static void add_ask(struct pass *p, ask a)
{
    if (a.logits) {
        const bool same = p->logits_rows && p->logits_row[p->logits_rows - 1] == a.row;
        a.at = same ? p->logits_rows - 1 : p->logits_rows++;
        p->logits_row[a.at] = a.row;
    } else {
        a.at = p->scores++;
        p->row[a.at] = a.row;
        p->target[a.at] = a.target;
    }
    p->ask[p->asks++] = a;
}

static void ask_for_choice(struct pass *p, job *j, choice *c, int64_t row)
{
    const bool logits = !sampler_is_argmax(c->sampler) || !job_scores_suffice(j);
    add_ask(p, (ask){.j = j, .c = c, .row = (int32_t)row, .target = -1, .logits = logits});
}

static void ask_for_prompt(struct pass *p, job *j, int64_t row, int64_t token)
{
    add_ask(
        p,
        (ask){.j = j, .row = (int32_t)row, .target = j->r.prompt[token], .logits = !job_scores_suffice(j)});
}

static void ask_all(engine *e)
{
    struct pass *p = e->pass;
    int64_t row = 0;
    p->asks = p->scores = p->logits_rows = 0;
    p->logits_from = -1;
    for (int i = 0; i < p->spans; row += p->span[i++].count) {
        job *j = p->of[i];
        const int64_t n = p->span[i].count, first = j->computed - n;
        if (p->for_choice[i]) {
            ask_for_choice(p, j, p->for_choice[i], row);
            continue;
        }
        for (int64_t k = 0; job_scores(j) && k < n; k++)
            if (first + k + 1 < j->r.prompt_tokens) ask_for_prompt(p, j, row + k, first + k + 1);
        for (int k = 0; k < j->r.choices && j->computed == j->r.prompt_tokens && j->r.max_tokens; k++)
            ask_for_choice(p, j, &j->choice[k], row + n - 1);
    }
}

/* ---- answers ------------------------------------------------------------------------------------------- */

static const float *logits_of(engine *e, int64_t at)
{
    struct pass *p = e->pass;
    if (p->logits_from < 0 || at < p->logits_from || at >= p->logits_from + LOGITS_ROWS) {
        const int64_t n = p->logits_rows - at < LOGITS_ROWS ? p->logits_rows - at : LOGITS_ROWS;
        decoder_logits(e->d, p->logits_row + at, n, e->logits);
        p->logits_from = at;
    }
    return e->logits + (at - p->logits_from) * e->V;
}

/* The likeliest `tops` tokens. */
static void likeliest(const float *logits, int64_t V, double normaliser, token_chances *c)
{
    int n = 0;
    for (int64_t i = 0; i < V; i++) {
        const double logprob = (double)logits[i] - normaliser;
        if (n == c->tops && !(logprob > c->top[n - 1].logprob)) continue;
        int at = n < c->tops ? n++ : n - 1;
        for (; at > 0 && logprob > c->top[at - 1].logprob; at--) c->top[at] = c->top[at - 1];
        c->top[at] = (token_chance){(int32_t)i, logprob};
    }
    c->tops = n;
}

static double log_sum(const float *logits, int64_t V)
{
    float most = logits[0];
    for (int64_t i = 1; i < V; i++) most = logits[i] > most ? logits[i] : most;
    double sum = 0;
    for (int64_t i = 0; i < V; i++) sum += exp((double)logits[i] - (double)most);
    return (double)most + log(sum);
}

static token_chances chances_of_logits(const engine *e, const job *j, const float *logits, int32_t token)
{
    token_chances c = {.known = j->r.top >= 0};
    if (!c.known) return c;
    const double normaliser = log_sum(logits, e->V);
    c.logprob = (double)logits[token] - normaliser;
    c.tops = (int64_t)j->r.top < e->V ? j->r.top : (int)e->V;
    if (c.tops) likeliest(logits, e->V, normaliser, &c);
    return c;
}

token_chances chances_of_score(const job *j, const token_score *s, bool chosen)
{
    token_chances c = {.known = j->r.top >= 0, .logprob = chosen ? s->best_logprob : s->logprob};
    c.tops = j->r.top > 0;
    c.top[0] = (token_chance){s->best, s->best_logprob};
    return c;
}

static void tell_prompt_chances(engine *e, job *j, const token_chances *chances)
{
    if (isfinite(chances->logprob))
        tell_prompt_token(e, j, chances);
    else
        job_finish(e, j, FINISH_ERROR);
}

static void answer_prompt(engine *e, const ask *a)
{
    const struct pass *p = e->pass;
    if (a->logits) {
        const token_chances chances = chances_of_logits(e, a->j, logits_of(e, a->at), a->target);
        tell_prompt_chances(e, a->j, &chances);
        return;
    }
    const token_score *score = &p->score[a->at];
    const token_chances chances = chances_of_score(a->j, score, false);
    held_add_score(&e->held[a->j->choice[0].sequence], score);
    tell_prompt_chances(e, a->j, &chances);
}

static void answer_choice(engine *e, const ask *a)
{
    const struct pass *p = e->pass;
    token_chances chances;
    int32_t token;
    if (a->logits) {
        const float *logits = logits_of(e, a->at);
        memcpy(e->draft, logits, (size_t)e->V * sizeof *logits);
        token = sampler_next(a->c->sampler, e->draft);
        if (token >= 0) chances = chances_of_logits(e, a->j, logits, token);
    } else {
        const token_score *score = &p->score[a->at];
        chances = chances_of_score(a->j, score, true);
        token = isfinite(score->best_logprob) ? score->best : -1;
    }
    if (token < 0)
        choice_finish(e, a->c, FINISH_ERROR, -1);
    else
        choice_take(e, a->c, token, &chances);
}

/* The other choices of a prompt that has just been computed. */
static void fork_choices(engine *e)
{
    const struct pass *p = e->pass;
    for (int i = 0; i < p->spans; i++) {
        job *j = p->of[i];
        if (p->for_choice[i] || j->computed < j->r.prompt_tokens) continue;
        for (int k = 1; k < j->r.choices; k++)
            j->choice[k].sequence = held_fork(e, j, j->choice[0].sequence, j->r.prompt_tokens);
    }
}

/* Choices of which nothing is wanted but the prompt. */
static void finish_prompts(engine *e)
{
    const struct pass *p = e->pass;
    for (int i = 0; i < p->spans; i++) {
        job *j = p->of[i];
        if (!p->for_choice[i] && j->computed == j->r.prompt_tokens && !j->r.max_tokens && !j->cancelled)
            job_finish(e, j, FINISH_LENGTH);
    }
}

void engine_pass(engine *e)
{
    struct pass *p = e->pass;
    collect(e);
    compute(e);
    fork_choices(e);
    ask_all(e);
    if (p->scores) decoder_scores(e->d, p->row, p->target, p->scores, p->score);
    for (int64_t i = 0; i < p->asks; i++) {
        const job *j = p->ask[i].j;
        if (j->cancelled || j->finished == j->r.choices) continue;
        if (p->ask[i].c)
            answer_choice(e, &p->ask[i]);
        else
            answer_prompt(e, &p->ask[i]);
    }
    finish_prompts(e);
}
