/* Three arrays of one shape, filled a sequence at a time by the reader of samples. */
#include "base/token_batch.h"
#include "base/memory.h"
#include "base/status.h"
#include <stdlib.h>
#include <string.h>

void token_batch_init(token_batch *b, int64_t sequences, int64_t T)
{
    int32_t **const part[] = {&b->tokens, &b->targets, &b->first};
    *b = (token_batch){.sequences = sequences, .T = T};
    for (size_t i = 0; i < sizeof part / sizeof *part; i++)
        *part[i] = memory_new(sequences * T, sizeof **part[i], "a batch of %lld sequences of %lld tokens",
                              (long long)sequences, (long long)T);
}

void token_batch_free(token_batch *b)
{
    free(b->tokens);
    free(b->targets);
    free(b->first);
    *b = (token_batch){0};
}

token_batch token_batch_view(const token_batch *b, int64_t from, int64_t count)
{
    REQUIRE(from >= 0 && count >= 0 && count <= b->sequences - from, "sequences [%lld,%lld) of %lld",
            (long long)from, (long long)(from + count), (long long)b->sequences);
    const int64_t at = from * b->T;
    return (token_batch){.sequences = count,
                         .T = b->T,
                         .tokens = b->tokens + at,
                         .targets = b->targets + at,
                         .first = b->first + at};
}

void token_batch_copy(token_batch *b, int64_t i, const token_batch *from, int64_t j)
{
    REQUIRE(b->T == from->T, "a sequence of %lld tokens for a batch of %lld", (long long)from->T,
            (long long)b->T);
    const token_batch to = token_batch_view(b, i, 1), one = token_batch_view(from, j, 1);
    const size_t bytes = sizeof(int32_t) * (size_t)b->T;
    memcpy(to.tokens, one.tokens, bytes);
    memcpy(to.targets, one.targets, bytes);
    memcpy(to.first, one.first, bytes);
}

void token_batch_blank(token_batch *b, int64_t i)
{
    const token_batch one = token_batch_view(b, i, 1);
    const size_t bytes = sizeof(int32_t) * (size_t)b->T;
    memset(one.tokens, 0, bytes);
    memset(one.targets, 0xff, bytes); /* -1 */
    memset(one.first, 0, bytes);
}

int64_t token_batch_counted(const token_batch *b)
{
    int64_t counted = 0;
    for (int64_t i = 0; i < b->sequences * b->T; i++) counted += b->targets[i] >= 0;
    return counted;
}
