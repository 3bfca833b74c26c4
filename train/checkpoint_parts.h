/* The parts of a checkpoint, for what writes, reads and explains them: train/checkpoint*.c, train/export/ and
 * `remla inspect`. A training uses train/checkpoint.h alone. */
#ifndef REMLA_TRAIN_CHECKPOINT_PARTS_H
#define REMLA_TRAIN_CHECKPOINT_PARTS_H
#include "base/written.h"
#include "train/checkpoint.h"

typedef struct json_t json_t;

#define CHECKPOINT_STATE "state.json"

/* ---- checkpoint_folders.c: names ---- */

/* The hidden folder in which a checkpoint is written before it has its name, and removed after it lost it. No
 * other program uses such a name. */
void checkpoint_temporary(char *out, const char *run, int64_t step);
/* Reads the step from a folder's name; false for a name that checkpoint_folder does not give. */
bool checkpoint_step(const char *name, int64_t *step);

/* True when a folder is, or once was, a checkpoint. Anything else is a user's. */
bool checkpoint_recognised(const char *folder);

/* Checks that the checkpoint of `step` can get its name: the name is free, or is that of an empty folder, or
 * of another checkpoint, damaged or not, which it replaces. ERR_INPUT says what else is in the way. */
status checkpoint_vacant(const char *run, int64_t step, bool *replaces, message *why);
/* Renames the complete checkpoint from its temporary name to its own. */
status checkpoint_publish(const char *run, int64_t step, message *why);

/* ---- checkpoint_complete.c: which are complete, as this process knows. One thread at a time ---- */

/* Verifies a folder that it has not seen as it is now, and warns if it is damaged. Not collective. */
bool checkpoint_is_complete(const char *folder);
/* Takes the folder for complete as it is now: this process has written it. */
void checkpoint_trust(const char *folder);
void checkpoint_forget(const char *folder);
/* True the first time for a folder as it is now: what is to be said of it has not been said. */
bool checkpoint_tell(const char *folder);

/* ---- checkpoint_state.c: state.json ---- */

/* Makes the object that the file holds. The caller ends with json_decref. */
json_t *checkpoint_state_json(const checkpoint_state *s);
status checkpoint_state_write(const char *folder, const checkpoint_state *s, written_files *written,
                              message *why);
/* Reads and checks it. ERR_INPUT when its numbers cannot all be true. `then`: the options of the run that
 * wrote it. A folder that has the name of a checkpoint must be of the step in that name. */
status checkpoint_state_read(const char *folder, const options *then, checkpoint_state *state, message *why);
/* Compares the fingerprint of values that were read, "masters" for example, with that in the state of
 * `folder`. ERR_INPUT: they are other values. */
status checkpoint_same_fingerprint(const char *folder, const char *what, uint64_t found, uint64_t saved,
                                   message *why);
/* True when it can be read and is of another step: then the folder is a user's copy. */
bool checkpoint_state_differs(const char *folder, int64_t step);
/* True when it says that it was saved while the loss was far above its past. */
bool checkpoint_state_far(const char *folder);
/* checkpoint_state_read with the options that lie beside it. */
status checkpoint_state_open(const char *folder, checkpoint_state *state, message *why);
/* The same for its verdict alone. */
status checkpoint_state_verify(const char *folder, message *why);

/* ---- checkpoint_load.c ---- */

/* Compares the values in memory with the fingerprints of the state that was read from `folder`, and logs
 * both. MPI: collective; every rank returns the same status. */
status checkpoint_same_values(const char *folder, optimizer *optim, const checkpoint_state *then,
                              message *why);

#endif
