/* The one translation of the options under `data` into a feed and into held-out text: `remla train` and
 * `remla data order` share it, so that the order which the second prints is the one that the first trains in.
 */
#include "train/feed_options.h"
#include "data/tokenizer_check.h"
#include "train/option_words.h"

/* Checks what only TransMLA's packing needs. */
static status check_transmla(const options *o, int64_t vocabulary, int64_t eos, message *why)
{
    if (o->train_seq_len < 2)
        return fail(why, ERR_USAGE,
                    "train.seq_len=%lld: data.packing=transmla needs a token and the end-of-text "
                    "token in every sample, 2 at least",
                    (long long)o->train_seq_len);
    if (eos < 0)
        return fail(why, ERR_USAGE,
                    "data.packing=transmla needs the end-of-text token, and the model's config.json has no "
                    "eos_token_id: set data.eos");
    if (eos >= vocabulary)
        return fail(why, ERR_USAGE,
                    "data.eos=%lld: the end-of-text token is not in the vocabulary, which has %lld",
                    (long long)eos, (long long)vocabulary);
    return OK;
}

status feed_from_options(feed *s, const options *o, int64_t vocabulary, int64_t eos, const comm *c,
                         message *why)
{
    const packing mode = packing_of(o->data_packing);
    eos = option_or(o->data_eos, eos);
    if (!o->data_train.count)
        return fail(why, ERR_USAGE, "data.train is not set: name the shards to train on");
    if (mode == PACKING_TRANSMLA) TRY(check_transmla(o, vocabulary, eos, why));
    const dataset_form form = {.T = o->train_seq_len,
                               .vocabulary = vocabulary,
                               .document_mask = o->data_document_mask,
                               .packing = mode,
                               .eos = eos,
                               .pack_folder = o->data_pack_index};
    const feed_order order = {.seed = (uint64_t)o->train_seed, .window = option_or(o->data_window, 0)};
    return feed_open(s, "data.train", (const char *const *)o->data_train.item, o->data_train.count, &form,
                     &order, c, why);
}

status feed_held_out_from_options(dataset *d, const options *o, int64_t T, int64_t vocabulary,
                                  const char *model, message *why)
{
    const dataset_form form = {.T = T, .vocabulary = vocabulary, .document_mask = o->data_document_mask};
    TRY(dataset_open(d, "data.val", (const char *const *)o->data_val.item, o->data_val.count, &form, why));
    return tokenizer_check(d, "data.val", model, why);
}
