/* Turns contexts and continuations into tokens to score.
 *
 *   1. White space at the end of the context moves to the front of the continuation.
 *   2. C are the tokens of the context, W those of context and continuation as one text, both with what the
 *      tokenizer itself puts in front (tokenizer_first). W from position len(C) on is scored, behind C.
 *      transmla: where that leaves nothing (len(W) = len(C)), W's last token, behind the others of W.
 *   3. An empty context is one token: the end-of-text token (transmla), or the one that begins a text
 *      and, where there is none, the end-of-text token (lm-eval).
 *   4. Of more than M + 1 tokens the last M + 1 are kept. M is the most positions of the model; in transmla
 *      at most 2048. Of a continuation of more than M tokens the last M are scored. */
#ifndef REMLA_EVAL_TASKS_ENCODE_H
#define REMLA_EVAL_TASKS_ENCODE_H
#include "data/tokenizer/tokenizer.h"
#include "eval/score.h"
#include "eval/tasks/question.h"

typedef struct encoding {
    const tokenizer *t;
    task_style style;
    int64_t M; /* most tokens that the model reads (encode_positions) */
    int64_t V; /* ids that the model has */
} encoding;

/* The most positions of a model: max_position_embeddings, at most its sliding window; 0: none. */
int64_t encode_window(int64_t positions, int64_t window);
/* M for a model that takes `positions` (0: it does not say). */
int64_t encode_positions(task_style style, int64_t positions);

/* Fills request[] (a request for each choice, in the order of the questions); the caller frees with
 * encode_free. *shortened: how many choices have more than M tokens. ERR_INPUT names the first question, in
 * this order, that cannot be encoded. Uses all threads. */
status encode_questions(const encoding *e, const question_list *list, const char *const *task_names,
                        score_request **request, int64_t *requests, int64_t *shortened, message *why);
void encode_free(score_request *request, int64_t requests);

#endif
