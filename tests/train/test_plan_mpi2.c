/* Bytes that ranks send to each other in a step of training, counted where they are sent, against the plan.
 */
#include "tests/train/golden_run.h"

static const comm *ranks;

/* Sent so far, in all that has been queued. */
static int64_t sent(void)
{
    double nothing;
    comm_wait(ranks, comm_sum_f64(ranks, &nothing, 0)); /* the last in the queue */
    return comm_bytes_sent(ranks);
}

static void check_step(void)
{
    step_result r;
    const plan p = golden_plan("cpu", ranks->size);
    good(training_step(&t, &r, &why));
    const int64_t before = sent();
    good(training_step(&t, &r, &why));
    const int64_t found = sent() - before;
    if (found != (int64_t)p.bytes_sent)
        fail_msg("parallel.zero=%lld, sum %d, micro_batch %lld: %lld bytes sent, %.0f planned",
                 (long long)o.parallel_zero, (int)o.parallel_sum, (long long)o.train_micro_batch,
                 (long long)found, p.bytes_sent);
}

static void test_bytes_sent(void **state)
{
    (void)state;
    golden_options("mla");
    set("train.batch_tokens=384"); /* 6 micro-batches a rank, or 2 */
    static const char *const models[] = {"mla", "gqa"}, *const sums[] = {"fast", "exact"};
    static const int rows[] = {1, 3};
    for (int i = 0; i < 32; i++) {
        set_golden_model(models[i / 16]);
        set("parallel.zero=%d", i % 4);
        set("parallel.sum=%s", sums[i / 4 % 2]);
        set("train.micro_batch=%d", rows[i / 8 % 2]);
        set("parallel.reduce_type=%s", i % 3 ? "f32" : "bf16");
        good(training_open(&t, &o, ranks, &why));
        check_step();
        training_close(&t);
    }
    options_free(&o);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bytes_sent)};
    ranks = comm_start();
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    comm_stop(ranks);
    return failed;
}
