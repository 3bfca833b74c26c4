/* Words of options as what other folders make of them. Each is a switch over the words of its row in
 * options.def: the compiler names a word that is missing. */
#ifndef REMLA_TRAIN_OPTION_WORDS_H
#define REMLA_TRAIN_OPTION_WORDS_H
#include "data/pack.h"
#include "eval/compute.h"
#include "model/activations.h"
#include "optim/schedule.h"
#include "optim/shards.h"
#include "train/options/options.h"

compute_settings compute_settings_of(const options *o); /* device.* */
/* parallel.*, and how many micro-batches of train.batch_tokens each of `ranks` computes. */
shards_settings shards_settings_of(const options *o, int ranks);
schedule_kind schedule_kind_of(option_optim_schedule word);
packing packing_of(option_data_packing word);
dtype cache_of(option_decode_cache word);
/* checkpoint.weights; `act`: of the weights that the run computes with. */
dtype checkpoint_weights_of(const options *o, dtype act);
recompute recompute_of(option_train_recompute word);

#endif
