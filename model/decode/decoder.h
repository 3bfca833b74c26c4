/* Runs a model over sequences of different lengths, which grow. Their keys and values are kept in pages of 64
 * positions out of one pool, so that sequences may share what they have in common. A pass takes any number of
 * new tokens of any of them: prompts, pieces of prompts and single tokens side by side.
 *
 *     decoder_init(&x, &m, &(decoder_settings){.rows = 512, .sequences = 8, .positions = 16384,
 *                                              .longest = 4096, .cache = F32});
 *     const int s = decoder_open(&x);
 *     decoder_forward(&x, &(span){.sequence = s, .tokens = prompt, .count = n}, 1);
 *     decoder_logits(&x, &(int32_t){n - 1}, 1, logits);          of the prompt's last token
 *     decoder_forward(&x, &(span){.sequence = s, .tokens = &next, .count = 1}, 1);
 *     ...
 *     decoder_close(&x, s);
 *     decoder_free(&x);
 *
 * What is kept of a position: keys, rotated, and values (GQA, G*2*D numbers a layer), or the latent behind
 * its norm and the rotary key, rotated (MLA, R+Dr numbers). MLA is computed on the latents themselves
 * ("absorbed"): queries go into their space, results come back from it. DeepSeek-V2, arXiv:2405.04434,
 * section 2.1.2; pages as in Kwon et al. 2023, arXiv:2309.06180.
 *
 * Bits: on the CPU a row's results are a function of its own sequence's tokens, of the type of the cache and
 * of the span's form alone. They depend neither on what else is in the pass, nor on how the tokens were cut
 * into passes, nor on shared pages, nor on the number of threads. (On a GPU products of other sizes may be
 * added up in another order.)
 *
 * The model is borrowed, and may have several decoders; its weights may change between passes, after which
 * sequences that are open hold keys of the old ones. A decoder belongs to one thread at a time. Nothing is
 * allocated after decoder_init. Not collective, unless the model's units are (model/units/units.h). A call
 * that breaks a rule (a sequence that is not open, more rows than fit) is a bug and stops the job. */
#ifndef REMLA_MODEL_DECODE_DECODER_H
#define REMLA_MODEL_DECODE_DECODER_H
#include "model/model.h"

enum { DECODER_PAGE = 64 }; /* positions of a page */
/* Pages that so many positions of a sequence fill, the last one perhaps in part. */
static inline int64_t decoder_pages_of(int64_t positions)
{
    return (positions + DECODER_PAGE - 1) / DECODER_PAGE;
}

typedef struct decoder_settings {
    int64_t rows;      /* most tokens of a pass */
    int64_t sequences; /* most that are open at once */
    int64_t positions; /* of the pool, for all sequences, rounded up to whole pages. Shared ones count once */
    int64_t longest;   /* most positions of one sequence */
    dtype cache;       /* what keys and values are kept as: the table's `real` (F32), BF16 or F8 */
    bool materialise;  /* MLA: reserve room for expanded keys and values of one sequence (`materialised`) */
} decoder_settings;

typedef struct decoder {
    const model *m; /* borrowed */
    decoder_settings settings;
    struct decoder_parts *parts; /* owned; private to model/decode */
} decoder;

/* Lays out and reserves memory on the device of the model's table. Stops the job when it is short. In
 * x->settings the positions are those of the pool. */
void decoder_init(decoder *x, const model *m, const decoder_settings *s);
void decoder_free(decoder *x); /* or one of zeros */
/* Bytes that decoder_init reserves there. */
int64_t decoder_bytes(const dims *d, const ops *k, const decoder_settings *s);

/* ---- sequences: numbers from 0 to settings.sequences - 1 ---- */

/* Opens an empty one. -1: all are open. */
int decoder_open(decoder *x);
/* Opens one that begins with the first `length` positions of `from`, which stays as it is. It takes no page:
 * pages are shared until one of the two appends to a page that is not full, and gets a copy. -1: all are
 * open. */
int decoder_fork(decoder *x, int from, int64_t length);
/* Forgets all positions but the first `length`. */
void decoder_rewind(decoder *x, int sequence, int64_t length);
void decoder_close(decoder *x, int sequence);
/* Positions that it holds. */
int64_t decoder_length(const decoder *x, int sequence);

/* Pages that no sequence holds; and how many of them `count` more tokens of this sequence take, with the copy
 * of a shared one. */
int64_t decoder_pages_free(const decoder *x);
int64_t decoder_pages_for(const decoder *x, int sequence, int64_t count);

/* ---- passes ---- */

/* New tokens of one sequence, behind the positions that it holds. */
typedef struct span {
    int sequence;
    const int32_t *tokens; /* (count) ids, each in [0,V); read during the call alone */
    int64_t count;         /* 1 at least; settings.longest holds them with those before */
    bool materialised; /* MLA: expand keys and values of all positions of the sequence, rather than compute on
                          latents. The same function in another order of additions, with other bits. No
                          difference for GQA */
} span;

/* Returns the length, in tokens, from which a prompt should be `materialised` when passes have `rows` tokens:
 * a full pass, if that saves at least a third of attention's arithmetic; 0 if it does not (narrow latents),
 * and for GQA. */
int64_t decoder_expands_from(const dims *d, int64_t rows);

/* Computes the hidden states of all tokens of `count` spans, of different sequences, settings.rows tokens at
 * most, and appends them to their sequences. They are rows 0, 1, ... in the order of the spans, and stay
 * until the next pass. Returns false, and does nothing, when the pool has too few pages. On a device the work
 * is queued. */
bool decoder_forward(decoder *x, const span *spans, int count);

/* Log-probabilities in nats, as lm-eval scores a continuation. */
typedef struct token_score {
    double logprob;      /* of the target */
    int32_t best;        /* the likeliest token, the lowest id of equals: `best` == target is "greedy" */
    double best_logprob; /* its own; the same bits as logprob where it is the target */
} token_score;

/* Scores targets[i] as the token that follows row rows[i] of the last pass; a row may come several times. A
 * target of -1 has logprob 0, the rest is filled. rows, targets, out (n). Waits for the device. */
void decoder_scores(decoder *x, const int32_t *rows, const int32_t *targets, int64_t n, token_score *out);
/* Logits (n,V) of these rows of the last pass. Waits for the device. */
void decoder_logits(decoder *x, const int32_t *rows, int64_t n, float *logits);

#endif
