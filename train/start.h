/* A process that starts on a run: what is different from the one that wrote the checkpoint which it goes on
 * from. It is said in the log, since nothing else shows it, and recorded as the event "start" of
 * metrics.jsonl. */
#ifndef REMLA_TRAIN_START_H
#define REMLA_TRAIN_START_H
#include "train/metrics.h"
#include "train/training.h"

/* All zeros: of a run that begins. */
typedef struct start {
    char checkpoint[PATH_BYTES]; /* that it goes on from; "" */
    json_t *changes;             /* on rank 0: [{"name", "then", "now"}]; owned, until start_record */
} start;

/* Call when `checkpoint` has been loaded. Warns of what can change numbers, and logs options that differ.
 * Does nothing on ranks other than 0. */
void start_from(start *s, const training *t, const char *checkpoint);
/* Warns when a rank computes with something else than rank 0. On rank 0 appends the event, and frees what it
 * holds. MPI: collective. */
void start_record(start *s, const training *t, metrics *log);

#endif
