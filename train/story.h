/* The story of a run as its folder tells it: metrics.jsonl and eval.jsonl, the options, warnings of the log,
 * and its checkpoints, each verified. Changes nothing; the run may be live. */
#ifndef REMLA_TRAIN_STORY_H
#define REMLA_TRAIN_STORY_H
#include "base/file.h"
#include "train/options/options.h"

typedef struct json_t json_t;

typedef struct story_checkpoint {
    int64_t step, bytes;
    char folder[PATH_BYTES];
    message damage;   /* "": it is whole */
    double validated; /* its loss on held-out text; NaN: it has none */
} story_checkpoint;

typedef struct story {
    /* ---- metrics.jsonl ---- */
    int64_t step, tokens;          /* of the last training step */
    double first_loss, last_loss;  /* NaN: not finite, or there is none */
    int64_t first_step;            /* that has a line; 0: none */
    double seconds, tokens_timed;  /* of all steps that have lines */
    json_t *starts, *rollbacks;    /* arrays of its events */
    json_t *skipped;               /* array of steps whose update was not made */
    json_t *validations, *answers; /* arrays of lines; answers: of eval.jsonl */
    int64_t broken;                /* the first line that cannot be read; 0: none */
    /* ---- other files ---- */
    int64_t steps;      /* of the whole run; 0: not known */
    bool has_options;   /* config.yaml could be read */
    message no_options; /* why not; "": it is not there */
    options o;          /* of the process that wrote there last */
    bool live;          /* a job holds RUN/lock */
    json_t *warnings;   /* array of the last ones of train.log */
    int64_t warned;     /* how many there are */
    message ended; /* why the last process ended before its last step, where it could say so; "": unknown */
    int64_t checkpoints;
    story_checkpoint *checkpoint; /* the newest first */
    int64_t newest, best; /* which of them, among those that are whole; -1: none. best: validated lowest */
} story;

enum { STORY_WARNINGS = 3 };

/* Reads it. ERR_INPUT: a file that is there cannot be read at all. The caller ends with story_free, whatever
 * the status. */
status story_read(story *s, const char *run, message *why);
void story_free(story *s);

#endif
