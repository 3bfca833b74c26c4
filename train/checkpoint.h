/* Checkpoints: RUN/checkpoints/step-00000012 is a Hugging Face model folder (config.json, tokenizer,
 * model*.safetensors in float32: the master weights) plus optim-00000.safetensors (tensors "m.NAME" and
 * "v.NAME"), state.json, options.yaml (of the run that wrote it) and MANIFEST.json, which lists every file
 * with its size and XXH3-64 and carries the hash of itself. A checkpoint is written in a folder beside, made
 * durable, then renamed: what has its name is whole. docs/FORMATS.md describes the files. */
#ifndef REMLA_TRAIN_CHECKPOINT_H
#define REMLA_TRAIN_CHECKPOINT_H
#include "base/comm.h"
#include "model/config.h"
#include "model/model.h"
#include "optim/optimizer.h"
#include "train/options.h"

/* Where a run stands: everything but weights and moments. */
typedef struct checkpoint_state {
    int64_t step;         /* optimizer steps taken */
    int64_t position;     /* of the data order: windows consumed */
    int64_t tokens;       /* position * T */
    uint64_t fingerprint; /* of the training data */
} checkpoint_state;

/* The folder of a step's checkpoint, whether it is there or not, in `out` (PATH_BYTES). */
void step_folder(char *out, const char *run, int64_t step);

/* Prepares RUN/checkpoints: finishes or removes what a killed run left half done. Call on one rank, holding
 * the run's lock. */
status checkpoint_clean(const char *run, message *why);

/* Writes the checkpoint of state->step; the tokenizer's files come from o->model_path. On failure nothing is
 * left under its name and older ones are untouched. MPI: collective; every rank returns the same status. */
status checkpoint_save(const char *run, const model_config *config, const model *m, optimizer *optim,
                       const checkpoint_state *state, const options *o, const comm *c, message *why);

/* Removes all but the newest `keep` checkpoints and that of step `best` (-1: none), after having read the
 * newest one back and found it whole. Call on one rank. */
status checkpoint_prune(const char *run, int64_t keep, int64_t best, message *why);

/* The newest checkpoint of `run` whose files are all whole; damaged ones are passed over with a warning that
 * says what is wrong. folder[0] is 0 when there is none at all; damaged ones only are an ERR_INPUT, since
 * starting over would lose work silently. Call on one rank. */
status checkpoint_newest(const char *run, char *folder, message *why);

/* Every file of the folder against its manifest. */
status checkpoint_verify(const char *folder, message *why);

/* Weights, moments and state from a verified folder, into a model of the same shape, for a run with the same
 * options where train/options.def says SAME. The sentence names the first difference. Every rank reads for
 * itself. Not collective. */
status checkpoint_load(const char *folder, const model *m, optimizer *optim, checkpoint_state *state,
                       const options *o, message *why);

#endif
