/* Windows in groups of the activations' B, dealt out to the ranks in turn. */
#include "eval/evaluate.h"
#include "base/clock.h"
#include "model/mean_loss.h"
#include <math.h>

int64_t evaluate_windows(const dataset *data, int64_t limit)
{
    const int64_t wanted = limit != ALL_TOKENS ? (limit + data->T - 1) / data->T : data->samples;
    return wanted < data->samples ? wanted : data->samples;
}

/* The windows of a group; nothing counts beyond the last one. */
static status read_group(token_batch *batch, const dataset *data, int64_t group, int64_t windows,
                         message *why)
{
    for (int64_t b = 0; b < batch->sequences; b++) {
        const int64_t window = group * batch->sequences + b;
        if (window < windows)
            TRY(dataset_read(data, window, batch, b, why));
        else
            token_batch_blank(batch, b);
    }
    return OK;
}

status evaluate(const model *m, activations *a, const dataset *data, int64_t limit, const comm *c,
                evaluation *out, message *why)
{
    const double start = clock_seconds();
    const int64_t windows = evaluate_windows(data, limit), groups = (windows + a->B - 1) / a->B;
    token_batch batch;
    token_batch_init(&batch, a->B, a->T);

    /* Which windows go together does not depend on the number of ranks, so neither does the result, up to the
     * order of this sum. A rank for which the last round has no group left computes a blank one, and the
     * ranks agree before they compute: forward may need them all. */
    mean_loss loss = {0};
    status s = OK;
    for (int64_t first = 0; first < groups; first += c->size) {
        s = comm_agree(c, read_group(&batch, data, first + c->rank, windows, why), why);
        if (s != OK) break;
        mean_loss_add(&loss, model_evaluate(m, a, &batch), &batch);
    }
    token_batch_free(&batch);
    if (s != OK) return s;
    mean_loss_reduce(&loss, c);
    if (!(loss.counted > 0))
        return fail(why, ERR_INPUT, "%s: no target counts in %lld windows of %lld tokens",
                    data->shard[0].path, (long long)windows, (long long)a->T);
    const double mean = mean_loss_value(&loss);
    *out = (evaluation){.tokens = (int64_t)loss.counted,
                        .read = windows * a->T,
                        .loss = mean,
                        .ppl = exp(mean),
                        .seconds = clock_seconds() - start};
    return OK;
}

status evaluation_check(const evaluation *e, const dataset *data, message *why)
{
    if (isfinite(e->ppl)) return OK;
    return fail(why, DIVERGED, "%s: the model's loss is %g: its perplexity is not a number",
                data->shard[0].path, e->loss);
}
