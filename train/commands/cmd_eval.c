/* remla eval MODEL data.val=...: loss and perplexity of a model folder (GQA, MLA, or a checkpoint step) on
 * tokens. With --tasks the command is that of cmd_eval_tasks.c. */
#include "eval/evaluate.h"
#include "eval/open.h"
#include "train/commands/commands.h"
#include "train/eval_options.h"
#include "train/feed_options.h"
#include "train/option_words.h"
#include <stdio.h>

enum { TOKENS = 4096 }; /* per sequence, where no option says it */

static void print(const command_line *line, const model *m, const evaluation *e)
{
    const double tok_s = (double)e->read / e->seconds;
    const long long kv = (long long)kv_bytes_per_token(&m->d);
    if (line->json)
        printf("{\"tokens\": %lld, \"loss\": %.17g, \"ppl\": %.17g, \"kv_bytes_per_token\": %lld, "
               "\"seconds\": %.9g, \"tok_s\": %.9g}\n",
               (long long)e->tokens, e->loss, e->ppl, kv, e->seconds, tok_s);
    else
        printf("tokens %lld\nloss %.6f\nppl %.4f\nkv_bytes_per_token %lld\nseconds %.2f\ntok_s %.0f\n",
               (long long)e->tokens, e->loss, e->ppl, kv, e->seconds, tok_s);
}

/* What can fail on any rank by itself, before memory is laid out. */
static status open_inputs(loaded_model *x, dataset *data, const char *folder, const options *o, message *why)
{
    if (!o->data_val.count)
        return fail(why, ERR_USAGE, "data.val is not set: name the shards to evaluate on");
    const named_length length = eval_length(o, "eval", (named_length){TOKENS, "eval.seq_len"});
    TRY(loaded_model_open(x, folder, why));
    TRY(loaded_model_length(x, length.key, length.T, why));
    return feed_held_out_from_options(data, o, length.T, x->config.d.V, folder, why);
}

static status run(loaded_model *x, const dataset *data, const options *o, const comm *c, evaluation *e,
                  message *why)
{
    const compute_settings wanted = compute_settings_of(o);
    const int64_t B = eval_micro_batch(o);
    TRY(loaded_model_start(x, &wanted, B < data->samples ? B : data->samples, c, why));
    TRY(evaluate(&x->m, &x->acts, data, option_or(o->val_tokens, ALL_TOKENS), c, e, why));
    return evaluation_check(e, data, why);
}

status cmd_eval(const command_line *line, options *o, const comm *c, message *why)
{
    if (line->tasks) return cmd_eval_tasks(line, o, c, why);
    if (line->style || line->samples || line->limit || line->shots)
        return fail(why, ERR_USAGE, "--style, --limit, --shots and --samples need --tasks");
    loaded_model x = {0};
    dataset data = {0};
    evaluation e;
    status s = comm_agree(c, open_inputs(&x, &data, line->positional[0], o, why), why);
    if (s == OK) s = run(&x, &data, o, c, &e, why);
    if (s == OK && c->rank == 0) print(line, &x.m, &e);
    loaded_model_close(&x);
    dataset_close(&data);
    return s;
}
