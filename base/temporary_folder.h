/* A folder that is written beside its final name, TARGET.remla-tmp-PID, and gets that name when it is whole.
 * A lock on it says that its owner is alive: who writes the same target removes what a killed process has
 * left beside it. */
#ifndef REMLA_BASE_TEMPORARY_FOLDER_H
#define REMLA_BASE_TEMPORARY_FOLDER_H
#include "base/file.h"

typedef struct temporary_folder {
    char path[PATH_BYTES]; /* empty: there is none */
    int lock;              /* -1: there is none */
} temporary_folder;

/* Removes leftovers, with a line for each, then makes and locks the folder, so that a place that cannot be
 * written shows at once. A signal that kills the program removes it (base/sweep.h). ERR_USAGE: the path is
 * too long. Whatever it returns, temporary_folder_close ends it. */
status temporary_folder_open(temporary_folder *t, const char *target, message *why);
/* Gives it its name, durably. `target` as in temporary_folder_open. */
status temporary_folder_commit(temporary_folder *t, const char *target, message *why);
/* Removes it, where it has not got its name. */
void temporary_folder_close(temporary_folder *t);

#endif
