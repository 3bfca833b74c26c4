/* From options to training data. */
#ifndef REMLA_TRAIN_FEED_OPTIONS_H
#define REMLA_TRAIN_FEED_OPTIONS_H
#include "data/feed.h"
#include "train/options/options.h"

/* Opens data.train. Ids must be below `vocabulary`. `eos` is the model's end-of-text token, or -1; data.eos
 * overrides it. ERR_USAGE when an option is missing or contradicts another. MPI: collective; every rank
 * returns the same status. After a failure there is nothing to close. */
status feed_from_options(feed *s, const options *o, int64_t vocabulary, int64_t eos, const comm *c,
                         message *why);

#endif
