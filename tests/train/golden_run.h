/* A training run on the models and tokens of tests/golden, for tests that hold it against its plan. One at a
 * time. */
#ifndef REMLA_TESTS_GOLDEN_RUN_H
#define REMLA_TESTS_GOLDEN_RUN_H
#include "base/file.h"
#include "tests/support/scratch.h"
#include "train/plan.h"
#include "train/training.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static message why;
static options o;
static training t;

static inline void good(status s)
{
    if (s != OK) fail_msg("%s", why.text);
}

/* Sets an option: "train.micro_batch=2". */
static inline void set(const char *format, ...) __attribute__((format(printf, 1, 2)));
static inline void set(const char *format, ...)
{
    char text[PATH_BYTES + 64];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    good(options_set(&o, text, &why));
}

/* "mla" or "gqa". */
static inline void set_golden_model(const char *name)
{
    const char *source = getenv("REMLA_SOURCE");
    set("model.path=%s/tests/golden/%s", source ? source : ".", name);
}

/* Options for a run on the CPU: sequences of 32 tokens; the batch is the test's to set. options_free ends
 * them. */
static inline void golden_options(const char *name)
{
    const char *source = getenv("REMLA_SOURCE");
    options_init(&o);
    set_golden_model(name);
    set("data.train=%s/tests/golden/train.ds", source ? source : ".");
    set("device.kind=cpu");
    set("train.seq_len=32");
}

/* Ends the run and its options. */
static inline void golden_close(void)
{
    training_close(&t);
    options_free(&o);
}

/* Makes the folder of a run that nobody had before, and tells all ranks its path (PATH_BYTES). */
static inline void golden_new_run(char *run, const comm *c)
{
    char name[32];
    static int number;
    snprintf(name, sizeof name, "run-%d", number++);
    if (c->rank == 0) {
        snprintf(run, PATH_BYTES, "%s", scratch_path(name));
        good(checkpoint_clean(run, &why));
    }
    comm_broadcast(c, run, PATH_BYTES, 0);
}

/* The plan of these options; the run is open. */
static inline plan golden_plan(const char *machine, int ranks)
{
    plan p;
    plan_run r = {.o = &o, .d = &t.config.d, .ranks = ranks, .steps = 10};
    good(plan_machine_find(&r.machine, machine, ranks, &why));
    plan_make(&p, &r);
    return p;
}

#endif
