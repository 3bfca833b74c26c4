/* env.json: what decides the last bits of a run's numbers beside its options and data. The program, its
 * compiler and flags, the libraries that it computes with, processor and GPU, ranks, and how gradients are
 * summed. It is in RUN, of the process that wrote there last, and in every checkpoint, of the one that wrote
 * that. docs/FORMATS.md lists the keys, and which of them can change numbers. */
#ifndef REMLA_TRAIN_ENVIRONMENT_H
#define REMLA_TRAIN_ENVIRONMENT_H
#include "base/comm.h"
#include "base/written.h"
#include "kernels/kernels.h"
#include "train/options/options.h"

typedef struct json_t json_t;

#define ENVIRONMENT_FILE "env.json"

/* Describes this process and what it computes on. Asks libraries for their versions, so that what they say is
 * what is loaded; those of a GPU are opened for it. The caller ends with json_decref. */
json_t *environment_now(const options *o, const ops *k, const comm *c);

/* Writes that as FOLDER/env.json, and adds the file to `written` (NULL: to none). Call on rank 0. */
status environment_write(const char *folder, json_t *environment, written_files *written, message *why);

/* Tells what is known of the run that wrote this checkpoint: its env.json, and the order of its sums from the
 * options beside it and `ranks` (0: not known), which old checkpoints have as well. The caller ends with
 * json_decref. */
json_t *environment_of(const char *checkpoint, int64_t ranks);

/* Compares two of them. Returns what can make numbers differ, [{"name", "then", "now"}], for the caller to
 * release; what only one of the two has is not compared. *sums: they differ in nothing but the order in which
 * the same numbers are added. */
json_t *environment_compare(const json_t *then, const json_t *now, bool *sums);
/* "ranks 1 -> 2, CUDA 12.8 -> 13.0": what it returned, for a sentence. The caller frees. */
char *environment_changes_text(const json_t *changes);

/* Compares every rank's with rank 0's. ERR_INPUT: one of them computes with something else, which `why`
 * names, and its bits may be others. MPI: collective; every rank returns the same. */
status environment_same(const json_t *mine, const comm *c, message *why);

#endif
