/* remla data order CONFIG --from P --count N: which samples a run reads at positions P to P+N-1. Opens the
 * shards, not the model. */
#include "base/log.h"
#include "model/hf/config.h"
#include "train/commands/commands.h"
#include "train/feed_options.h"
#include <stdio.h>

/* The model matters only where its end-of-text token does: config.json is enough, and a folder without
 * weights will do. */
static status find_eos(const options *o, int64_t *eos, message *why)
{
    *eos = -1;
    if (o->data_packing != OPTION_data_packing_transmla || o->data_eos.word == OPTION_NUMBER) return OK;
    if (!o->model_path[0])
        return fail(why, ERR_USAGE,
                    "data.packing=transmla needs the end-of-text token: set data.eos, or model.path");
    model_config config;
    TRY(config_read(&config, o->model_path, why));
    *eos = config.eos;
    config_free(&config);
    return OK;
}

static void print(const feed *s, uint64_t position)
{
    const feed_sample at = feed_at(s, position);
    printf("{\"position\": %llu, \"source\": %d, \"epoch\": %llu, \"sample\": %lld}\n",
           (unsigned long long)position, at.source, (unsigned long long)at.epoch, (long long)at.sample);
}

status cmd_data_order(const command_line *line, options *o, const comm *c, message *why)
{
    int64_t eos;
    feed s;
    log_start(c->rank, true); /* standard output is for the samples alone */
    TRY(find_eos(o, &eos, why));
    TRY(feed_from_options(&s, o, ANY_TOKEN, eos, c, why));
    /* Positions are unsigned: the last of a range may lie beyond what --from can say. */
    for (uint64_t i = 0; i < line->count && !ferror(stdout); i++) print(&s, line->from + i);
    feed_close(&s);
    return OK;
}
