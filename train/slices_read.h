/* Reads the values of a run from files, those alone that this rank updates: its part of every unit, by
 * ranges. None of it is collective: when all ranks have their masters, optimizer_masters_set brings the rest
 * of the weights. */
#ifndef REMLA_TRAIN_SLICES_READ_H
#define REMLA_TRAIN_SLICES_READ_H
#include "model/hf/safetensors.h"
#include "optim/optimizer.h"
#include "train/state_reader.h"

/* Sets this rank's masters from model files that hold all of the model (model_reader_open); half types are
 * widened. */
status slices_read_model(optimizer *o, const safetensors *files, message *why);
/* Sets this rank's part of a kind of states, or of the masters. */
status slices_read_states(optimizer *o, const state_reader *stored, state_kind kind, message *why);

#endif
