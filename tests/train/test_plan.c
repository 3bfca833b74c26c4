/* A plan against what happens: the memory that training reserves, the files of its checkpoint, and bytes
 * between ranks and their time against formulas. */
#include "tests/train/golden_run.h"
#include "tests/support/scratch.h"
#include "optim/shard_layout.h"
#include <math.h>

static int open_golden(void **state)
{
    (void)state;
    golden_options("mla");
    set("train.batch_tokens=512");
    set("train.micro_batch=2");
    return 0;
}

static int close_golden(void **state)
{
    (void)state;
    options_free(&o);
    return 0;
}

/* Every arena of the run that is open. */
static void check_memory(const char *name)
{
    const plan p = golden_plan(name, 1);
    const plan_bytes *b = &p.bytes;
    assert_int_equal(b->weights + b->gradients + b->communication, t.parameters_arena.size);
    assert_int_equal(b->states, t.optimizer_arena.size);
    assert_int_equal(p.host_bytes, t.offload_arena.size);
    assert_int_equal(b->activations + b->scratch, t.acts.memory.size);
    assert_true(b->activations > 0 && b->scratch > 0);
}

/* In every stage, with sums in either order, and whatever is computed again. */
static void test_memory(void **state)
{
    (void)state;
    static const char *const again[] = {"none", "light", "layer"};
    for (int i = 0; i < 24; i++) {
        set("parallel.zero=%d", i % 4);
        set("parallel.sum=%s", i / 4 % 2 ? "exact" : "fast");
        set("train.recompute=%s", again[i / 8]);
        good(training_open(&t, &o, comm_self(), &why));
        check_memory("cpu");
        training_close(&t);
    }
}

/* The same where there is a device: types, rows of the head and states on the host are others. */
static void test_memory_device(void **state)
{
    (void)state;
    set("device.kind=cuda");
    for (int i = 0; i < 8; i++) {
        set("parallel.zero=%d", i % 4);
        set("device.storage=%s", i % 3 ? "bf16" : "f32");
        set("optim.offload=%s", i / 4 ? "true" : "false");
        const status s = training_open(&t, &o, comm_self(), &why);
        if (s != OK) {
            training_close(&t);
            skip(); /* no device */
        }
        check_memory("h100");
        training_close(&t);
    }
}

/* A table for layouts has what the table of the CPU has, also where rows of the head matter. */
static void test_layout_table(void **state)
{
    (void)state;
    const ops k = ops_for_layout(F32, F32, false), *cpu = ops_cpu_f32();
    assert_true(k.act == cpu->act && k.real == cpu->real && k.head_rows == cpu->head_rows);
    good(training_open(&t, &o, comm_self(), &why));
    dims d = t.config.d;
    d.V = 150000;
    assert_int_equal(activations_bytes(&d, &k, 2, 512, FORWARD_AND_BACKWARD, RECOMPUTE_LIGHT),
                     activations_bytes(&d, cpu, 2, 512, FORWARD_AND_BACKWARD, RECOMPUTE_LIGHT));
    training_close(&t);
}

static int64_t size_of(const char *folder, const char *name)
{
    char path[PATH_BYTES];
    const int64_t bytes = file_bytes(path_join(path, folder, name));
    assert_true(bytes > 0);
    return bytes;
}

static void test_disk(void **state)
{
    (void)state;
    char run[PATH_BYTES], folder[PATH_BYTES];
    snprintf(run, sizeof run, "%s", scratch_path("run"));
    good(training_open(&t, &o, comm_self(), &why));
    good(checkpoint_clean(run, &why));
    checkpoint_progress progress;
    good(checkpoint_begin(t.writer, run, &t.state, &why));
    good(checkpoint_poll(t.writer, true, &progress, &why));
    checkpoint_folder(folder, run, 0);
    set("checkpoint.every=2");
    set("checkpoint.keep=3");
    const plan p = golden_plan("cpu", 1);
    assert_int_equal(p.checkpoint_bytes,
                     size_of(folder, "model.safetensors") + size_of(folder, "optim-00000.safetensors"));
    assert_int_equal(p.copy_bytes, 12 * p.parameters); /* masters, m and v */
    assert_int_equal(p.checkpoints, 4); /* of five: three that stay, and the newest */
    assert_int_equal(p.total_bytes, 4 * p.checkpoint_bytes);
    training_close(&t);
}

/* What a rank sends, counted by hand: P elements with padding, 4 micro-batches on each of 4 ranks. */
static void check_sent(int stage, bool tied)
{
    enum { R = 4, M = 4 };
    const double part = (R - 1.0) / R;
    dims d = t.config.d;
    param_table table;
    shard_layout l;
    d.tied = tied;
    param_table_init(&table, &d);
    shard_layout_init(&l, &table, R, 0);
    const int last = l.num_units - 1;
    double P = 0, again = 0;
    for (int u = 0; u <= last; u++) {
        const double n = (double)l.padded[u];
        P += n;
        /* Backward finds the last layer and the head where forward has left them; but a tied head, which is
         * the embedding, comes between. */
        if (u < last && (tied || (u > 0 && u < last - 1))) again += n;
    }
    /* Three of the four passes find the first layer where the one before has left it. */
    const double gathered[] = {0, P, P, M * (P + again) - (M - 1) * (double)l.padded[1]};
    const double reduced[] = {2 * P, P, M * P, M * P};
    const double sums = (stage ? (double)l.first[l.num_units] : 0) + M * R;
    plan p;
    plan_run r = {.o = &o, .d = &d, .ranks = R, .steps = 10};
    good(plan_machine_find(&r.machine, "cpu", R, &why));
    plan_make(&p, &r);
    assert_true(fabs(p.bytes_sent -
                     (part * 4 * (gathered[stage] + reduced[stage]) + 8 * (sums + 1) * (R - 1))) < 0.5);
    good(plan_machine_find(&r.machine, "h100", R, &why));
    plan_make(&p, &r);
    assert_true(
        fabs(p.bytes_sent - (part * (2 * gathered[stage] + 4 * reduced[stage]) + 8 * sums * 2 * part)) < 0.5);
    shard_layout_free(&l);
    param_table_free(&table);
}

static void test_sent(void **state)
{
    (void)state;
    good(training_open(&t, &o, comm_self(), &why));
    set("train.micro_batch=1");
    for (int i = 0; i < 8; i++) {
        set("parallel.zero=%d", i % 4);
        check_sent(i % 4, i / 4);
    }
    training_close(&t);
}

/* Exchange hides where computing takes long, and shows where it takes nothing. */
static void test_hidden(void **state)
{
    (void)state;
    good(training_open(&t, &o, comm_self(), &why));
    for (int stage = 0; stage < 4; stage++) {
        plan p;
        plan_run r = {.o = &o, .d = &t.config.d, .ranks = 4, .steps = 10};
        set("parallel.zero=%d", stage);
        good(plan_machine_find(&r.machine, "h100", 4, &why));
        plan_make(&p, &r);
        assert_true(p.seconds.hidden >= 0 && p.seconds.hidden <= p.seconds.communication);
        r.machine.peak = 1e24; /* nothing to hide beside */
        plan_make(&p, &r);
        assert_true(p.seconds.hidden < 1e-3 * p.seconds.communication);
        r.machine.peak = 1e3; /* everything but the ends of a step */
        plan_make(&p, &r);
        assert_true(p.seconds.hidden > 0.3 * p.seconds.communication);
    }
    training_close(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_memory, open_golden, close_golden),
        cmocka_unit_test_setup_teardown(test_memory_device, open_golden, close_golden),
        cmocka_unit_test_setup_teardown(test_layout_table, open_golden, close_golden),
        cmocka_unit_test_setup_teardown(test_disk, open_golden, close_golden),
        cmocka_unit_test_setup_teardown(test_sent, open_golden, close_golden),
        cmocka_unit_test_setup_teardown(test_hidden, open_golden, close_golden),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
