/* The float32 master weights of checkpoints, or their mean, a unit at a time. They are in the state files
 * where the model files are rounded (checkpoint.weights), else they are the model files. */
#ifndef REMLA_TRAIN_EXPORT_MASTERS_H
#define REMLA_TRAIN_EXPORT_MASTERS_H
#include "model/hf/model_files.h"
#include "train/export/choice.h"
#include "train/state_reader.h"

/* The masters of one checkpoint. */
typedef struct masters_source {
    const chosen_checkpoint *from; /* borrowed */
    state_reader states;
    model_reader model;
    uint64_t found; /* the fingerprint of what has been read so far */
} masters_source;

typedef struct masters_reader {
    const param_table *table; /* borrowed */
    masters_source *source;   /* (count) */
    int count;
    float *one;  /* a unit of one checkpoint; NULL where there is one alone */
    double *sum; /* the same unit of all of them, likewise */
} masters_reader;

/* Opens the files of all chosen checkpoints, which must outlive the reader. ERR_INPUT names what is not a
 * model of this table. On failure nothing is open. */
status masters_open(masters_reader *m, const export_choice *from, const param_table *t, message *why);
/* Writes unit `unit` into out (numel of the unit): the mean, computed in double and rounded to float once.
 * Call it once for each unit. Infinities and NaN are an ERR_INPUT. */
status masters_unit(masters_reader *m, int unit, float *out, message *why);
/* After all units: compares what was read with the fingerprints that the runs have recorded. ERR_INPUT: it is
 * something else. */
status masters_proved(const masters_reader *m, message *why);
void masters_close(masters_reader *m);

#endif
