/* Checkpoints: RUN/checkpoints/step-00000012 is a Hugging Face model folder (config.json, tokenizer,
 * model*.safetensors in float32: the master weights) plus optim-00000.safetensors (tensors "m.NAME" and
 * "v.NAME"), state.json, options.yaml (of the run that wrote it) and MANIFEST.json, which lists every file
 * with its size and XXH3-64 and carries the hash of itself. A checkpoint is written in a hidden folder
 * beside, made durable, read back, then renamed: what has its name is whole. docs/FORMATS.md describes the
 * files. */
#ifndef REMLA_TRAIN_CHECKPOINT_H
#define REMLA_TRAIN_CHECKPOINT_H
#include "base/comm.h"
#include "model/hf/config.h"
#include "model/model.h"
#include "optim/optimizer.h"
#include "train/options/options.h"

/* Where a run stands: everything but weights and moments. */
typedef struct checkpoint_state {
    int64_t step;         /* optimizer steps taken */
    int64_t position;     /* of the data order: windows consumed */
    int64_t tokens;       /* position * T */
    uint64_t fingerprint; /* of the training data */
    /* The rest is known of a checkpoint only. */
    int64_t ranks, threads, micro_batch; /* of the run that wrote it, threads of a rank; 0: not recorded */
    uint64_t weights, moments;           /* XXH3-64 of their values, as train/unit_file.h counts them */
    bool hashed;                         /* these are recorded */
} checkpoint_state;

/* The folder of a step's checkpoint, RUN/checkpoints/step-00000012, whether it is there or not, in `out`
 * (PATH_BYTES). */
void checkpoint_folder(char *out, const char *run, int64_t step);
/* In it: the options of the run that wrote it. */
#define CHECKPOINT_OPTIONS "options.yaml"

/* Prepares RUN/checkpoints: finishes or removes what a killed run left half done under names of its own. Call
 * on one rank, holding the run's lock. */
status checkpoint_clean(const char *run, message *why);

/* Writes the checkpoint of state->step; the tokenizer's files come from o->model_path. Before it gets its
 * name it is read back and compared with the hashes of what was in memory. It replaces a checkpoint of the
 * same step, but nothing else that has its name. On failure nothing is left under its name and older ones are
 * untouched. MPI: collective; every rank returns the same status. */
status checkpoint_save(const char *run, const model_config *config, optimizer *optim,
                       const checkpoint_state *state, const options *o, const comm *c, message *why);

/* Removes the checkpoints that are older than the newest `keep` whole ones, but for that of the step `best`
 * (-1: there is none). Others than whole ones do not count, are told of in a warning once, and stay, unless
 * they are older and only their weights or moments are damaged. One that has other things in it than its
 * manifest lists stays as well, with a warning. A folder is read once in this process, not at all when it was
 * written by it, and again when its files change. Call on one rank. */
status checkpoint_prune(const char *run, int64_t keep, int64_t best, message *why);

/* The newest checkpoint of `run` that is whole; others are passed over with a warning that says what is
 * wrong. folder[0] is 0 when there is none at all; damaged ones only are an ERR_INPUT, since starting over
 * would lose work silently. Call on one rank. */
status checkpoint_newest(const char *run, char *folder, message *why);

/* Every file of the folder against its manifest; its state against the options beside it and the folder's
 * name, where that is a checkpoint's. */
status checkpoint_verify(const char *folder, message *why);

/* Weights, moments and state from a verified folder, into a model of the same shape, for a run with the same
 * options where train/options/options.def says SAME. The sentence names the first difference. Every rank
 * reads for itself. Not collective. */
status checkpoint_load(const char *folder, const model *m, optimizer *optim, checkpoint_state *state,
                       const options *o, message *why);

#endif
