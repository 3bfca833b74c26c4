/* Which checkpoints of a run are exported. */
#ifndef REMLA_TRAIN_EXPORT_CHOICE_H
#define REMLA_TRAIN_EXPORT_CHOICE_H
#include "base/file.h"
#include "train/checkpoint.h"

typedef struct chosen_checkpoint {
    char folder[PATH_BYTES];
    checkpoint_state state;
    double val_loss; /* on data.val; NAN: not measured */
} chosen_checkpoint;

typedef struct export_choice {
    chosen_checkpoint *item; /* the newest first; owned */
    int count;
} export_choice;

/* Chooses `count` checkpoints, and verifies each of them. `path` is the folder of a checkpoint, which is the
 * first, or that of a run. Of a run one checkpoint is that with the lowest loss on data.val, or the newest
 * where none was measured; several are the newest. None that was saved while the loss was far above its past
 * is chosen while there is another. The further ones are those before the first. Damaged
 * checkpoints of a run are passed over with a warning. ERR_INPUT: `path` is neither, or there are not so
 * many. The caller ends with export_choice_free, whatever the status. */
status export_choose(export_choice *x, const char *path, int count, message *why);
void export_choice_free(export_choice *x);

#endif
