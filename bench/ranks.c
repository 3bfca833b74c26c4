/* ranks CONFIG.yaml STEPS [section.key=value ...], alone or under mpirun: steps of training as `remla train`
 * takes them, without checkpoints and validation. Prints one line, in CSV:
 *
 *     ranks, parallel.zero, exact or fast, f32 or bf16, seconds, processor, main, calls, layer
 *
 * Medians over STEPS steps, after one that touches all memory: seconds of a step, processor seconds of all
 * ranks in it, and those of them that the threads that compute have taken (with one thread a rank; the others
 * are the communicator's and the loader's), and calls of the communicator in a step. On a machine with other
 * work, processor seconds say more. */
#include "base/clock.h"
#include "base/comm.h"
#include "base/log.h"
#include "base/machine.h"
#include "base/memory.h"
#include "bench/median.h"
#include "train/training.h"
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

static double processor(int who)
{
    struct rusage u;
    getrusage(who, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void good(status s, const message *why)
{
    if (s != OK) die(s, "%s", why->text);
}

/* Takes a step; the ranks begin and end it together. all, main: processor seconds of this rank. Nothing here
 * waits for calls that training has queued: they may last into the next step. */
static double step(training *t, double *all, double *own)
{
    int64_t meet = 0;
    step_result r;
    message why;
    comm_max_i64(t->c, &meet, 1);
    const double start = clock_seconds(), before[] = {processor(RUSAGE_SELF), processor(RUSAGE_THREAD)};
    good(training_step(t, &r, &why), &why);
    comm_max_i64(t->c, &meet, 1);
    *all = processor(RUSAGE_SELF) - before[0];
    *own = processor(RUSAGE_THREAD) - before[1];
    return clock_seconds() - start;
}

/* Sums over the ranks; the number of the call that does it. */
static uint64_t sum(const comm *c, double *values, int64_t count)
{
    const comm_ticket summed = comm_sum_f64(c, values, count);
    comm_wait(c, summed);
    return summed.call;
}

/* The forward pass of a layer is a third of what it takes. */
static double layer_ms(const training *t, double seconds)
{
    const dims *d = &t->config.d;
    const double share = model_layer_flops_per_token(d, t->acts.T) / model_flops_per_token(d, t->acts.T),
                 micro_batches = (double)(t->sequences / t->c->size / t->acts.B);
    return 1e3 * seconds * share / (3 * micro_batches);
}

int main(int argc, char **argv)
{
    const comm *c = comm_start();
    message why;
    options o;
    const long steps = argc > 2 ? strtol(argv[2], NULL, 10) : 0;
    if (steps < 1) die(ERR_USAGE, "usage: ranks CONFIG.yaml STEPS [section.key=value ...]");
    log_start(c->rank, true);
    options_init(&o);
    good(options_read_yaml(&o, argv[1], &why), &why);
    for (int i = 3; i < argc; i++) good(options_set(&o, argv[i], &why), &why);
    good(machine_start(c->local_rank, c->local_size, &why), &why);

    training t;
    good(training_open(&t, &o, c, &why), &why);
    double *seconds = memory_new(steps, sizeof *seconds, "times"),
           *all = memory_new(steps, sizeof *all, "times"), *own = memory_new(steps, sizeof *own, "times");
    step(&t, all, own);
    const uint64_t before = sum(c, all, 1);
    for (long i = 0; i < steps; i++) seconds[i] = step(&t, &all[i], &own[i]);
    const uint64_t calls = (sum(c, all, steps) - before - 1) / (uint64_t)steps;
    sum(c, own, steps);
    const double typical = median(seconds, steps);
    if (c->rank == 0)
        printf("%d,%lld,%s,%s,%.4g,%.4g,%.4g,%llu,%.4g\n", c->size, (long long)o.parallel_zero,
               o.parallel_sum == OPTION_parallel_sum_exact ? "exact" : "fast",
               o.parallel_reduce_type == OPTION_parallel_reduce_type_bf16 ? "bf16" : "f32", typical,
               median(all, steps), median(own, steps), c->size > 1 ? (unsigned long long)calls : 0,
               layer_ms(&t, typical));
    training_close(&t);
    options_free(&o);
    free(seconds);
    free(all);
    free(own);
    comm_stop(c);
    return 0;
}
