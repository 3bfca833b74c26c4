/* The files of a checkpoint that hold tensors, as far as this rank writes them: its model files, and its
 * state file (train/state_files.h). Model files are shared out among the ranks whole, states by slices.
 *
 * A checkpoint goes through three calls. The first two are the training's, which stands still meanwhile; the
 * third runs on a thread beside it and talks to no other rank and no device:
 *
 *     reserve   creates the files, and reserves their bytes on the disk
 *     copy      brings their contents to memory of the host, in the order in which they are written
 *     write     hashes and writes what was copied, and makes it durable
 *
 * The memory holds all of the copy if there is room (pinned where the ranks compute on a device), and is kept
 * for the next checkpoint. Else copy waits for write. */
#ifndef REMLA_TRAIN_CHECKPOINT_FILES_H
#define REMLA_TRAIN_CHECKPOINT_FILES_H
#include "base/written.h"
#include "model/hf/model_files.h"
#include "train/copy_ring.h"
#include "train/state_files.h"
#include <stdatomic.h>

/* Fingerprints (base/fingerprint.h) of what this rank has written; those of all ranks add up to the
 * model's. */
typedef struct checkpoint_sums {
    uint64_t weights, masters, moments; /* see checkpoint_state */
} checkpoint_sums;

typedef struct checkpoint_file {
    char name[MODEL_FILE_NAME];
    bool model;           /* of model files; else of states */
    state_tensor *tensor; /* what is in it; of model files the masters or what they are rounded to */
    int count;
    dtype copied, stored; /* type of elements in the copy, and in the file */
    safetensors_writer out;
    bool open;
    /* Writing has come so far: */
    int at;       /* tensor */
    int64_t done; /* elements of it */
} checkpoint_file;

typedef struct checkpoint_files {
    optimizer *o;      /* borrowed */
    dtype storage;     /* of the model files */
    model_file *model; /* all of them, those of other ranks too */
    int models;
    checkpoint_file *file; /* this rank's */
    int count;
    copy_ring *ring;   /* NULL before the first copy */
    copy_chunk *chunk; /* the one that is being filled, or NULL */
    float *values;     /* of a tensor, while they are written */
    /* Of the last write: */
    written_files written;
    checkpoint_sums sums;
    atomic_bool failed; /* this rank's has failed */
    atomic_bool stop;   /* may be set while it writes: another rank's has failed */
} checkpoint_files;

/* Not collective. `storage`: F32 or BF16. */
void checkpoint_files_init(checkpoint_files *x, optimizer *o, dtype storage);
void checkpoint_files_free(checkpoint_files *x);

/* ERR_INPUT: nothing is open, but files may be left over. Not collective. */
status checkpoint_files_reserve(checkpoint_files *x, const char *folder, message *why);
/* Removes what was reserved, instead of the next two. Not collective. */
void checkpoint_files_abandon(checkpoint_files *x);
/* Gets the memory of the copy. Call before either side of it begins. Not collective. */
void checkpoint_files_room(checkpoint_files *x);
/* Every byte that is copied must be taken by checkpoint_files_write on another thread. Collective. */
void checkpoint_files_copy(checkpoint_files *x);
/* Fills in `written` and `sums`. After a failure, or when x->stop was set, its files are closed and it only
 * takes what is copied. */
status checkpoint_files_write(checkpoint_files *x, message *why);

/* Bytes of a file in the copy. */
int64_t checkpoint_file_copied(const checkpoint_file *f);

#endif
