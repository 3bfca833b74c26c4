/* Two ranks share an odd number of groups of windows: both make the same number of forward calls, which an op
 * that counts tells, whether a window can be read or not, and the loss is the sum that they make up together,
 * bit for bit. A failed check stops both ranks (REQUIRE), because the other would wait forever. */
#include "eval/evaluate.h"
#include "tests/support/check.h"
#include "tests/support/scratch.h"
#include "tests/support/small_dims.h"
#include <math.h>
#include <string.h>

/* The last group is short as well. */
enum { T = 4, B = 2, WINDOWS = 5, GROUPS = 3, TOKENS = WINDOWS * T + 1, VOCABULARY = 11 };

static const comm *world;
static int forward_calls;

static void counted_embedding(tensor *out, const tensor *tokens, const tensor *weight, stream *s)
{
    forward_calls++;
    ops_cpu_f32()->embedding_forward(out, tokens, weight, s);
}

static void model_start(model *m, activations *a)
{
    static ops counting;
    dims d = SMALL_GQA;
    d.V = VOCABULARY;
    counting = *ops_cpu_f32();
    counting.embedding_forward = counted_embedding;
    model_init(m, &d, &counting, 1);
    activations_init(a, &d, &counting, B, T, FORWARD_ONLY, RECOMPUTE_NONE);
    for (int u = 0; u < m->table.num_units; u++)
        for (int64_t i = 0; i < m->table.unit_numel[u]; i++)
            ((float *)m->w.unit[u].data)[i] = (float)((i * 7919 + u * 31) % 101 - 50) * 0.02f;
}

/* Token `bad` (-1: none) is none of the vocabulary. */
static void data_start(dataset *data, int bad)
{
    uint32_t token[TOKENS];
    const uint64_t end = TOKENS;
    const dataset_form form = {.T = T, .vocabulary = VOCABULARY};
    message why;
    for (int i = 0; i < TOKENS; i++)
        token[i] = i == bad ? VOCABULARY : (uint32_t)(i * i + i / 3) % VOCABULARY;
    const char *const path = scratch_shard("held_out.ds", 2, token, TOKENS, &end, 1);
    REQUIRE(dataset_open(data, "data.val", &path, 1, &form, &why) == OK, "%s", why.text);
}

/* The summed loss of a group. */
static double group_loss(const model *m, activations *a, const dataset *data, int64_t group)
{
    token_batch batch;
    message why;
    token_batch_init(&batch, B, T);
    for (int64_t b = 0; b < B; b++)
        if (group * B + b < WINDOWS)
            REQUIRE(dataset_read(data, group * B + b, &batch, b, &why) == OK, "%s", why.text);
        else
            token_batch_blank(&batch, b);
    const double loss = model_evaluate(m, a, &batch);
    token_batch_free(&batch);
    return loss;
}

static void test_whole(void **state)
{
    (void)state;
    model m;
    activations acts;
    dataset data;
    evaluation both, alone;
    double loss[GROUPS];
    message why;
    model_start(&m, &acts);
    data_start(&data, -1);
    for (int g = 0; g < GROUPS; g++) loss[g] = group_loss(&m, &acts, &data, g);

    forward_calls = 0;
    REQUIRE(evaluate(&m, &acts, &data, ALL_TOKENS, world, &both, &why) == OK, "%s", why.text);
    REQUIRE(forward_calls == 2, "%d forward calls, expected 2 on either rank", forward_calls);
    /* Rank 0 has the first and the last group. */
    const double want = ((loss[0] + loss[2]) + loss[1]) / (WINDOWS * T);
    REQUIRE(both.loss == want, "loss %.17g, expected %.17g", both.loss, want);
    REQUIRE(both.tokens == WINDOWS * T && both.read == WINDOWS * T, "%lld tokens counted, %lld read",
            (long long)both.tokens, (long long)both.read);

    forward_calls = 0;
    REQUIRE(evaluate(&m, &acts, &data, ALL_TOKENS, comm_self(), &alone, &why) == OK, "%s", why.text);
    REQUIRE(forward_calls == GROUPS, "%d forward calls of one rank", forward_calls);
    REQUIRE(fabs(both.loss - alone.loss) <= 1e-14 * want && both.tokens == alone.tokens,
            "loss %.17g, one rank has %.17g", both.loss, alone.loss);
    dataset_close(&data);
    activations_free(&acts);
    model_free(&m);
}

/* A window that one rank cannot read ends it on both, before the round in which it is. */
static void test_unreadable(void **state)
{
    (void)state;
    model m;
    activations acts;
    model_start(&m, &acts);
    for (int group = 0; group < GROUPS; group++) {
        dataset data;
        evaluation e;
        message why, first;
        data_start(&data, world->rank == group % 2 ? group * B * T + 1 : -1);
        forward_calls = 0;
        const status s = evaluate(&m, &acts, &data, ALL_TOKENS, world, &e, &why);
        REQUIRE(s == ERR_INPUT, "group %d: status %d", group, s);
        REQUIRE(forward_calls == group / 2, "group %d: %d forward calls, expected %d on either rank", group,
                forward_calls, group / 2);
        first = why;
        comm_broadcast(world, first.text, sizeof first.text, 0);
        REQUIRE(!strcmp(first.text, why.text) && strstr(why.text, "held_out.ds"), "%s", why.text);
        dataset_close(&data);
    }
    activations_free(&acts);
    model_free(&m);
}

int main(void)
{
    world = comm_start();
    if (world->size != 2) return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_whole), cmocka_unit_test(test_unreadable)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    comm_stop(world);
    return failed;
}
