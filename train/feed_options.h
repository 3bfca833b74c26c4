/* The training data and the held-out text that options describe. */
#ifndef REMLA_TRAIN_FEED_OPTIONS_H
#define REMLA_TRAIN_FEED_OPTIONS_H
#include "data/feed.h"
#include "train/options/options.h"

/* Opens data.train. Ids must be below `vocabulary`. `eos` is the model's end-of-text token, or -1; data.eos
 * overrides it. ERR_USAGE when an option is missing or contradicts another. MPI: collective; every rank
 * returns the same status. After a failure there is nothing to close. */
status feed_from_options(feed *s, const options *o, int64_t vocabulary, int64_t eos, const comm *c,
                         message *why);

/* Opens data.val, which must be set, for the model in the folder `model`: always in windows of T tokens, so
 * that losses can be compared whatever data.packing is. Ids must be below `vocabulary`, and of the folder's
 * tokenizer where shard and folder name one. Not collective. */
status feed_held_out_from_options(dataset *d, const options *o, int64_t T, int64_t vocabulary,
                                  const char *model, message *why);

#endif
