/* When a run writes checkpoints and removes old ones. A save or a removal that fails is no reason to stop a
 * run that computes well: it is said, and tried again.
 *
 *   written  every checkpoint.every steps, and at the end of the process. Not while the loss is far above its
 *            past (train/loss_watch.h), but at the end: then it is made up for when the loss is back. A save
 *            that failed is tried again after a minute, or ten times what it took, and when the next is due.
 *   removed  after the next step's loss has shown that the newest is good, and at the end of the run: never
 *            while the loss is far above its past. checkpoint.keep of the newest stay and, with
 *            checkpoint.keep_best, the one with the lowest validation loss.
 *
 * All functions are collective; every rank returns the same. */
#ifndef REMLA_TRAIN_SAVING_H
#define REMLA_TRAIN_SAVING_H
#include "train/loss_watch.h"
#include "train/metrics.h"
#include "train/run_folder.h"
#include "train/training.h"

typedef struct saving {
    training *t;
    run_folder *run;
    metrics *log;
    loss_watch watch;
    int64_t newest; /* step of the newest checkpoint of this run, -1: none */
    bool owed;      /* one was due and is not written yet */
    double again;   /* by rank 0's clock: when one that failed is tried again; 0: none has failed */
    bool skipped;   /* the last step */
    bool said;      /* that checkpoints are held back */
    bool crowded;   /* there may be more checkpoints than are to be kept */
} saving;

/* `watch` knows the losses until now, on rank 0. `newest`: see above. All three are borrowed. */
void saving_start(saving *s, training *t, run_folder *run, metrics *log, const loss_watch *watch,
                  int64_t newest);

/* After every step: its loss. Removes what is not to be kept. ERR_INPUT: another job has taken the folder. */
status saving_step(saving *s, const step_result *r, message *why);
/* After every step but the process's last: writes what is due. Not OK: the run cannot go on (ERR_DEVICE: the
 * ranks' weights differ; ERR_INPUT: another job has taken the folder). */
status saving_due(saving *s, message *why);
/* At the end of the process: writes the checkpoint of where the run stands, unless it is there. UNSAVED: it
 * could not, several times over some seconds. */
status saving_last(saving *s, message *why);
/* At the end of the run: removes what is not to be kept. */
void saving_end(saving *s);

/* "runs/a/checkpoints/step-00000012 is the newest checkpoint", or that there is none. Returns `buffer`. */
enum { NEWEST_BYTES = PATH_BYTES + 64 };
const char *saving_newest(const saving *s, char *buffer);

#endif
