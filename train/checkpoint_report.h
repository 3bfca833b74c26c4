/* What a checkpoint holds, for people: all that can be read of it, and whether it is whole. A damaged one is
 * explained as far as it goes. None of it is collective. */
#ifndef REMLA_TRAIN_CHECKPOINT_REPORT_H
#define REMLA_TRAIN_CHECKPOINT_REPORT_H
#include "model/hf/config.h"
#include "train/checkpoint.h"

typedef struct json_t json_t;

/* How a folder is verified. Each does what those before it do. */
typedef enum report_depth {
    REPORT_FILES,  /* sizes and hashes of all files, the state, and that the tensors are the model's */
    REPORT_VALUES, /* also the values: finite, and with the fingerprints of the state; reads all twice */
} report_depth;

/* Sizes of the files in the folder, by what they are. */
typedef struct report_size {
    int64_t files, bytes;
} report_size;

typedef struct checkpoint_report {
    message damage; /* the first thing that is wrong; "" when it is whole */
    bool has_state, has_options, has_config;
    checkpoint_state state;
    options then; /* of the run that wrote it */
    model_config config;
    int64_t parameters;
    json_t *environment; /* env.json, or NULL */
    report_size all, weights, states;
} checkpoint_report;

/* Reads and verifies the folder. The caller ends with checkpoint_report_free. */
void checkpoint_report_read(checkpoint_report *r, const char *folder, report_depth depth);
void checkpoint_report_free(checkpoint_report *r);

#endif
