/* Generates text for many requests at once over one decoder (continuous batching, as in Yu et al. 2022,
 * Orca). A request is a prompt and what to do with it; it waits in a queue until there is room for it, joins
 * the others between two passes, and leaves when it is done:
 *
 *     engine *e = engine_new(&decoder, tokenizer, &settings);
 *     engine_submit(e, &request, &id, why);
 *     while (engine_busy(e)) engine_step(e);          each pass calls request.listen
 *     engine_free(e);
 *
 * A pass takes the next token of every sequence that is generating, and as many tokens of prompts as fit. A
 * request starts when pages for its prompt and all of its max_tokens are free, in all its choices; so one
 * that has started is never stuck. Requests start in the order in which they came, but one whose prompt
 * begins as another's that is being computed waits for that one's positions and lets others pass.
 *
 * Prompts that have been computed are kept while there is room, and a prompt that begins like one of them is
 * computed from where they part. On the CPU, texts and log-probabilities are to the bit those that a request
 * would get alone, whatever is beside it, came before it, or is kept: the decoder promises that of its rows,
 * and everything else here belongs to one sequence. (That holds for a choice of a request, too: its draws
 * depend on seed and number of the choice.)
 *
 * An engine belongs to one thread, that of its decoder: nothing here may be called from another. A listener
 * may call engine_submit and engine_cancel, and nothing else. Not collective. */
#ifndef REMLA_GENERATE_ENGINE_H
#define REMLA_GENERATE_ENGINE_H
#include "base/status.h"
#include "data/tokenizer/tokenizer.h"
#include "generate/sampler.h"
#include "model/decode/decoder.h"

enum { ENGINE_MAX_TOP = 20, ENGINE_MAX_CHOICES = 128 };

/* ---- what a request is told ---- */

typedef enum finish_reason {
    FINISH_STOP,      /* an end token, or a stop string */
    FINISH_LENGTH,    /* max_tokens */
    FINISH_CANCELLED, /* engine_cancel */
    FINISH_ERROR      /* the model's numbers are not finite */
} finish_reason;
const char *finish_reason_text(finish_reason r); /* "stop", "length", "cancelled", "error" */

typedef struct token_chance {
    int32_t token;
    double logprob; /* nats; finite, or -infinity */
} token_chance;

typedef enum engine_event_kind { EVENT_PROMPT_TOKEN, EVENT_TOKEN, EVENT_FINISHED } engine_event_kind;

/* First, for a request with `echo`, an EVENT_PROMPT_TOKEN for each token of the prompt, once for all choices
 * (choice is 0). Then for each choice its tokens and one EVENT_FINISHED. The request is over with its last
 * choice's; nothing comes after that. Texts are UTF-8 without broken characters, not zero-terminated, and may
 * be empty. Everything an event points to is good until the listener returns. */
typedef struct engine_event {
    engine_event_kind kind;
    uint64_t request; /* what engine_submit gave */
    int choice;
    int64_t index; /* of the token, in the prompt or in what was generated. FINISHED: tokens generated */
    int32_t token; /* -1: FINISHED */
    /* What this token adds to the text, whole characters: a character of several tokens comes with its last.
     * The pieces of all tokens are the text, with stop strings and all. A character that stays unfinished is
     * U+FFFD: it comes with the last token, or FINISHED where the text is cut off before that one. */
    const char *piece;
    int64_t piece_bytes;
    /* What may be shown now: the same text without a stop string, and with what could be the beginning of one
     * held back. PROMPT_TOKEN: empty. */
    const char *text;
    int64_t text_bytes;
    /* Whether the following are filled: the request wants them (`top`), and the token has one before it. They
     * are the model's, before temperature and filters. */
    bool scored;
    double logprob;          /* of the token, in nats */
    const token_chance *top; /* (tops) the likeliest, from the top; of equals the lower id first. Equal to
                                logprob to the bit where it is the token itself */
    int tops;
    /* FINISHED */
    finish_reason reason;
    int stop;             /* which of request.stop was found; -1: none */
    int64_t reused;       /* positions of the prompt that were there already */
    double waited, first; /* seconds from engine_submit to its start, and to the first token of this choice */
    double seconds;       /* from engine_submit to now */
} engine_event;

/* ---- a request ---- */

typedef struct engine_request {
    const int32_t *prompt; /* ids in [0,V); one at least */
    int64_t prompt_tokens;
    int64_t max_tokens; /* to generate at most; 0: only look at the prompt (echo) */
    int choices;        /* texts to generate, of one prompt */
    sampler_settings sampling;
    const int32_t *end; /* (ends) tokens that end the text: one is its last token, and has no text */
    int ends;
    const char *const *stop; /* (stops) texts that end it, not empty. What comes before one is shown */
    int stops;
    bool special_text; /* tokens like <|im_end|> are spelled out in the text, rather than left out */
    int top;           /* -1: no log-probabilities; n: those of the tokens and of the n likeliest */
    bool echo;         /* events for the prompt, too, with their log-probabilities if top >= 0 */
    void (*listen)(void *context, const engine_event *event);
    void *context; /* borrowed until the request is over. All else is copied */
} engine_request;

/* Everything off: one choice, greedy, no end, no log-probabilities. */
engine_request engine_request_default(void);

/* ---- the engine ---- */

typedef struct engine_settings {
    int64_t running; /* sequences that generate at once, at most; those of the decoder beyond are for prompts
                        that are kept */
    int64_t queue;   /* requests that wait, at most */
    /* MLA: prompts of so many tokens and more are computed with keys and values expanded (faster for long
     * ones); 0: none. By the length of a request's own prompt, so that its bits depend on nothing else. */
    int64_t materialise_from;
} engine_settings;

typedef struct engine engine;

/* Borrows both. t: makes the texts; NULL: all texts are empty, and no request may have stop strings. The
 * decoder has no sequence open, and nobody else uses it. */
engine *engine_new(decoder *d, const tokenizer *t, const engine_settings *s);
/* Without events for what is running or waiting. Closes its sequences of the decoder. NULL is fine. */
void engine_free(engine *e);

/* Puts a request into the queue. Fails with a sentence, and nothing else happens:
 *   ERR_USAGE   it is malformed or can never fit: prompt and max_tokens exceed the longest sequence, or its
 *               choices exceed what may run at once or what the pool has pages for
 *   ERR_DEVICE  the queue is full: try again later */
status engine_submit(engine *e, const engine_request *request, uint64_t *id, message *why);
/* Ends a request: its choices that are not done finish with FINISH_CANCELLED, before this returns (from a
 * listener: before engine_step does). Returns false when there is no such request, or it is over. */
bool engine_cancel(engine *e, uint64_t id);

/* Returns whether a request is in the queue, and has not started. */
bool engine_waits(const engine *e, uint64_t id);
/* Returns whether a request is running or waiting, so that engine_step has something to do. */
bool engine_busy(const engine *e);
/* Lets requests start, and makes one pass. */
void engine_step(engine *e);

/* Counts since engine_new. */
typedef struct engine_statistics {
    int64_t requests, finished, cancelled; /* that were taken; that are over; of these cancelled */
    int64_t prompt_tokens,
        reused_tokens; /* of prompts that have been computed; of these were there already */
    int64_t generated_tokens;
    int64_t passes, rows;      /* rows: tokens of all passes */
    int64_t waiting, running;  /* now: requests; sequences */
    int64_t pages, used, kept; /* of the pool, now: all; held; of these by prompts that are kept alone */
} engine_statistics;
engine_statistics engine_statistics_now(const engine *e);

#endif
