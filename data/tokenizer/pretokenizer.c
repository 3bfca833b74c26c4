/* Runs the stages of a pre-tokenizer depth first: each part goes through all later stages before the next
 * part is made, so that words reach the model in order and no list of parts is kept.
 *
 *     "ab 12"  stage 0: Split -->  "ab"   -- stage 1: Digits -->  "ab"          to the model
 *                                  " 12"  -- stage 1: Digits -->  " " "1" "2"   to the model
 *
 * Every part exists twice, as `text` and as `seen`, of the same length. In `seen`, characters that PCRE2's
 * Unicode is too old for are replaced by older ones of the same class (twins); expressions that depend on
 * general categories are matched in it, and the places found are cut in `text`. */
#include "base/memory.h"
#include "data/tokenizer/pretokenizer_stages.h"
#include "data/tokenizer/text_buffer.h"
#include "data/tokenizer/unicode.h"
#include <stdlib.h>
#include <string.h>

/* A piece of the text, and the same piece with twins (data/tokenizer/unicode.h). */
typedef struct part {
    const char *text, *seen;
    int64_t bytes;
    bool first; /* at the very beginning of what is encoded */
} part;

/* The buffers of a stage that changes the text. */
typedef struct scratch {
    text_buffer text, seen;
} scratch;

struct pretokenizer_work {
    const pretokenizer *p;
    pattern_work *match;
    scratch *scratch;  /* per stage */
    text_buffer twins; /* the whole text with twins */
};

/* One run. */
typedef struct run {
    pretokenizer_work *w;
    bpe_work *model;
    token_list *out;
    message *why;
} run;

pretokenizer_work *pretokenizer_work_new(const pretokenizer *p)
{
    pretokenizer_work *w = memory_new(1, sizeof *w, "a pre-tokenizer");
    w->scratch = memory_new(p->count + 1, sizeof *w->scratch, "a pre-tokenizer");
    w->p = p;
    w->match = pattern_work_new();
    return w;
}

void pretokenizer_work_free(pretokenizer_work *w)
{
    if (!w) return;
    for (int64_t i = 0; i < w->p->count; i++) {
        text_buffer_free(&w->scratch[i].text);
        text_buffer_free(&w->scratch[i].seen);
    }
    free(w->scratch);
    text_buffer_free(&w->twins);
    pattern_work_free(w->match);
    free(w);
}

static status run_stage(run *r, int64_t at, part p);

/* Passes [from, to) of p to the next stage. */
static status hand_on(run *r, int64_t at, const part *p, int64_t from, int64_t to)
{
    if (from == to) return OK;
    return run_stage(r, at + 1,
                     (part){.text = p->text + from,
                            .seen = p->seen + from,
                            .bytes = to - from,
                            .first = p->first && from == 0});
}

/* ---- splits -------------------------------------------------------------------------------------------- */

/* Takes pieces that match and pieces that do not, in order, and passes on what the behavior makes of them.
 * `held` is a piece that may still be joined with the next one. */
typedef struct splitter {
    const part *p;
    int64_t at;
    split_behavior behavior;
    bool holds, held_matches;
    int64_t held_from, held_to;
} splitter;

static status release(run *r, splitter *s)
{
    if (!s->holds) return OK;
    s->holds = false;
    return hand_on(r, s->at, s->p, s->held_from, s->held_to);
}

static bool joins_held(const splitter *s, bool matches)
{
    if (!s->holds) return false;
    if (s->behavior == CONTIGUOUS) return matches == s->held_matches;
    /* A match goes with its neighbour, once. */
    return s->behavior == MERGED_WITH_PREVIOUS ? !s->held_matches && matches : s->held_matches && !matches;
}

static status take(run *r, splitter *s, int64_t from, int64_t to, bool matches)
{
    if (s->behavior == ISOLATED || (s->behavior == REMOVED && !matches))
        return hand_on(r, s->at, s->p, from, to);
    if (s->behavior == REMOVED) return OK;
    if (joins_held(s, matches)) {
        s->held_to = to;
        s->held_matches = matches;
        return OK;
    }
    TRY(release(r, s));
    *s = (splitter){.p = s->p,
                    .at = s->at,
                    .behavior = s->behavior,
                    .holds = true,
                    .held_matches = matches,
                    .held_from = from,
                    .held_to = to};
    return OK;
}

static status run_split(run *r, int64_t at, const part *p)
{
    const stage *of = &r->w->p->stage[at];
    splitter s = {.p = p, .at = at, .behavior = of->behavior};
    pattern_search search = pattern_begin(of->pattern, r->w->match,
                                          pattern_has_classes(of->pattern) ? p->seen : p->text, p->bytes);
    int64_t done = 0;
    for (bool found;;) {
        TRY(pattern_next(&search, &found, r->why));
        if (!found) break;
        if (done < search.start) TRY(take(r, &s, done, search.start, of->invert));
        TRY(take(r, &s, search.start, search.end, !of->invert));
        done = search.end;
    }
    if (done < p->bytes) TRY(take(r, &s, done, p->bytes, of->invert));
    return release(r, &s);
}

/* ---- changes of the text ------------------------------------------------------------------------------- */

static void prepend(scratch *s, const char *text, int64_t bytes)
{
    s->text.bytes = s->seen.bytes = 0;
    text_buffer_append(&s->text, text, bytes);
    text_buffer_append(&s->seen, text, bytes);
}

static status scratch_on(run *r, int64_t at, const scratch *s, bool first)
{
    return run_stage(
        r, at + 1,
        (part){.text = s->text.text, .seen = s->seen.text, .bytes = s->text.bytes, .first = first});
}

static status run_prefix_space(run *r, int64_t at, const part *p)
{
    scratch *s = &r->w->scratch[at];
    if (p->text[0] == ' ') return run_stage(r, at + 1, *p);
    prepend(s, " ", 1);
    text_buffer_append(&s->text, p->text, p->bytes);
    text_buffer_append(&s->seen, p->seen, p->bytes);
    return scratch_on(r, at, s, p->first);
}

static status run_metaspace(run *r, int64_t at, const part *p)
{
    const text_buffer space = {.text = (char[]){' '}, .bytes = 1};
    const stage *of = &r->w->p->stage[at];
    scratch *s = &r->w->scratch[at];
    const bool has_one = p->text[0] == ' ' || (p->bytes >= of->space.bytes &&
                                               !memcmp(p->text, of->space.text, (size_t)of->space.bytes));
    const bool wants_one = of->prepend == ALWAYS || (of->prepend == FIRST && p->first);
    prepend(s, of->space.text, wants_one && !has_one ? of->space.bytes : 0);
    text_buffer_replace(&s->text, p->text, p->bytes, &space, &of->space, INT64_MAX);
    text_buffer_replace(&s->seen, p->seen, p->bytes, &space, &of->space, INT64_MAX);
    return scratch_on(r, at, s, p->first);
}

/* ---- the whole ----------------------------------------------------------------------------------------- */

static status run_stage(run *r, int64_t at, part p)
{
    if (at == r->w->p->count) return bpe_encode(r->model, p.text, p.bytes, r->out, r->why);
    switch (r->w->p->stage[at].kind) {
    case SPLIT:
        return run_split(r, at, &p);
    case PREFIX_SPACE:
        return run_prefix_space(r, at, &p);
    case METASPACE:
        return run_metaspace(r, at, &p);
    }
    return OK;
}

status pretokenizer_run(pretokenizer_work *w, const char *text, int64_t bytes, bool first, bpe_work *model,
                        token_list *out, message *why)
{
    if (!bytes) return OK;
    const char *seen = text;
    if (w->p->count && unicode_has_twins(text, bytes)) {
        w->twins.bytes = 0;
        text_buffer_append(&w->twins, text, bytes);
        unicode_put_twins(w->twins.text, bytes);
        seen = w->twins.text;
    }
    run r = {.w = w, .model = model, .out = out, .why = why};
    return run_stage(&r, 0, (part){.text = text, .seen = seen, .bytes = bytes, .first = first});
}
