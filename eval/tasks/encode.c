/* Questions are encoded side by side, each thread with a tokenizer_work of its own: the ids do not depend on
 * what a thread has encoded before. */
#include "eval/tasks/encode.h"
#include "base/memory.h"
#include <stdlib.h>
#include <string.h>

enum { TRANSMLA_POSITIONS = 2048 }; /* of its eval.sh */

int64_t encode_window(int64_t positions, int64_t window)
{
    return window && (!positions || window < positions) ? window : positions;
}

int64_t encode_positions(task_style style, int64_t positions)
{
    if (style == STYLE_TRANSMLA && (!positions || positions > TRANSMLA_POSITIONS)) return TRANSMLA_POSITIONS;
    return positions ? positions : INT32_MAX;
}

void encode_free(score_request *request, int64_t requests)
{
    for (int64_t i = 0; i < requests; i++) free(request[i].tokens);
    free(request);
}

/* ---- one choice ---- */

/* What a thread works with. */
typedef struct worker {
    const encoding *e;
    tokenizer_work *work;
    token_list context, whole; /* C and W */
    const char *encoded;       /* the context that C is of, or NULL */
    text_buffer text;
    int64_t shortened; /* choices of more than M tokens */
} worker;

/* The ids of a text, with what the tokenizer puts in front where `front`. */
static status ids(worker *w, const char *text, int64_t bytes, bool front, token_list *out, message *why)
{
    const int64_t prefix = tokenizer_first(w->e->t);
    out->count = 0;
    if (front && prefix >= 0) token_list_add(out, (uint32_t)prefix);
    return tokenizer_encode(w->work, text, bytes, out, why);
}

/* The token that stands for an empty context. */
static status empty_context(worker *w, message *why)
{
    const int64_t bos = tokenizer_bos(w->e->t), eos = tokenizer_eos(w->e->t);
    const int64_t id = w->e->style == STYLE_LM_EVAL && bos >= 0 ? bos : eos;
    if (id < 0)
        return fail(why, ERR_INPUT, "the context is empty, and the tokenizer names no end-of-text token");
    w->context.count = 0;
    token_list_add(&w->context, (uint32_t)id);
    return OK;
}

/* Fills w->context with C, and w->whole with W. */
static status encode_pair(worker *w, const char *context, const char *continuation, message *why)
{
    const int64_t bytes = (int64_t)strlen(context), kept = filters_stripped(context, bytes);
    w->text.bytes = 0;
    text_buffer_append(&w->text, context, bytes);
    text_buffer_append(&w->text, continuation, (int64_t)strlen(continuation));
    if (!kept) {
        TRY(empty_context(w, why));
        token_list behind = {0};
        const status s = ids(w, w->text.text, w->text.bytes, false, &behind, why);
        w->whole.count = 0;
        token_list_add(&w->whole, w->context.id[0]);
        for (int64_t i = 0; i < behind.count; i++) token_list_add(&w->whole, behind.id[i]);
        token_list_free(&behind);
        w->encoded = NULL;
        return s;
    }
    if (w->encoded != context) TRY(ids(w, context, kept, true, &w->context, why));
    w->encoded = context;
    return ids(w, w->text.text, w->text.bytes, true, &w->whole, why);
}

/* The tokens of C, then of W from there on, the last M + 1 of them. */
static status make_request(worker *w, score_request *r, message *why)
{
    const encoding *e = w->e;
    const token_list *begin = &w->context;
    int64_t from = w->context.count;
    if (e->style == STYLE_TRANSMLA && w->whole.count == from) {
        begin = &w->whole;
        from--;
        w->encoded = NULL;
    }
    const int64_t count = w->whole.count > from ? w->whole.count : from, scored = w->whole.count - from;
    if (scored < 1 || from < 1) return fail(why, ERR_INPUT, "there are no tokens to score");
    const int64_t cut = count > e->M + 1 ? count - e->M - 1 : 0;
    /* The first token that is kept has none before it, and so no log-probability. */
    const int64_t seen = scored > e->M ? e->M : scored;
    w->shortened += seen < scored;
    *r = (score_request){memory_new(count - cut, sizeof *r->tokens, "tokens"), count - cut, seen};
    for (int64_t i = cut; i < count; i++) {
        const uint32_t id = (i < from ? begin : &w->whole)->id[i];
        if (id >= (uint64_t)e->V)
            return fail(why, ERR_INPUT, "token %u, but the model has %lld", id, (long long)e->V);
        r->tokens[i - cut] = (int32_t)id;
    }
    return OK;
}

static status encode_choice(worker *w, const question *q, int choice, score_request *r, message *why)
{
    TRY(encode_pair(w, q->context[choice], q->continuation[choice], why));
    return make_request(w, r, why);
}

/* ---- all of them ---- */

/* The failure of the first question that has one. */
typedef struct first_failure {
    int64_t question;
    status s;
    message why;
} first_failure;

static void encode_question(worker *w, const question_list *list, int64_t i, const char *const *task_names,
                            score_request *request, first_failure *failure)
{
    const question *q = &list->item[i];
    message why;
    w->encoded = NULL;
    for (int j = 0; j < q->choices; j++) {
        const status s = encode_choice(w, q, j, &request[j], &why);
        if (s == OK) continue;
#pragma omp critical(remla_encode)
        if (failure->s == OK || i < failure->question) {
            failure->question = i;
            failure->s = fail(&failure->why, s, "%.100s: question %.100s (line %lld), choice %d: %.700s",
                              task_names[q->task], q->id, (long long)q->line, j, why.text);
        }
        return;
    }
}

status encode_questions(const encoding *e, const question_list *list, const char *const *task_names,
                        score_request **request, int64_t *requests, int64_t *shortened, message *why)
{
    int64_t *first = memory_new(list->count + 1, sizeof *first, "questions");
    for (int64_t i = 0; i < list->count; i++) first[i + 1] = first[i] + list->item[i].choices;
    *requests = first[list->count];
    *request = memory_new(*requests, sizeof **request, "choices of questions");
    first_failure failure = {.s = OK};
    int64_t many = 0;
#pragma omp parallel reduction(+ : many)
    {
        worker w = {.e = e, .work = tokenizer_work_new(e->t)};
#pragma omp for schedule(dynamic, 16)
        for (int64_t i = 0; i < list->count; i++)
            encode_question(&w, list, i, task_names, *request + first[i], &failure);
        many += w.shortened;
        tokenizer_work_free(w.work);
        token_list_free(&w.context);
        token_list_free(&w.whole);
        text_buffer_free(&w.text);
    }
    free(first);
    *shortened = many;
    if (failure.s != OK) *why = failure.why;
    return failure.s;
}
