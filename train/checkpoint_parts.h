/* Private to train/checkpoint*.c: the parts of a checkpoint. */
#ifndef REMLA_TRAIN_CHECKPOINT_PARTS_H
#define REMLA_TRAIN_CHECKPOINT_PARTS_H
#include "train/checkpoint.h"

#define CHECKPOINT_STATE   "state.json"
#define CHECKPOINT_MOMENTS "optim-00000.safetensors"

/* ---- checkpoint_folders.c: names ---- */

/* Where it is written before it has that name, or lies on its way out: nobody's but ours, and hidden. */
void checkpoint_temporary(char *out, const char *run, int64_t step);
/* The step of a folder that is called as checkpoint_folder calls it; false for all other names. */
bool checkpoint_step(const char *name, int64_t *step);

/* Whether the checkpoint of `step` can get its name: nothing has it, or an empty folder, or another
 * checkpoint, damaged or not, which it replaces. ERR_INPUT says what else is in the way. */
status checkpoint_vacant(const char *run, int64_t step, bool *replaces, message *why);
/* Gives the checkpoint that lies whole under its temporary name its own. */
status checkpoint_publish(const char *run, int64_t step, message *why);

/* ---- checkpoint_state.c: state.json ---- */

/* The caller frees. */
char *state_text(const checkpoint_state *s);
/* Reads it. ERR_INPUT when its numbers cannot all be true: `then` are the options of the run that wrote it,
 * and a folder that is called as a checkpoint is called must be of that step. */
status state_read(const char *folder, const options *then, checkpoint_state *state, message *why);
/* Whether it can be read and is of another step: then the folder is a copy that somebody has made. */
bool state_of_another_step(const char *folder, int64_t step);
/* The same as state_read, with the options that lie beside it. */
status state_verify(const char *folder, message *why);

#endif
