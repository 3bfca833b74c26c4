/* The float32 master weights of checkpoints, or their mean, a unit at a time. */
#ifndef REMLA_TRAIN_EXPORT_MASTERS_H
#define REMLA_TRAIN_EXPORT_MASTERS_H
#include "train/export/choice.h"
#include "model/hf/model_files.h"

typedef struct masters_reader {
    model_reader *checkpoint; /* (count) */
    int count;
    float *one;  /* a unit of one checkpoint */
    double *sum; /* the same unit of all of them; NULL for one checkpoint */
} masters_reader;

/* Opens the model files of all chosen checkpoints. ERR_INPUT names what is not a model of this table. On
 * failure nothing is open. */
status masters_open(masters_reader *m, const export_choice *from, const param_table *t, message *why);
/* Writes unit `unit` into out (numel of the unit): the mean, computed in double and rounded to float once.
 * Infinities and NaN are an ERR_INPUT. */
status masters_unit(masters_reader *m, int unit, float *out, message *why);
void masters_close(masters_reader *m);

#endif
