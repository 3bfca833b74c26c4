/* RUN: the folder that a training run leaves behind: config.yaml (resolved), env.json, train.log,
 * metrics.jsonl, checkpoints/. One live job at a time may write it. */
#ifndef REMLA_TRAIN_RUN_FOLDER_H
#define REMLA_TRAIN_RUN_FOLDER_H
#include "base/comm.h"
#include "base/device.h"
#include "base/file.h"
#include "train/options/options.h"

typedef struct run_folder {
    char path[PATH_BYTES];
    int lock;     /* descriptor of RUN/lock, on rank 0; -1 elsewhere */
    int folder;   /* of RUN itself, likewise */
    bool lost;    /* it has been removed, and could not be made anew yet */
    bool made;    /* what is there now was made by this process trying so */
    bool renamed; /* since the run began */
} run_folder;

/* Chooses the folder (train.out, or runs/NAME after NAME.yaml), makes and locks it, tidies checkpoints/,
 * opens train.log. Waits some seconds for another live job that holds it, then ERR_INPUT. MPI: collective;
 * every rank returns the same status and path. */
status run_folder_open(run_folder *r, const options *o, const char *config_path, const comm *c, message *why);
/* Writes config.yaml and env.json; `d`: what rank 0 computes on, NULL for the CPU. Rank 0 only; call when the
 * options are known to be good. */
status run_folder_describe(const run_folder *r, const options *o, const device *d, const comm *c,
                           message *why);
void run_folder_close(run_folder *r);

/* After every step, and before a checkpoint is written: whether the folder is still ours. One that has been
 * renamed is followed (r->path changes); one that has been removed is made anew, a lost RUN/lock is taken
 * again, both with the log and what describes the run, and *anew is true. Each is said in a warning.
 * ERR_INPUT: another job has taken the lock, or made the folder anew, and writes there. UNSAVED: it cannot be
 * made anew. MPI: collective; every rank returns the same. */
status run_folder_check(run_folder *r, const options *o, const device *d, const comm *c, bool *anew,
                        message *why);

/* "the same command", with the train.out that it needs where the folder was renamed. Returns `buffer`. */
enum { COMMAND_BYTES = 512 };
const char *run_folder_command(const run_folder *r, char *buffer);

/* Where to resume from, by train.resume: a folder, or "" for a fresh start. MPI: collective. */
status run_folder_resume(const run_folder *r, const options *o, const comm *c, char *checkpoint,
                         message *why);

#endif
