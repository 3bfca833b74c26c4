/* One run of `remla convert`, from its options to the folder that it leaves. */
#ifndef REMLA_TRAIN_CONVERSION_JOB_H
#define REMLA_TRAIN_CONVERSION_JOB_H
#include "base/comm.h"
#include "base/temporary_folder.h"
#include "data/dataset.h"
#include "model/hf/config.h"
#include "model/convert/layerwise.h"
#include "train/options/options.h"

typedef struct convert_job {
    const options *o;
    const comm *c;
    convert_method method;
    config_layout layout;
    const char *source;
    char target[PATH_BYTES];
    temporary_folder temporary; /* beside it; rank 0 */
    convert_settings settings;
    model_config config;     /* of the source */
    dtype storage;           /* of the result */
    dataset calib, held_out; /* held_out.samples is 0 without data.val */
} convert_job;

/* Converts, into j->temporary and then j->target, and prints what became of it; with `plan_only` says what it
 * would take. The settings have been checked. MPI: collective; every rank returns the same. */
status convert_run(convert_job *j, bool plan_only, message *why);

#endif
