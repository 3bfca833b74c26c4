/* Which requests start, and the positions that they find already computed.
 *
 * Every sequence of the decoder is in the table `held` with its tokens. A prompt that begins like one of them
 * is forked from it, whether that one is still generating or was kept when it was done. Kept ones go when
 * their pages or their place are needed, the one that was not used for longest first. */
#include "base/array.h"
#include "base/clock.h"
#include "base/memory.h"
#include "generate/engine_parts.h"
#include <stdlib.h>
#include <string.h>

enum { LEAST_SHARED = 16 }; /* positions; fewer are computed anew */

/* ---- what is held -------------------------------------------------------------------------------------- */

static void held_open(engine *e, int sequence, job *j)
{
    held *h = &e->held[sequence];
    h->open = true;
    h->by = j;
    h->materialised = j->materialised;
    h->count = h->scored = 0;
    h->used = ++e->clock;
}

void held_add(engine *e, int sequence, const int32_t *tokens, int64_t count)
{
    held *h = &e->held[sequence];
    h->tokens = array_reserve(h->tokens, &h->capacity, h->count + count, sizeof *h->tokens);
    memcpy(h->tokens + h->count, tokens, (size_t)count * sizeof *tokens);
    h->count += count;
}

void held_add_score(held *h, const token_score *score)
{
    h->score = array_reserve(h->score, &h->score_capacity, h->scored + 1, sizeof *h->score);
    h->score[h->scored++] = *score;
}

void held_close(engine *e, int sequence)
{
    decoder_close(e->d, sequence);
    e->held[sequence].open = false;
    e->held[sequence].by = NULL;
}

static bool begins_with(const held *h, const held *beginning)
{
    return h->count >= beginning->count && h->materialised == beginning->materialised &&
           h->scored >= beginning->scored &&
           !memcmp(h->tokens, beginning->tokens, (size_t)beginning->count * sizeof *h->tokens);
}

/* Tokens that were generated are computed one by one, in the short form: behind a prompt in the long form
 * they are not what another prompt would get. */
void held_release(engine *e, int sequence, const job *j)
{
    held *h = &e->held[sequence];
    if (j->materialised && h->count > j->r.prompt_tokens) {
        decoder_rewind(e->d, sequence, j->r.prompt_tokens);
        h->count = j->r.prompt_tokens;
    }
    h->by = NULL;
    h->used = ++e->clock;
    if (h->scored > h->count) h->scored = h->count;
    for (int i = 0; i < (int)e->d->settings.sequences; i++) {
        const held *other = &e->held[i];
        if (i == sequence || !other->open) continue;
        if (!other->by && begins_with(h, other))
            held_close(e, i);
        else if (begins_with(other, h)) {
            held_close(e, sequence);
            return;
        }
    }
}

int held_fork(engine *e, job *j, int from, int64_t length)
{
    const int sequence = decoder_fork(e->d, from, length);
    REQUIRE(sequence >= 0, "pages and sequences of a request are free when it starts");
    held_open(e, sequence, j);
    held_add(e, sequence, e->held[from].tokens, length);
    e->held[from].used = ++e->clock;
    return sequence;
}

/* ---- room ---------------------------------------------------------------------------------------------- */

/* Pages that those who run may still take. */
static int64_t pages_promised(const engine *e)
{
    int64_t pages = 0;
    for (const job *j = e->running; j; j = j->next) {
        const int64_t all = job_positions(j),
                      forked = decoder_pages_of(all) - j->r.prompt_tokens / DECODER_PAGE;
        for (int i = 0; i < j->r.choices; i++) {
            const choice *c = &j->choice[i];
            if (c->finished) continue;
            pages += c->sequence < 0
                         ? forked
                         : decoder_pages_for(e->d, c->sequence, all - decoder_length(e->d, c->sequence));
        }
    }
    return pages;
}

static int sequences_open(const engine *e)
{
    int open = 0;
    for (int i = 0; i < (int)e->d->settings.sequences; i++) open += e->held[i].open;
    for (const job *j = e->running; j; j = j->next) /* and those that will be */
        for (int i = 0; i < j->r.choices; i++) open += !j->choice[i].finished && j->choice[i].sequence < 0;
    return open;
}

/* Closes the kept sequence that was not used for longest, but not `spared`. */
static bool close_oldest(engine *e, int spared)
{
    int oldest = -1;
    for (int i = 0; i < (int)e->d->settings.sequences; i++) {
        const held *h = &e->held[i];
        if (!h->open || h->by || i == spared) continue;
        if (oldest < 0 || h->used < e->held[oldest].used) oldest = i;
    }
    if (oldest >= 0) held_close(e, oldest);
    return oldest >= 0;
}

/* Makes room for a request that begins with `shared` positions of `source` (-1). */
static bool make_room(engine *e, const job *j, int source, int64_t shared)
{
    const int64_t all = decoder_pages_of(job_positions(j));
    const int64_t pages =
        all - shared / DECODER_PAGE + (j->r.choices - 1) * (all - j->r.prompt_tokens / DECODER_PAGE);
    if (e->running_count + j->r.choices > e->set.running) return false;
    while (decoder_pages_free(e->d) - pages_promised(e) < pages ||
           sequences_open(e) + j->r.choices > e->d->settings.sequences)
        if (!close_oldest(e, source)) return false;
    return true;
}

/* ---- what is there already ----------------------------------------------------------------------------- */

static int64_t common(const int32_t *a, int64_t n, const int32_t *b, int64_t m)
{
    int64_t i = 0;
    while (i < n && i < m && a[i] == b[i]) i++;
    return i;
}

/* Positions of the prompt that a sequence has. The last token's is always computed, for what follows it. So
 * is, where log-probabilities are wanted, the position before the first token that differs; those of the
 * tokens before it must be known. */
static int64_t shareable(const job *j, const held *h, int64_t count)
{
    if (h->materialised != j->materialised) return 0;
    int64_t n = common(j->r.prompt, j->r.prompt_tokens, h->tokens, count);
    if (job_scores(j)) {
        if (!job_scores_suffice(j)) return 0;
        n = (n < h->scored ? n : h->scored) - 1;
    }
    if (n > j->r.prompt_tokens - 1) n = j->r.prompt_tokens - 1;
    return n < LEAST_SHARED ? 0 : n;
}

static int find_source(const engine *e, const job *j, int64_t *shared)
{
    int best = -1;
    *shared = 0;
    for (int i = 0; i < (int)e->d->settings.sequences; i++) {
        const held *h = &e->held[i];
        /* What a long prompt has generated is in the short form. */
        const int64_t usable =
            h->by && h->materialised && h->count > h->by->r.prompt_tokens ? h->by->r.prompt_tokens : h->count;
        const int64_t n = h->open ? shareable(j, h, usable) : 0;
        if (n > *shared) *shared = n, best = i;
    }
    return best;
}

/* Whether one whose prompt is being computed will share more. */
static bool better_soon(const engine *e, const job *j, int64_t shared)
{
    for (const job *other = e->running; other; other = other->next) {
        if (other->computed == other->r.prompt_tokens || other->materialised != j->materialised) continue;
        if (job_scores(j) && !(job_scores(other) && job_scores_suffice(other) && job_scores_suffice(j)))
            continue;
        const int64_t n = common(j->r.prompt, j->r.prompt_tokens, other->r.prompt, other->r.prompt_tokens);
        if (n - 1 >= LEAST_SHARED && n - 1 > shared && n > other->computed) return true;
    }
    return false;
}

/* ---- starting ------------------------------------------------------------------------------------------ */

/* Whether the prompt has any text, so that what is generated goes on inside one. */
static bool has_text(const engine *e, const job *j)
{
    text_buffer text = {0};
    message ignored;
    for (int64_t i = 0; i < j->r.prompt_tokens && !text.bytes; i++)
        if (tokenizer_decode(e->t, (const uint32_t *)&j->r.prompt[i], 1, !j->r.special_text, &text,
                             &ignored) != OK)
            text.bytes = 0;
    const bool has = text.bytes > 0;
    text_buffer_free(&text);
    return has;
}

static void make_texts(engine *e, job *j)
{
    const bool inside = e->t && has_text(e, j);
    if (e->t && j->r.echo) j->prompt = token_text_new(e->t, j->r.special_text, false);
    for (int i = 0; i < j->r.choices; i++) {
        choice *c = &j->choice[i];
        if (e->t) c->text = token_text_new(e->t, j->r.special_text, inside);
        stop_strings_init(&c->stops, j->r.stop, j->r.stops);
        c->sampler = sampler_new(&j->r.sampling, e->room, (uint64_t)i);
        sampler_saw(c->sampler, j->r.prompt, j->r.prompt_tokens);
    }
}

static void copy_scores(engine *e, job *j, int source, int64_t shared)
{
    held *h = &e->held[j->choice[0].sequence];
    for (int64_t i = 0; i <= shared; i++) held_add_score(h, &e->held[source].score[i]);
}

/* The tokens of the prompt whose scores are known from the start, or all where none are wanted. */
static void tell_what_is_known(engine *e, job *j)
{
    const held *h = &e->held[j->choice[0].sequence];
    if (!j->r.echo) return;
    const int64_t until = !job_scores(j) ? j->r.prompt_tokens : h->scored > 1 ? h->scored : 1;
    for (int64_t i = 0; i < until; i++) {
        const token_chances chances =
            i && job_scores(j) ? chances_of_score(j, &h->score[i], false) : (token_chances){0};
        tell_prompt_token(e, j, &chances);
    }
}

static void start(engine *e, job *j, int source, int64_t shared)
{
    j->started = clock_seconds();
    j->computed = j->reused = shared;
    e->running_count += j->r.choices;
    e->sum.reused_tokens += shared;
    make_texts(e, j);
    if (source >= 0)
        j->choice[0].sequence = held_fork(e, j, source, shared);
    else {
        j->choice[0].sequence = decoder_open(e->d);
        held_open(e, j->choice[0].sequence, j);
    }
    if (job_scores(j) && job_scores_suffice(j)) {
        if (source >= 0)
            copy_scores(e, j, source, shared);
        else
            held_add_score(&e->held[j->choice[0].sequence], &(token_score){0}); /* the first token has none */
    }
}

/* Tokens of the prompts of those that run that are not computed. */
static int64_t tokens_to_come(const engine *e)
{
    int64_t tokens = 0;
    for (const job *j = e->running; j; j = j->next) tokens += j->r.prompt_tokens - j->computed;
    return tokens;
}

/* No more than the next pass takes: what starts later finds more that it can share. */
void engine_start_jobs(engine *e)
{
    job **from = &e->waiting, **end = &e->running;
    while (*end) end = &(*end)->next;
    while (*from && tokens_to_come(e) < e->d->settings.rows) {
        job *j = *from;
        int64_t shared;
        int source = find_source(e, j, &shared);
        if (j->cancelled || better_soon(e, j, shared)) {
            from = &j->next;
            continue;
        }
        bool fits = make_room(e, j, source, shared);
        if (!fits && source >= 0 && !e->held[source].by) {
            source = -1, shared = 0; /* the source itself is in the way */
            fits = make_room(e, j, source, shared);
        }
        if (!fits) return; /* nobody overtakes one that waits for room */
        *from = j->next;
        e->waiting_count--;
        j->next = NULL;
        *end = j;
        end = &j->next;
        start(e, j, source, shared);
        tell_what_is_known(e, j);
    }
}
