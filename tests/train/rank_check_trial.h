/* Faults of one rank in a training of several on the golden model, and none: what rank_check finds, whom it
 * names, and that it changes no number. On the CPU, and where the build has a device and there is one, on it.
 * A failed check stops all ranks (REQUIRE), because the others would wait forever. */
#ifndef REMLA_TESTS_RANK_CHECK_TRIAL_H
#define REMLA_TESTS_RANK_CHECK_TRIAL_H
#include "base/machine.h"
#include "optim/fingerprints.h"
#include "tests/train/golden_run.h"
#include <string.h>

enum { TRIAL_STEPS = 2 };

static const comm *ranks;
static int bad; /* the rank that has the fault */
static const char *const sums[] = {"fast", "exact"};

/* ---- a run --------------------------------------------------------------------------------------------- */

/* `kind`: cpu, or auto for a device; false: there is none. */
static inline bool trial_open(const char *kind, int stage, const char *sum, const char *check)
{
    set("device.kind=%s", kind);
    set("parallel.zero=%d", stage);
    set("parallel.sum=%s", sum);
    set("parallel.check=%s", check);
    good(training_open(&t, &o, ranks, &why));
    if (strcmp(kind, "cpu") == 0 || t.backend.device) return true;
    training_close(&t);
    return false;
}

static inline void trial_steps(int steps)
{
    step_result r;
    for (int i = 0; i < steps; i++)
        REQUIRE(training_step(&t, &r, &why) == OK, "step %d: %s", i + 1, why.text);
}

/* The next step finds a fault: of `what`, and the bad rank is named, alone unless there is no majority. */
static inline void trial_expect(const char *what)
{
    char name[32], first[32];
    step_result r;
    const int64_t before = t.state.step;
    why = (message){""};
    const status s = training_step(&t, &r, &why);
    REQUIRE(s == ERR_DEVICE && strstr(why.text, what), "%d, expected %s: %s", s, what, why.text);
    REQUIRE(t.state.step == before, "the step was taken");
    snprintf(name, sizeof name, "rank %d (", bad);
    snprintf(first, sizeof first, "rank %d (", bad ? 0 : 1);
    REQUIRE(strstr(why.text, name), "no %s in: %s", name, why.text);
    REQUIRE(!strstr(why.text, first) == (ranks->size > 2), "%s", why.text);
    REQUIRE(!strstr(why.text, "differ between") == (ranks->size > 2), "%s", why.text);
}

/* ---- faults -------------------------------------------------------------------------------------------- */

/* Inverts a bit of element i that every type of weights keeps. */
static inline void flip(tensor *t_, int64_t i)
{
    float x;
    uint32_t bits;
    tensor one = tensor_rows(t_, i, 1);
    t.m.k->download(&x, &one, t.m.k->stream);
    memcpy(&bits, &x, sizeof bits);
    bits ^= UINT32_C(1) << 20;
    memcpy(&x, &bits, sizeof bits);
    t.m.k->upload(&one, &x, t.m.k->stream);
}

/* A processor that computes one number wrongly. */
static ops faulty;
static const ops *sound;
static inline void faulty_swiglu(tensor *dgate, tensor *dup, const tensor *dout, const tensor *gate,
                                 const tensor *up, stream *s)
{
    sound->swiglu_backward(dgate, dup, dout, gate, up, s);
    tensor flat = tensor_view(dup, 1, (int64_t[]){tensor_numel(dup)});
    flip(&flat, 5);
}

/* A bit of the weights that flips while a pass computes, in the slice which its rank updates. */
static int calls;
static inline void flipping_swiglu(tensor *dgate, tensor *dup, const tensor *dout, const tensor *gate,
                                   const tensor *up, stream *s)
{
    sound->swiglu_backward(dgate, dup, dout, gate, up, s);
    if (++calls != t.m.d.L + 1) return; /* the first L are the check's */
    tensor part = shards_weight_part(&t.parameters, 1);
    flip(&part, 0);
    if (ranks->rank != bad) flip(&part, 0); /* see trial_weight */
}

/* A gather that brings one number wrongly. */
static units right;
static bool gathered_wrongly;
static inline tensor wrong_acquire(void *owner, int u)
{
    (void)owner;
    tensor flat = units_acquire(&right, u);
    if (u == 1 && !gathered_wrongly) {
        gathered_wrongly = true;
        flip(&flat, 3);
    }
    return flat;
}
static inline void wrong_release(void *owner, int u) { (void)owner, units_release(&right, u); }

/* ---- what is found ------------------------------------------------------------------------------------- */

static inline void trial_weight(const char *kind, int stage)
{
    if (!trial_open(kind, stage, "fast", "2")) return;
    trial_steps(1);
    const units all = shards_weights(&t.parameters);
    const int last = t.m.table.num_units - 1;
    tensor flat = units_acquire(&all, last);
    /* All read it, for emulated devices send weights to each other while their hosts wait. */
    flip(&flat, t.m.table.unit_numel[last] - 1);
    if (ranks->rank != bad) flip(&flat, t.m.table.unit_numel[last] - 1);
    units_release(&all, last);
    trial_expect("after step 1 the weights of the last norm");
    REQUIRE(rank_check_weights(&t, &why) == ERR_DEVICE, "a checkpoint would be written");
    if (ranks->rank == bad) flip(&flat, t.m.table.unit_numel[last] - 1);
    /* Padding is no weight. */
    if (ranks->rank == bad && t.m.table.unit_numel[last] < tensor_numel(&flat))
        flip(&flat, tensor_numel(&flat) - 1);
    trial_steps(1);
    training_close(&t);
}

static inline void trial_weight_in_step(const char *kind, int stage)
{
    if (!trial_open(kind, stage, "fast", "2")) return;
    sound = t.m.k;
    faulty = *sound;
    faulty.swiglu_backward = flipping_swiglu;
    trial_steps(1);
    calls = 0;
    t.m.k = &faulty;
    trial_expect("after step 1 the weights of layer 0 ");
    t.m.k = sound;
    training_close(&t);
}

static inline void trial_gradient(const char *kind, int stage, const char *sum)
{
    if (!trial_open(kind, stage, sum, "2")) return;
    sound = t.m.k;
    faulty = *sound;
    faulty.swiglu_backward = faulty_swiglu;
    trial_steps(1);
    if (ranks->rank == bad) t.m.k = &faulty;
    trial_expect("in step 2 the gradients of layer 1 and of 2 more of 4 units");
    t.m.k = sound;
    trial_steps(2);
    training_close(&t);
}

static inline void trial_wrong_gather(const char *kind)
{
    if (!trial_open(kind, 3, "fast", "2")) return;
    trial_steps(1);
    right = t.m.units;
    gathered_wrongly = false;
    if (ranks->rank == bad) t.m.units = (units){.acquire = wrong_acquire, .release = wrong_release};
    trial_expect("in step 2 the gradients of ");
    training_close(&t);
}

static inline void test_faults(void **state)
{
    (void)state;
    golden_options("mla");
    set("train.micro_batch=1");
    set("train.batch_tokens=256");
    for (bad = 0; bad < ranks->size; bad += ranks->size - 1) {
        for (int stage = 0; stage < 3; stage++) trial_weight("cpu", stage);
        for (int stage = 0; stage < 3; stage++) trial_weight_in_step("cpu", stage);
        for (int i = 0; i < 8; i++) trial_gradient("cpu", i % 4, sums[i / 4]);
        trial_wrong_gather("cpu");
    }
    options_free(&o);
}

/* ---- nothing is found, and nothing changes ------------------------------------------------------------- */

/* Weights, masters and moments after some steps; false: no such device. */
static inline bool trial_numbers(const char *kind, int i, const char *check, uint64_t numbers[4])
{
    if (!trial_open(kind, i % 4, sums[i / 4 % 2], check)) return false;
    REQUIRE(t.check.gradients == (strcmp(check, "none") != 0), "check=%s", check);
    trial_steps(TRIAL_STEPS);
    numbers[0] = fingerprint_weights(&t.opt);
    for (int part = 0; part < 3; part++)
        numbers[1 + part] = fingerprint_states(&t.opt, (optim_part[]){OPTIM_M, OPTIM_V, OPTIM_MASTER}[part]);
    training_close(&t);
    return true;
}

static inline void trial_same_numbers(const char *kind, int i)
{
    uint64_t with[4], without[4];
    if (!trial_numbers(kind, i, "1", with)) return;
    trial_numbers(kind, i, "none", without);
    REQUIRE(memcmp(with, without, sizeof with) == 0, "case %d: the checks change numbers", i);
    REQUIRE(with[1] != with[2] && with[2] != with[3], "fingerprints of different things are equal");
}

static inline void test_same_numbers(void **state)
{
    (void)state;
    static const char *const recomputes[] = {"light", "none", "layer"};
    golden_options("gqa");
    set("train.batch_tokens=768");
    for (int i = 0; i < 16; i++) {
        set("train.micro_batch=%d", i / 8 % 2 + 1);
        set("train.recompute=%s", recomputes[i % 3]);
        trial_same_numbers("cpu", i);
    }
    options_free(&o);
}

/* The same on devices: a few cases, since an emulated one takes seconds for a step. */
static inline void test_device(void **state)
{
    (void)state;
    golden_options("mla");
    bad = 1;
    set("train.seq_len=8");
    set("train.micro_batch=1");
    set("train.batch_tokens=%d", 2 * 8 * ranks->size);
    set("optim.offload=true");
    trial_weight("auto", 1);
    trial_weight_in_step("auto", 2);
    trial_gradient("auto", 0, "fast");
    trial_gradient("auto", 2, "exact");
    trial_wrong_gather("auto");
    trial_same_numbers("auto", 3 + 4);
    /* States in the host's memory have the fingerprints of those on the device. */
    uint64_t offloaded[4], beside[4];
    if (trial_numbers("auto", 1, "none", offloaded)) {
        set("optim.offload=false");
        trial_numbers("auto", 1, "none", beside);
        REQUIRE(memcmp(offloaded, beside, sizeof beside) == 0, "fingerprints of offloaded states");
    }
    options_free(&o);
}

/* Ranks on processors of two kinds need not compute the same bits: weights alone are compared. */
static inline void test_two_kinds(void **state)
{
    (void)state;
    golden_options("mla");
    set("train.micro_batch=1");
    set("train.batch_tokens=256");
    char *const text = (char *)machine_cpu(), was[256];
    snprintf(was, sizeof was, "%s", text);
    if (ranks->rank == 1) strcpy(text, "another CPU");
    REQUIRE(trial_open("cpu", 1, "fast", "1") && !t.check.gradients, "gradients are compared");
    sound = t.m.k;
    faulty = *sound;
    faulty.swiglu_backward = faulty_swiglu;
    if (ranks->rank == 1) t.m.k = &faulty;
    trial_steps(2);
    training_close(&t);
    strcpy(text, was);
    options_free(&o);
}

static inline int trial_main(int size)
{
    ranks = comm_start();
    if (ranks->size != size) return 77;
    REQUIRE(machine_start(ranks->local_rank, ranks->local_size, &why) == OK, "%s", why.text);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_faults), cmocka_unit_test(test_same_numbers),
                                       cmocka_unit_test(test_two_kinds), cmocka_unit_test(test_device)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    comm_stop(ranks);
    return failed;
}

#endif
