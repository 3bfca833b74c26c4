/* When a run writes checkpoints and removes old ones. A save or a removal that fails does not stop a run that
 * computes well: a warning says so, and it is tried again.
 *
 * Writing: every checkpoint.every steps, behind the training (train/checkpoint.h), and at the end of the
 * process, which waits for it. While the loss is far above its past (train/loss_watch.h) only at the end; a
 * save that was due is made up for when the loss is back. A save that failed is tried again after a minute,
 * or ten times what it took, and when the next is due. When the next is due while one is still being written,
 * the training waits for that, unless its disk gives no answer: then it goes on without.
 *
 * Removing: after a later step's loss has shown that the newest is good, and at the end of the run, but never
 * while the loss is far above its past. The newest checkpoint.keep stay and, with checkpoint.keep_best, the
 * one with the lowest validation loss.
 *
 * When a checkpoint is there depends on the speed of the disk; what it holds, and the numbers of the run, do
 * not. All functions are collective; every rank returns the same. */
#ifndef REMLA_TRAIN_SAVING_H
#define REMLA_TRAIN_SAVING_H
#include "train/loss_watch.h"
#include "train/metrics.h"
#include "train/pruner.h"
#include "train/run_folder.h"
#include "train/training.h"
#include "train/watchdog.h"

typedef struct saving {
    training *t;
    run_folder *run;
    metrics *log;
    loss_watch watch;
    int64_t newest;    /* step of the newest checkpoint of this run, -1: none */
    int64_t writing;   /* step of the one that is being written, -1: none */
    double began;      /* when this rank began with it */
    double stall;      /* seconds for which the training then stood still */
    double unanswered; /* seconds for which the disk has not answered this rank */
    bool silent;       /* a rank's disk gives no answer, which a warning has said */
    bool owed;         /* a checkpoint was due and is neither written nor being written */
    double again;      /* by rank 0's clock: when a save that failed is tried again; 0: none has failed */
    bool skipped;      /* the last step's update was skipped */
    bool said;         /* a warning has said that checkpoints are held back */
    bool crowded;      /* there may be more checkpoints than the options keep */
    watchdog *dog;     /* over what this rank's own thread asks of the disk */
    pruner old;        /* rank 0's */
} saving;

/* `watch`: the losses so far, on rank 0; copied. `newest`: see above. Borrows t, run and log until
 * saving_stop. */
void saving_start(saving *s, training *t, run_folder *run, metrics *log, const loss_watch *watch,
                  int64_t newest);
/* Waits for what is being written and removed. */
void saving_stop(saving *s);

/* Call when the run has gone back to a checkpoint, from which t->state is. `watch`: as for saving_start. */
void saving_rewind(saving *s, const loss_watch *watch);

/* Call after every step. Adds its loss, sees whether a checkpoint is written, and removes superfluous ones.
 * ERR_INPUT: another job has taken the folder. */
status saving_step(saving *s, const step_result *r, message *why);
/* Call after every step but the process's last. Begins the checkpoint when one is due. Not OK: the run cannot
 * continue (ERR_DEVICE: the ranks' weights differ; ERR_INPUT: another job has taken the folder). */
status saving_due(saving *s, message *why);
/* Waits until no checkpoint is being written, nor removed: then which there are depends on the run alone, not
 * on the disk's speed. Where a disk gives no answer for parallel.timeout (auto: 600 s at least), ends the job
 * with UNSAVED, for its thread cannot be ended in any other way. */
void saving_wait(saving *s);
/* Call at the end of the process. Writes the checkpoint of the last step, unless it is there, and waits as
 * saving_wait does. UNSAVED: several tries over some seconds have failed. */
status saving_last(saving *s, message *why);
/* Call at the end of the run. Removes superfluous checkpoints. */
void saving_end(saving *s);

/* Prints "runs/a/checkpoints/step-00000012 is the newest checkpoint", or that there is none. Returns
 * `buffer`. */
enum { NEWEST_BYTES = PATH_BYTES + 64 };
const char *saving_newest(const saving *s, char *buffer);

#endif
