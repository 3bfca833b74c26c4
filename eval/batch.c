/* Rows of a batch in host memory, filled one at a time. */
#include "eval/batch.h"
#include "base/memory.h"
#include <stdlib.h>
#include <string.h>

void host_batch_init(host_batch *b, int64_t sequences, int64_t T)
{
    int32_t **const part[] = {&b->tokens, &b->targets, &b->first};
    *b = (host_batch){.sequences = sequences, .T = T};
    for (size_t i = 0; i < sizeof part / sizeof *part; i++)
        *part[i] = memory_new(sequences * T, sizeof **part[i], "a batch of %lld windows of %lld tokens",
                              (long long)sequences, (long long)T);
}

void host_batch_free(host_batch *b)
{
    free(b->tokens);
    free(b->targets);
    free(b->first);
    *b = (host_batch){0};
}

status host_batch_read(host_batch *b, int64_t row, const dataset *data, int64_t window, int64_t *counted,
                       message *why)
{
    const int64_t at = row * b->T;
    return dataset_window(data, window, b->tokens + at, b->targets + at, b->first + at, counted, why);
}

void host_batch_blank(host_batch *b, int64_t row)
{
    const size_t bytes = sizeof(int32_t) * (size_t)b->T;
    memset(b->tokens + row * b->T, 0, bytes);
    memset(b->first + row * b->T, 0, bytes);
    memset(b->targets + row * b->T, 0xff, bytes); /* -1 */
}

model_batch host_batch_view(const host_batch *b, int64_t row)
{
    return (model_batch){
        .tokens = b->tokens + row * b->T, .targets = b->targets + row * b->T, .first = b->first + row * b->T};
}
