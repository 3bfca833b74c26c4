/* Checkpoints: RUN/checkpoints/step-00000012 is a Hugging Face model folder (config.json, tokenizer,
 * model*.safetensors) plus a state file of each rank that wrote it (train/state_files.h), state.json,
 * options.yaml (of the run that wrote it) and MANIFEST.json, which lists every file with its size and XXH3-64
 * and carries the hash of itself. A checkpoint is written in a hidden folder beside, synced, then renamed: a
 * folder that has the name is complete. docs/FORMATS.md describes the files. */
#ifndef REMLA_TRAIN_CHECKPOINT_H
#define REMLA_TRAIN_CHECKPOINT_H
#include "base/comm.h"
#include "model/hf/config.h"
#include "model/model.h"
#include "optim/optimizer.h"
#include "train/environment.h"

enum { PASSES = 16 /* the most that train.rollbacks allows */, PASSED_OVER_WHY = 128 };

/* A part of the data order that the run has passed over when it went back: after optimizer step `step` the
 * position went from `from` to `to`. */
typedef struct passed_over {
    int64_t step, from, to;
    char why[PASSED_OVER_WHY]; /* a clause, in ASCII */
} passed_over;

/* The state of a run without weights and moments. */
typedef struct checkpoint_state {
    int64_t step;               /* optimizer steps taken */
    int64_t position;           /* in the data order: samples consumed or passed over */
    int64_t tokens;             /* that these weights have been trained on */
    uint64_t fingerprint;       /* of the training data */
    passed_over passed[PASSES]; /* in the order in which they happened, which is that of the steps */
    int passes;
    bool far; /* saved while the loss was far above its past: nothing goes back to it */
    /* Filled in for a checkpoint only. */
    int64_t ranks, micro_batch; /* of the run that wrote it; 0: not recorded */
    int stage;                  /* parallel.zero of that run */
    bool pairwise;              /* its sums were exact */
    int64_t threads;            /* of a rank of that run; a record only */
    /* Fingerprints of all values of the model: of the weights as a pass reads them, of their float32 masters,
     * of the moments. */
    uint64_t weights, masters, moments;
    bool hashed; /* the three are recorded */
} checkpoint_state;

/* Writes the path of a step's checkpoint, RUN/checkpoints/step-00000012, into `out` (PATH_BYTES). It need not
 * exist. */
void checkpoint_folder(char *out, const char *run, int64_t step);
/* The file in it with the options of the run that wrote it. */
#define CHECKPOINT_OPTIONS "options.yaml"

/* Prepares RUN/checkpoints: completes or removes what a killed run left in hidden folders. Call on one rank,
 * holding the run's lock. */
status checkpoint_clean(const char *run, message *why);

/* ---- saving: all functions are collective ---- */

/* Writes the checkpoints of a run, one at a time and behind it: the training stands still while every rank
 * copies its part, and goes on while a thread of each hashes and writes it. One per process. It keeps the
 * memory of the copy (pinned where the ranks compute on a device) from one checkpoint to the next. */
typedef struct checkpoint_writer checkpoint_writer;

/* Borrows everything for its life. `environment`: for env.json. */
checkpoint_writer *checkpoint_writer_open(optimizer *optim, const model_config *config, const options *o,
                                          json_t *environment, const comm *c);
/* Waits for a checkpoint that is being written, whose name nobody is told then. NULL is allowed. Not
 * collective, unless one is being written. */
void checkpoint_writer_close(checkpoint_writer *w);

/* Reserves the memory of the copies ahead of the first checkpoint, for which the training would stand still
 * longer: after a step, when everything else has its memory. Does nothing when called again. Not
 * collective. */
void checkpoint_writer_prepare(checkpoint_writer *w);

/* Begins the checkpoint of state->step, with the tokenizer's files from o->model_path: makes its hidden
 * folder, reserves the bytes of all files of all ranks, and copies weights and moments. When it returns OK
 * the training may go on; checkpoint_poll tells how it ends. Replaces a checkpoint of the same step, but
 * nothing else that has its name. On failure (ERR_INPUT: the disk is full, a file is in the way) nothing is
 * left, and older checkpoints are untouched. Every rank returns the same status. No other checkpoint may be
 * under way. Where memory is short, copies go through a part of it, and this waits for the disk. */
status checkpoint_begin(checkpoint_writer *w, const char *run, const checkpoint_state *state, message *why);

typedef struct checkpoint_progress {
    bool running;     /* one is being written; the rest below is not known yet */
    double silent;    /* seconds for which this rank's thread has waited for an answer of the disk; 0: it does
                         not wait for one */
    int64_t step;     /* of that checkpoint */
    double seconds;   /* from checkpoint_begin until it had its name */
    uint64_t weights; /* the fingerprint of the weights as a pass reads them (optim/fingerprints.h) */
} checkpoint_progress;

/* Tells how far the checkpoint is, and takes it further: call between steps until `running` is false. Waits
 * for its end where `wait` says so; else it returns at once. Not OK: it cannot be written, nothing is left of
 * it, and older ones are untouched; `running` is false then. Every rank returns the same status, and the same
 * values but `silent` and `seconds`. When there is none under way, it is OK and not running. */
status checkpoint_poll(checkpoint_writer *w, bool wait, checkpoint_progress *p, message *why);

/* Bytes of weights and states in a checkpoint that so many ranks write, with model files of type `storage`.
 * Its other files are small. */
int64_t checkpoint_bytes(const param_table *table, int ranks, dtype storage);
/* Bytes of host memory for the copy of the rank that copies most. `act`: the type of the weights that are
 * computed with. */
int64_t checkpoint_copy_bytes(const param_table *table, int ranks, dtype storage, dtype act);

/* Removes the checkpoints that are older than the newest `keep` complete ones, except that of step `best`
 * (-1: none). Damaged ones do not count. A warning names each once, and they stay, unless they are older and
 * only their weights or moments are damaged. One that holds files which its manifest does not list stays as
 * well, with a warning. Reads a folder once in this process, not at all when this process wrote it, and again
 * when its files change. Call on one rank. */
status checkpoint_prune(const char *run, int64_t keep, int64_t best, message *why);

/* Finds the newest complete checkpoint of `run`. Passes over damaged ones with a warning that says what is
 * wrong. folder[0] is 0 when there is none at all. ERR_INPUT when there are damaged ones only, since starting
 * over would lose work silently. The ranks share the reading, and what one of them finds damaged is damaged
 * for all. MPI: collective; every rank returns the same status and folder. */
status checkpoint_newest(const char *run, const comm *c, char *folder, message *why);

/* Finds the newest complete checkpoint of a step up to `most` that was not saved while the loss was far above
 * its past: what a run can go back to. *step is -1 when there is none. Call on one rank. */
status checkpoint_before(const char *run, int64_t most, int64_t *step, message *why);

/* Removes the complete checkpoints of steps after `step`, of a history that the run goes back on, the newest
 * first: after a kill, those that are left lead to the same place again. ERR_INPUT: one stays, since it holds
 * other files or cannot be removed. Call on one rank. */
status checkpoint_remove_after(const char *run, int64_t step, message *why);

/* Lists the steps of the folders that have the name of a checkpoint of `run`, damaged ones too, the newest
 * first. The caller frees *step. */
status checkpoint_steps(const char *run, int64_t **step, int64_t *count, message *why);

/* Checks every file of the folder against its manifest, and its state against the options beside it and,
 * where the folder has the name of a checkpoint, against that name. */
status checkpoint_verify(const char *folder, message *why);
/* The same, its files shared out over the ranks. MPI: collective; every rank returns the same status. */
status checkpoint_verify_shared(const char *folder, const comm *c, message *why);

/* Loads weights, moments and state from a verified folder, into a model of the same shape, for a run with the
 * same options where train/options/options.def says SAME: `why` names the first difference. Each rank reads
 * what it updates; any number of ranks, in any stage, may have written it. Logs the fingerprints of what lies
 * in memory afterwards beside those of the run that wrote it, and refuses other values (ERR_INPUT). After a
 * failure masters and moments may be a mixture. MPI: collective; every rank returns the same status. */
status checkpoint_load(const char *folder, const model *m, optimizer *optim, checkpoint_state *state,
                       const options *o, message *why);

#endif
