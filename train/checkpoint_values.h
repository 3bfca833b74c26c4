/* The values of a checkpoint as its files have them, without a model in memory. */
#ifndef REMLA_TRAIN_CHECKPOINT_VALUES_H
#define REMLA_TRAIN_CHECKPOINT_VALUES_H
#include "train/checkpoint.h"

/* Checks that the tensors of a folder are those of a model of shape d, each once and whole: the weights, both
 * moments and, where there are any, the masters. Reads headers alone. ERR_INPUT names the first that is
 * not. */
status checkpoint_tensors_check(const char *folder, const dims *d, message *why);

/* Reads all values, a bounded part at a time, and compares their fingerprints with those of the state that
 * was read from the folder. ERR_INPUT: they are other ones, or one is infinite or NaN. */
status checkpoint_values_check(const char *folder, const dims *d, const checkpoint_state *state,
                               message *why);

#endif
