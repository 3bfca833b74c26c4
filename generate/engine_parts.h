/* What the files of the engine share. Private to generate/engine*.c:
 *   engine.c         the queue, and what is asked of the engine
 *   engine_start.c   which requests start, and the positions that they find already computed
 *   engine_pass.c    a pass: what goes into it, and what is chosen from it
 *   engine_tell.c    events, and the end of a choice */
#ifndef REMLA_GENERATE_ENGINE_PARTS_H
#define REMLA_GENERATE_ENGINE_PARTS_H
#include "generate/engine.h"
#include "generate/stop_strings.h"
#include "generate/token_text.h"

typedef struct job job;

/* A text of a request. Its sequence exists from when the prompt has been computed. */
typedef struct choice {
    job *of;
    int number;
    int sequence; /* of the decoder; -1: none */
    sampler *sampler;
    token_text *text;
    stop_strings stops;
    int32_t last; /* the token that was chosen and is not computed yet */
    int64_t generated;
    double first; /* seconds, as engine_event has them */
    bool finished;
} choice;

/* A request. */
struct job {
    uint64_t id;
    engine_request r; /* with copies of what it points to */
    bool materialised;
    bool cancelled;
    choice *choice;     /* (r.choices) */
    int finished;       /* choices */
    int64_t computed;   /* tokens of the prompt whose positions there are */
    int64_t reused;     /* of these, from others */
    int64_t told;       /* tokens of the prompt that have had their event */
    token_text *prompt; /* text of the prompt, for echo */
    double submitted, started;
    job *next; /* waiting, or running, in the order in which they came */
};

/* What a sequence of the decoder holds. */
typedef struct held {
    bool open;
    job *by; /* whose it is; NULL: it is kept for prompts that begin like it */
    bool materialised;
    int32_t *tokens; /* (count) whose positions there are */
    int64_t count, capacity;
    token_score
        *score; /* (scored) of tokens 1, 2 ..., each behind those before it; that of token 0 is empty */
    int64_t scored, score_capacity;
    uint64_t used; /* when, for the choice of the one to close */
} held;

struct engine {
    decoder *d;
    const tokenizer *t;
    engine_settings set;
    int64_t V, pages;
    held *held; /* (d->settings.sequences) */
    job *waiting, *running;
    int64_t waiting_count;
    int running_count; /* choices, with those whose prompt is not computed */
    uint64_t next_id, clock;
    bool stepping;
    engine_statistics sum;
    sampler_room *room;
    float *logits;           /* (LOGITS_ROWS,V) */
    float *draft;            /* (V) */
    text_buffer piece, text; /* of the event that is being told */
    struct pass *pass;
};
enum { LOGITS_ROWS = 16 };

/* Positions that a choice comes to: its last token is never computed. */
static inline int64_t job_positions(const job *j)
{
    return j->r.prompt_tokens + (j->r.max_tokens > 1 ? j->r.max_tokens - 1 : 0);
}
/* Whether the log-probabilities of its prompt are wanted. */
static inline bool job_scores(const job *j) { return j->r.echo && j->r.top >= 0; }
/* Whether the decoder's scores are enough for these, without logits. */
static inline bool job_scores_suffice(const job *j) { return j->r.top <= 1; }

/* logprob and top of a token. */
typedef struct token_chances {
    bool known;
    double logprob;
    token_chance top[ENGINE_MAX_TOP];
    int tops;
} token_chances;

/* ---- engine_start.c ---- */
void engine_start_jobs(engine *e);
/* Notes that tokens of a sequence have been computed. */
void held_add(engine *e, int sequence, const int32_t *tokens, int64_t count);
void held_add_score(held *h, const token_score *score); /* of its next token without one */
/* A sequence for another choice, behind the prompt. */
int held_fork(engine *e, job *j, int from, int64_t length);
/* Keeps what others may begin with, or closes. */
void held_release(engine *e, int sequence, const job *j);
void held_close(engine *e, int sequence);

/* ---- engine_pass.c ---- */
void engine_pass(engine *e);
void engine_pass_init(engine *e);
void engine_pass_free(engine *e);
/* What a score says, as far as the request wants it: of its target, or of the likeliest token, which was
 * `chosen`. */
token_chances chances_of_score(const job *j, const token_score *s, bool chosen);

/* ---- engine_tell.c ---- */
/* Tells the next token of the prompt. */
void tell_prompt_token(engine *e, job *j, const token_chances *chances);
/* Takes a token that was chosen: tells it, and finishes the choice when it is the last. */
void choice_take(engine *e, choice *c, int32_t token, const token_chances *chances);
void choice_finish(engine *e, choice *c, finish_reason reason, int stop);
/* Finishes what is left of a request. */
void job_finish(engine *e, job *j, finish_reason reason);

#endif
