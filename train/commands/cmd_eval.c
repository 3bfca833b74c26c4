/* remla eval MODEL data.val=...: loss and perplexity of a model folder (GQA, MLA, or a checkpoint step) on
 * tokens. */
#include "model/hf/config.h"
#include "model/hf/model_files.h"
#include "train/commands/commands.h"
#include "train/compute.h"
#include "eval/evaluate.h"
#include "data/tokenizer_check.h"
#include "train/training.h"
#include <stdio.h>

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
static status open_inputs(const char *folder, const options *o, model_config *config, dataset *data,
                          message *why)
{
    if (!o->data_val.count)
        return fail(why, ERR_USAGE, "data.val is not set: name the shards to evaluate on");
    TRY(config_read(config, folder, why));
    TRY(model_check(folder, &config->d, why));
    TRY(sequence_check(&config->d, o->train_seq_len, why));
    const dataset_form form = {
        .T = o->train_seq_len, .vocabulary = config->d.V, .document_mask = o->data_document_mask};
    TRY(dataset_open(data, "data.val", (const char *const *)o->data_val.item, o->data_val.count, &form, why));
    return tokenizer_check(data, "data.val", folder, why);
}

status cmd_eval(const command_line *line, options *o, const comm *c, message *why)
{
    const char *folder = line->positional[0];
    model_config config = {0};
    dataset data = {0};
    compute on;
    model m;
    activations acts;
    TRY(comm_agree(c, open_inputs(folder, o, &config, &data, why), why));
    const int64_t B = o->train_micro_batch < data.windows ? o->train_micro_batch : data.windows;
    const ops *k;
    status s = compute_open(&on, o, c, why);
    if (s == OK) s = compute_ops(&on, &config.d, B, o->train_seq_len, c, &k, why);
    if (s == OK) {
        evaluation e;
        model_init(&m, &config.d, k, 1);
        activations_init(&acts, &config.d, k, B, o->train_seq_len, FORWARD_ONLY);
        s = comm_agree(c, model_load(folder, &m.table, &m.w, m.k, why), why);
        if (s == OK) s = evaluate(&m, &acts, &data, o->val_tokens, c, &e, why);
        if (s == OK) s = evaluation_check(&e, &data, why);
        if (s == OK && c->rank == 0) print(line, &m, &e);
        activations_free(&acts);
        model_free(&m);
    }
    compute_close(&on);
    dataset_close(&data);
    config_free(&config);
    return s;
}
