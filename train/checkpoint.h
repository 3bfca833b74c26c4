/* Checkpoints: RUN/checkpoints/step-00000012 is a Hugging Face model folder (config.json, tokenizer,
 * model*.safetensors in float32: the master weights) plus optim-00000.safetensors (tensors "m.NAME" and
 * "v.NAME"), state.json, options.yaml (of the run that wrote it) and MANIFEST.json, which lists every file
 * with its size and XXH3-64 and carries the hash of itself. A checkpoint is written in a hidden folder
 * beside, synced, read back, then renamed: a folder that has the name is complete. docs/FORMATS.md describes
 * the files. */
#ifndef REMLA_TRAIN_CHECKPOINT_H
#define REMLA_TRAIN_CHECKPOINT_H
#include "base/comm.h"
#include "model/hf/config.h"
#include "model/model.h"
#include "optim/optimizer.h"
#include "train/options/options.h"

/* The state of a run without weights and moments. */
typedef struct checkpoint_state {
    int64_t step;         /* optimizer steps taken */
    int64_t position;     /* in the data order: samples consumed */
    int64_t tokens;       /* position * T */
    uint64_t fingerprint; /* of the training data */
    /* Filled in for a checkpoint only. */
    int64_t ranks, micro_batch; /* of the run that wrote it; 0: not recorded */
    int stage;                  /* parallel.zero of that run */
    bool pairwise;              /* its sums were exact */
    int64_t threads;            /* of a rank of that run; a record only */
    uint64_t weights, moments;  /* XXH3-64 of their values, in the order of train/unit_file.h */
    bool hashed;                /* the two hashes are recorded */
} checkpoint_state;

/* Writes the path of a step's checkpoint, RUN/checkpoints/step-00000012, into `out` (PATH_BYTES). It need not
 * exist. */
void checkpoint_folder(char *out, const char *run, int64_t step);
/* The file in it with the options of the run that wrote it. */
#define CHECKPOINT_OPTIONS "options.yaml"

/* Prepares RUN/checkpoints: completes or removes what a killed run left in hidden folders. Call on one rank,
 * holding the run's lock. */
status checkpoint_clean(const char *run, message *why);

/* Writes the checkpoint of state->step, with the tokenizer's files from o->model_path. Reads it back and
 * compares it with the hashes of what was in memory before it gets its name. Replaces a checkpoint of the
 * same step, but nothing else that has its name. On failure the name is as free as before, and older
 * checkpoints are untouched. MPI: collective; every rank returns the same status. */
status checkpoint_save(const char *run, const model_config *config, optimizer *optim,
                       const checkpoint_state *state, const options *o, const comm *c, message *why);

/* Bytes of the weights and moments in a checkpoint of a model with these parameters. Its other files are
 * small. */
int64_t checkpoint_bytes(const param_table *table);

/* Removes the checkpoints that are older than the newest `keep` complete ones, except that of step `best`
 * (-1: none). Damaged ones do not count. A warning names each once, and they stay, unless they are older and
 * only their weights or moments are damaged. One that holds files which its manifest does not list stays as
 * well, with a warning. Reads a folder once in this process, not at all when this process wrote it, and again
 * when its files change. Call on one rank. */
status checkpoint_prune(const char *run, int64_t keep, int64_t best, message *why);

/* Finds the newest complete checkpoint of `run`. Passes over damaged ones with a warning that says what is
 * wrong. folder[0] is 0 when there is none at all. ERR_INPUT when there are damaged ones only, since starting
 * over would lose work silently. Call on one rank. */
status checkpoint_newest(const char *run, char *folder, message *why);

/* Lists the steps of the folders that have the name of a checkpoint of `run`, damaged ones too, the newest
 * first. The caller frees *step. */
status checkpoint_steps(const char *run, int64_t **step, int64_t *count, message *why);

/* Checks every file of the folder against its manifest, and its state against the options beside it and,
 * where the folder has the name of a checkpoint, against that name. */
status checkpoint_verify(const char *folder, message *why);

/* Loads weights, moments and state from a verified folder, into a model of the same shape, for a run with the
 * same options where train/options/options.def says SAME. `why` names the first difference. Every rank reads
 * for itself. Not collective. */
status checkpoint_load(const char *folder, const model *m, optimizer *optim, checkpoint_state *state,
                       const options *o, message *why);

#endif
