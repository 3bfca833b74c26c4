/* bench/overlap: how much of the communication of a step hides behind its computation, on the host. A step is
 * one of training with cut optimizer states: in backward a layer's gradient is reduced while the next layer
 * computes, in forward a layer's weights are gathered so. Buffers are a ring of two layers, so a call has the
 * time of one layer. Three ways:
 *
 *     comm    base/comm.h, whose thread makes the calls go on
 *     mpi     MPI_Ireduce_scatter_block and MPI_Iallgather, which go on only where they are waited for
 *     fenced  base/comm.h, every call waited for at once: nothing hides
 *
 * Every other step only computes, so that a busy machine slows both kinds down. With one core a rank:
 *
 *     OMP_NUM_THREADS=1 mpirun -n 2 --bind-to core build/cpu/bench/overlap comm|mpi|fenced [delay in ms]
 *
 * The delay is REMLA_COMM_DELAY_MS, of every call. Prints the best times of all steps in ms: of a step that
 * computes, of one that communicates too, and processor time of the latter. */
#include "base/clock.h"
#include "base/comm.h"
#include "base/memory.h"
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LAYERS = 24, STEPS = 6, FLOATS = 2 << 20 /* of a layer */, WORK = 1 << 12 };
static const double LAYER_SECONDS = 0.02; /* of one pass */

static int rank, size;
static const comm *c; /* NULL: MPI's own */
static bool fenced;
static float *layer[2], *shard[2];

/* ---- computing ---------------------------------------------------------------------------------------- */

static float work[WORK];

/* Not to be left out, made shorter, or compiled twice: each round needs the last one's results. */
static void __attribute__((noinline)) compute(int64_t rounds)
{
    for (int64_t i = 0; i < rounds; i++) {
        for (int e = 0; e < WORK; e++) work[e] = work[e] * 0.999f + 0.001f;
        __asm__ volatile("" ::"r"(work) : "memory");
    }
}

static double processor_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Rounds that take a layer's time on a core of one's own. */
static int64_t calibrate(void)
{
    enum { ROUNDS = 20000 };
    double best = 1e9;
    for (int i = 0; i < 5; i++) {
        const double began = processor_seconds();
        compute(ROUNDS);
        const double taken = processor_seconds() - began;
        best = taken < best ? taken : best;
    }
    return (int64_t)(LAYER_SECONDS / best * ROUNDS);
}

/* ---- calls, by either way ----------------------------------------------------------------------------- */

typedef struct call {
    comm_ticket ticket;
    MPI_Request request;
} call;

static void wait_for(call *x)
{
    if (c)
        comm_wait(c, x->ticket);
    else
        MPI_Wait(&x->request, MPI_STATUS_IGNORE);
}

static call reduce(int b)
{
    const reduction how = {.sent = F32};
    call x = {{0}, MPI_REQUEST_NULL};
    if (c)
        x.ticket = comm_reduce_scatter(c, shard[b], layer[b], FLOATS / size, &how);
    else
        MPI_Ireduce_scatter_block(layer[b], shard[b], FLOATS / size, MPI_FLOAT, MPI_SUM, MPI_COMM_WORLD,
                                  &x.request);
    if (fenced) wait_for(&x);
    return x;
}

static call gather(int b)
{
    call x = {{0}, MPI_REQUEST_NULL};
    if (c)
        x.ticket = comm_all_gather(c, layer[b], shard[b], FLOATS / size * (int64_t)sizeof(float));
    else
        MPI_Iallgather(shard[b], FLOATS / size, MPI_FLOAT, layer[b], FLOATS / size, MPI_FLOAT, MPI_COMM_WORLD,
                       &x.request);
    if (fenced) wait_for(&x);
    return x;
}

/* Ranks begin together, or one would compute while the core's other half has nothing to do. */
static double together(void)
{
    int64_t nothing = 0;
    if (c)
        comm_max_i64(c, &nothing, 1);
    else
        MPI_Barrier(MPI_COMM_WORLD);
    return clock_seconds();
}

/* ---- a step ------------------------------------------------------------------------------------------- */

static void step(int64_t rounds, bool communicates)
{
    call on[2] = {{{0}, MPI_REQUEST_NULL}, {{0}, MPI_REQUEST_NULL}};
    if (communicates) on[0] = gather(0);
    for (int l = 0; l < LAYERS; l++) { /* forward: this layer has to be here, the next one sets out */
        if (communicates) wait_for(&on[l % 2]);
        if (communicates && l + 1 < LAYERS) on[(l + 1) % 2] = gather((l + 1) % 2);
        compute(rounds);
    }
    on[0] = on[1] = (call){{0}, MPI_REQUEST_NULL};
    for (int l = 0; l < LAYERS; l++) { /* backward takes twice as long, and leaves a gradient */
        if (communicates) wait_for(&on[l % 2]);
        compute(2 * rounds);
        if (communicates) on[l % 2] = reduce(l % 2);
    }
    for (int b = 0; b < 2 && communicates; b++) wait_for(&on[b]);
}

static double least(double best, double seconds) { return seconds < best ? seconds : best; }

int main(int argc, char **argv)
{
    const char *const way = argc > 1 ? argv[1] : "comm";
    if (argc > 2) setenv("REMLA_COMM_DELAY_MS", argv[2], 1);
    fenced = !strcmp(way, "fenced");
    if (strcmp(way, "mpi") != 0) {
        c = comm_start();
        rank = c->rank;
        size = c->size;
    } else {
        MPI_Init(NULL, NULL);
        MPI_Comm_rank(MPI_COMM_WORLD, &rank);
        MPI_Comm_size(MPI_COMM_WORLD, &size);
    }
    for (int b = 0; b < 2; b++) {
        layer[b] = memory_new(FLOATS, sizeof(float), "a layer");
        shard[b] = memory_new(FLOATS / size, sizeof(float), "a shard");
    }
    together();
    const int64_t rounds = calibrate();
    double alone = 1e9, both = 1e9, processor = 1e9;
    step(rounds, true);
    for (int s = 0; s < STEPS; s++) {
        double began = together();
        step(rounds, false);
        alone = least(alone, clock_seconds() - began);
        began = together();
        const double before = processor_seconds();
        step(rounds, true);
        both = least(both, clock_seconds() - began);
        processor = least(processor, processor_seconds() - before);
    }
    if (rank == 0)
        printf("%-6s delay %3s ms x %d calls: computes %6.0f, with calls %6.0f, processor %6.0f ms\n", way,
               argc > 2 ? argv[2] : "0", 2 * LAYERS, 1000 * alone, 1000 * both, 1000 * processor);
    for (int b = 0; b < 2; b++) {
        free(layer[b]);
        free(shard[b]);
    }
    if (c)
        comm_stop(c);
    else
        MPI_Finalize();
    return 0;
}
