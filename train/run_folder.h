/* RUN: the folder that a training run leaves behind: config.yaml (resolved), env.json, train.log,
 * metrics.jsonl, checkpoints/. One live job at a time may write it. */
#ifndef REMLA_TRAIN_RUN_FOLDER_H
#define REMLA_TRAIN_RUN_FOLDER_H
#include "base/comm.h"
#include "base/file.h"
#include "train/environment.h"

typedef struct run_folder {
    char path[PATH_BYTES];
    int lock;     /* descriptor of RUN/lock, on rank 0; -1 elsewhere */
    int folder;   /* descriptor of RUN itself, likewise */
    bool lost;    /* RUN has been removed, and could not be made again yet */
    bool made;    /* this process has made RUN again, though not all of it yet */
    bool renamed; /* since the run began */
} run_folder;

/* Chooses the folder (train.out, or runs/NAME after NAME.yaml), makes and locks it, cleans checkpoints/,
 * opens train.log. Waits some seconds for another live job that holds it, then ERR_INPUT. MPI: collective;
 * every rank returns the same status and path. */
status run_folder_open(run_folder *r, const options *o, const char *config_path, const comm *c, message *why);
/* Writes config.yaml and env.json. Call on rank 0, when the options have been checked. */
status run_folder_describe(const run_folder *r, const options *o, json_t *environment, message *why);
void run_folder_close(run_folder *r);

/* Checks that the folder is still this job's. Call after every step, and before a checkpoint is written.
 * Follows a folder that was renamed (r->path changes). Makes a folder that was removed again, takes a lost
 * RUN/lock again, and in both cases opens the log and describes the run again; *anew is then true. Each is
 * reported in a warning. ERR_INPUT: another job has taken the lock, or made the folder again, and writes
 * there. UNSAVED: it cannot be made again. MPI: collective; every rank returns the same. */
status run_folder_check(run_folder *r, const options *o, json_t *environment, const comm *c, bool *anew,
                        message *why);

/* Prints "the same command", with the train.out that it needs when the folder was renamed. Returns `buffer`.
 */
enum { COMMAND_BYTES = 512 };
const char *run_folder_command(const run_folder *r, char *buffer);

/* Finds the checkpoint folder to resume from, by train.resume, in `checkpoint` (PATH_BYTES); "" for a fresh
 * start. MPI: collective; every rank returns the same status and path. */
status run_folder_resume(const run_folder *r, const options *o, const comm *c, char *checkpoint,
                         message *why);

#endif
