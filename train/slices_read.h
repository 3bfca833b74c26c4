/* Reads the values of a run from files, those alone that this rank updates: its part of every unit, by
 * ranges. None of it is collective: when all ranks have their masters, optimizer_masters_set brings the rest
 * of the weights. */
#ifndef REMLA_TRAIN_SLICES_READ_H
#define REMLA_TRAIN_SLICES_READ_H
#include "optim/optimizer.h"
#include "train/value_source.h"

/* Sets this rank's parts of a kind of states, or of the masters, from what `from` has of the same table. */
status slices_read(optimizer *o, state_kind kind, const value_source *from, message *why);

#endif
