/* Jobs of a few ranks in which one is lost, late, or only looks so. Under mpirun this program is a rank of
 * one; all run side by side, because most of their time is waiting. */
#include "base/clock.h"
#include "base/comm.h"
#include "tests/support/check.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *self;
static bool skipped;

/* ---- a rank ------------------------------------------------------------------------------------------- */

static const comm *world;

static void rest(double seconds)
{
    const double until = clock_seconds() + seconds;
    while (clock_seconds() < until) usleep(20000);
}

/* A call with a ticket, which the limit is for. */
static void sum_of_step(void)
{
    float full[64] = {0};
    comm_wait(world,
              comm_reduce_scatter(world, full + 32 * world->rank, full, 32, &(reduction){.sent = F32}));
}

static void one_stops_in_a_step(void)
{
    comm_limit(world, 1);
    if (world->rank == 1) raise(SIGSTOP);
    sum_of_step();
}

static void one_is_slow_in_a_step(void)
{
    comm_limit(world, 1);
    if (world->rank == 1) rest(30);
    sum_of_step();
}

static void one_stops_elsewhere(void)
{
    message why;
    comm_limit(world, 1);
    comm_limit(world, 0); /* heartbeats keep theirs */
    if (world->rank == 1) raise(SIGSTOP);
    comm_agree(world, OK, &why);
}

static void one_stops_unexpected(void)
{
    comm_limit(world, 1);
    if (world->rank == 1) raise(SIGSTOP);
    rest(30); /* nobody waits for it */
}

static void one_writes_for_long(void)
{
    message why;
    comm_limit(world, 1);
    if (world->rank == 0) rest(4);
    comm_agree(world, OK, &why);
    comm_limit(world, 0);
    if (world->rank == 0) rest(1.5);
    sum_of_step();
}

static void one_ends_early(void)
{
    comm_limit(world, 1);
    if (world->rank == 1) rest(4);
}

/* mpirun names the rank, within two seconds or so. */
static void one_is_killed(void)
{
    comm_limit(world, 20);
    if (world->rank == 1) raise(SIGKILL);
    sum_of_step();
}

/* Both are stopped for longer than any limit, as a batch system does it; the one that goes on first does not
 * take the other for lost. */
static void all_are_suspended(void)
{
    int64_t pid[2] = {0};
    char command[100];
    pid[world->rank] = getpid();
    comm_max_i64(world, pid, 2);
    comm_limit(world, 3);
    if (world->rank == 0) {
        snprintf(command, sizeof command,
                 "(sleep 0.5; kill -STOP %d %d; sleep 4; kill -CONT %d; sleep 0.2; kill -CONT %d)&",
                 (int)pid[0], (int)pid[1], (int)pid[0], (int)pid[1]);
        if (system(command) != 0) exit(99);
    }
    const double began = clock_seconds();
    for (int64_t more = 1; more; comm_max_i64(world, &more, 1)) {
        sum_of_step();
        usleep(10000);
        more = clock_seconds() < began + 5.5;
    }
}

/* A rank that has nothing to say needs no processor. */
static void all_are_idle(void)
{
    const clock_t before = clock();
    rest(2);
    const double used = (double)(clock() - before) / CLOCKS_PER_SEC;
    REQUIRE(used < 0.1, "%g s of processor time in 2 s without work", used);
}

/* Rank 0 dies by itself; rank 1, which waits for it, has nothing to say. */
static void one_dies(void)
{
    comm_limit(world, 1);
    if (world->rank == 0) die(ERR_INPUT, "the disk burns");
    sum_of_step();
}

/* All that wait for it name it: not one that is late itself, because it waits too. */
static void one_stops_in_a_gather(void)
{
    enum { PART = 1 << 20 }; /* more than is sent before it is asked for */
    char *const all = calloc((size_t)world->size, PART);
    REQUIRE(all, "memory");
    comm_limit(world, 1);
    if (world->rank == 2) raise(SIGSTOP);
    comm_wait(world, comm_all_gather(world, all, all + (int64_t)world->rank * PART, PART));
}

/* `says`: how every sentence of a rank goes on behind place and call, in which %s is the host; NULL: there is
 * none. */
static const struct way {
    const char *name;
    void (*run)(void);
    int ranks, code; /* -1: mpirun's */
    const char *says;
} ways[] = {
    {"stops_in_a_step", one_stops_in_a_step, 2, ERR_DEVICE,
     "reduce_scatter (call 1): rank 1 on %s has not come within 1 s (parallel.timeout)\n"},
    {"stops_in_a_gather", one_stops_in_a_gather, 6, ERR_DEVICE,
     "all_gather (call 1): rank 2 on %s has not come within 1 s (parallel.timeout)\n"},
    {"slow_in_a_step", one_is_slow_in_a_step, 2, ERR_DEVICE,
     "reduce_scatter (call 1): rank 1 on %s has not come within 1 s (parallel.timeout)\n"},
    {"stops_elsewhere", one_stops_elsewhere, 2, ERR_DEVICE, "max_i64: rank 1 on %s has been silent for "},
    {"stops_unexpected", one_stops_unexpected, 2, ERR_DEVICE, "rank 1 on %s has been silent for "},
    {"writes_for_long", one_writes_for_long, 2, OK, NULL},
    {"ends_early", one_ends_early, 2, OK, NULL},
    {"killed", one_is_killed, 2, -1, NULL},
    {"suspended", all_are_suspended, 2, OK, NULL},
    {"idle", all_are_idle, 2, OK, NULL},
    {"dies", one_dies, 2, ERR_INPUT, "the disk burns\n"},
};
enum { WAYS = sizeof ways / sizeof *ways };

static int rank_main(const char *name)
{
    world = comm_start();
    die_place("step %d", 3);
    for (int i = 0; i < WAYS; i++)
        if (!strcmp(ways[i].name, name)) ways[i].run();
    comm_stop(world);
    return 0;
}

/* ---- the test ----------------------------------------------------------------------------------------- */

/* Returns how many sentences of ranks there are; each has to go on like `want`. */
static int check_sentences(const struct way *w, const char *out, const char *want)
{
    int sentences = 0, rank, length;
    for (const char *p = out; (p = strstr(p, "remla: ")); sentences++) {
        length = 0;
        if (sscanf(p, "remla: rank %d%n", &rank, &length) != 1 ||
            strncmp(p + length, want, strlen(want)) != 0)
            fail_msg("%s: expected '%s' in all sentences of:\n%s", w->name, want, out);
        p += length;
    }
    return sentences;
}

static void check_job(const struct way *w, FILE *job, double began)
{
    char out[8192], says[200] = "", want[500], host[64];
    out[fread(out, 1, sizeof out - 1, job)] = 0;
    const int result = pclose(job);
    const double taken = clock_seconds() - began;
    assert_int_equal(gethostname(host, sizeof host), 0);
    if (!WIFEXITED(result) || (w->code >= 0 ? WEXITSTATUS(result) != w->code : WEXITSTATUS(result) == 0))
        fail_msg("%s: status %#x, expected exit code %d:\n%s", w->name, (unsigned)result, w->code, out);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    if (w->says) snprintf(says, sizeof says, w->says, host);
#pragma GCC diagnostic pop
    snprintf(want, sizeof want, " on %s, step 3: %s", host, says);
    const int sentences = check_sentences(w, out, want);
    if (w->says ? sentences < 1 || sentences >= w->ranks : sentences > 0)
        fail_msg("%s: %d sentences of %d ranks in:\n%s", w->name, sentences, w->ranks, out);
    if (taken > 25) fail_msg("%s: took %.0f s:\n%s", w->name, taken, out);
}

static void test_jobs(void **state)
{
    (void)state;
    FILE *job[WAYS];
    if (system("mpirun --version >/dev/null 2>&1") != 0) {
        skipped = true;
        skip();
    }
    const double began = clock_seconds();
    for (int i = 0; i < WAYS; i++) {
        char command[600];
        /* Open MPI never frees what it gets at start; the leak checker must not mind. */
        snprintf(command, sizeof command,
                 "ASAN_OPTIONS=detect_leaks=0 mpirun --oversubscribe --bind-to none -n %d %s %s 2>&1",
                 ways[i].ranks, self, ways[i].name);
        job[i] = popen(command, "r");
        assert_non_null(job[i]);
    }
    for (int i = 0; i < WAYS; i++) check_job(&ways[i], job[i], began);
}

int main(int argc, char **argv)
{
    self = argv[0];
    if (argc > 1) return rank_main(argv[1]);
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_jobs)};
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return skipped && !failed ? 77 : failed;
}
