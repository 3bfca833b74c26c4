/* The thread that makes the MPI calls. Callers put calls into a ring and take the call's number as a ticket;
 * the thread does them in order:
 *
 *     main     put 7 | put 8 | compute ................. | wait 7 | compute ... | wait 8
 *     thread         | 7: post, test, nap, test, add ... done | 8: post, test, nap ... done
 *
 * A caller that wants its result at once (comm_mpi_now: little data, often a barrier) does not wait for the
 * queue, in which whole models may stand: while a call of the queue waits, the thread looks after the other.
 *
 * MPI moves most data only while it is called, so the thread polls. It must not take the core from the thread
 * that computes, where a rank has one core: what lasts is asked for at growing intervals, the shorter while
 * somebody waits for the result. Without a call it looks ten times a second for heartbeats. */
#include "base/clock.h"
#include "base/comm_mpi.h"
#include "base/memory.h"
#include "base/thread.h"
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { QUEUE = 256 };

static const double IDLE_NAP = 0.1; /* seconds */

static pthread_t thread;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t news,           /* for the thread: a call, or somebody who waits */
    ended = PTHREAD_COND_INITIALIZER; /* for callers: a call is done */
static comm_mpi_call queue[QUEUE];    /* call n is at n % QUEUE */
static uint64_t put, done;            /* calls so far */
static int waiting;                   /* callers */
static double waited;                 /* seconds, by callers so far */
static double waits_since;            /* one of them, now; 0: none */
static double limit;
static comm_mpi_call at_once; /* beside the queue */
static bool at_once_put;
static uint64_t at_once_done; /* calls so far */
static double at_once_since;

/* The thread's own. */
static int ranks;
static MPI_Request at_once_request = MPI_REQUEST_NULL;
static int64_t at_once_started; /* pieces */
static bool farewell;
static __thread const comm_mpi_call *running;
static __thread uint64_t running_number;

/* ---- for callers -------------------------------------------------------------------------------------- */

/* Sleeps until *reached, which the thread sets, is at least `wanted`. With the lock. */
static void wait_until(const uint64_t *reached, uint64_t wanted)
{
    if (*reached >= wanted) return;
    const double began = clock_seconds();
    waiting++;
    waits_since = began;
    pthread_cond_signal(&news);
    while (*reached < wanted) pthread_cond_wait(&ended, &lock);
    waiting--;
    waits_since = 0;
    waited += clock_seconds() - began;
}

void comm_mpi_queue(comm_mpi_call call)
{
    pthread_mutex_lock(&lock);
    if (put - done == QUEUE) wait_until(&done, done + 1);
    call.limit = call.timed ? limit : 0;
    queue[++put % QUEUE] = call;
    pthread_cond_signal(&news);
    pthread_mutex_unlock(&lock);
}

comm_ticket comm_mpi_ticket(const comm *c)
{
    (void)c;
    pthread_mutex_lock(&lock);
    const comm_ticket last = {put};
    pthread_mutex_unlock(&lock);
    return last;
}

void comm_mpi_done(const comm *c, comm_ticket ticket)
{
    (void)c;
    pthread_mutex_lock(&lock);
    REQUIRE(ticket.call <= put, "a wait for call %llu of %llu", (unsigned long long)ticket.call,
            (unsigned long long)put);
    wait_until(&done, ticket.call);
    pthread_mutex_unlock(&lock);
}

void comm_mpi_now(comm_mpi_call call)
{
    pthread_mutex_lock(&lock);
    REQUIRE(!at_once_put, "%s while another thread waits for %s", call.name, at_once.name);
    at_once = call;
    at_once_since = clock_seconds();
    at_once_put = true;
    wait_until(&at_once_done, at_once_done + 1);
    pthread_mutex_unlock(&lock);
}

double comm_mpi_seconds_waited(const comm *c)
{
    (void)c;
    pthread_mutex_lock(&lock);
    const double seconds = waited + (waits_since > 0 ? clock_seconds() - waits_since : 0);
    pthread_mutex_unlock(&lock);
    return seconds;
}

void comm_mpi_limit(const comm *c, double seconds)
{
    (void)c;
    pthread_mutex_lock(&lock);
    limit = seconds;
    pthread_mutex_unlock(&lock);
    if (seconds > 0) comm_mpi_heartbeat_limit(seconds);
}

/* ---- on the thread ------------------------------------------------------------------------------------ */

/* Sleeps until there is news, or that long. With the lock. */
static void sleep_on_news(double seconds) { thread_condition_wait(&news, &lock, seconds); }

/* Between two looks at something that has not happened for that long. */
static void back_off(double idle)
{
    pthread_mutex_lock(&lock);
    const double spin = waiting ? 200e-6 : 20e-6, longest = waiting ? 100e-6 : 1e-3;
    if (idle >= spin) sleep_on_news(idle / 4 < longest ? idle / 4 : longest);
    pthread_mutex_unlock(&lock);
    if (idle < spin) sched_yield();
}

static bool at_once_waits(void)
{
    pthread_mutex_lock(&lock);
    const bool waits = at_once_put;
    pthread_mutex_unlock(&lock);
    return waits;
}

/* True when all its pieces are done. */
static bool at_once_goes_on(void)
{
    for (int arrived = 1;;) {
        if (at_once_request != MPI_REQUEST_NULL)
            MPI_OK(MPI_Test(&at_once_request, &arrived, MPI_STATUS_IGNORE));
        if (!arrived) return false;
        if (at_once_started == at_once.pieces) return true;
        at_once.start(&at_once, at_once_started++, &at_once_request);
    }
}

/* Starts or continues the call beside the queue, if there is one. */
static void look_after_at_once(void)
{
    const comm_mpi_call *const queued = running;
    const uint64_t number = running_number;
    if (!at_once_waits()) return;
    running = &at_once;
    running_number = 0;
    if (at_once_goes_on()) {
        at_once_started = 0;
        pthread_mutex_lock(&lock);
        at_once_put = false;
        at_once_done++;
        pthread_cond_broadcast(&ended);
        pthread_mutex_unlock(&lock);
    }
    running = queued;
    running_number = number;
}

/* Without a call of the queue. With the lock, which is open meanwhile. */
static void idle(void)
{
    if (!at_once_put) sleep_on_news(IDLE_NAP);
    pthread_mutex_unlock(&lock);
    const double now = clock_seconds();
    running = at_once_waits() ? &at_once : NULL; /* who is silent is missed in it */
    running_number = 0;
    comm_mpi_heartbeat(now);
    running = NULL;
    look_after_at_once();
    if (at_once_waits()) back_off(now - at_once_since);
    pthread_mutex_lock(&lock);
}

void comm_mpi_pause(double seconds)
{
    const double until = clock_seconds() + seconds;
    for (double now; (now = clock_seconds()) < until;) {
        comm_mpi_heartbeat(now);
        look_after_at_once();
        if (at_once_waits()) {
            back_off(now - at_once_since);
            continue;
        }
        pthread_mutex_lock(&lock);
        sleep_on_news(until - now < IDLE_NAP ? until - now : IDLE_NAP);
        pthread_mutex_unlock(&lock);
    }
}

const char *comm_mpi_running(char *buffer, size_t bytes)
{
    *buffer = '\0';
    if (running && !running_number)
        snprintf(buffer, bytes, "%s: ", running->name);
    else if (running)
        snprintf(buffer, bytes, "%s (call %llu): ", running->name, (unsigned long long)running_number);
    return buffer;
}

void comm_mpi_checked(int code, const char *call)
{
    char text[MPI_MAX_ERROR_STRING], where[80];
    int length = 0;
    if (code == MPI_SUCCESS) return;
    if (running) sleep(2); /* another rank may have ended, whose own words or the launcher's tell more */
    MPI_Error_string(code, text, &length);
    die(ERR_DEVICE, "%s%s: %.*s", comm_mpi_running(where, sizeof where), call, length, text);
}

static bool is_done(MPI_Request request)
{
    int flag = 0;
    MPI_Request_get_status(request, &flag, MPI_STATUS_IGNORE);
    return flag;
}

/* Stops the job, naming the ranks with which messages are under way. */
static void late(const MPI_Request *request, double seconds)
{
    enum { NAMED = 8 };
    char names[1024] = "", where[80];
    size_t used = 0;
    int count = 0;
    for (int r = 0; r < ranks; r++) {
        if (is_done(request[2 * r]) && is_done(request[2 * r + 1])) continue;
        if (count++ < NAMED)
            used += (size_t)snprintf(names + used, sizeof names - used, "%srank %d on %s", used ? ", " : "",
                                     r, comm_mpi_host(r));
    }
    if (count > NAMED) snprintf(names + used, sizeof names - used, " and %d more", count - NAMED);
    die(ERR_DEVICE, "%s%s %s not come within %.0f s (parallel.timeout)",
        comm_mpi_running(where, sizeof where), names, count == 1 ? "has" : "have", seconds);
}

void comm_mpi_wait_ranks(MPI_Request *request)
{
    double began = clock_seconds();
    for (int arrived = 0;;) {
        MPI_OK(MPI_Testall(2 * ranks, request, &arrived, MPI_STATUSES_IGNORE));
        if (arrived) return;
        const double now = clock_seconds();
        if (comm_mpi_heartbeat(now)) began = now;
        if (running->limit > 0 && now - began > running->limit) late(request, running->limit);
        look_after_at_once();
        back_off(now - began);
    }
}

/* The last call: from here on this rank may be silent. */
static void leave(const comm_mpi_call *call)
{
    (void)call;
    comm_mpi_heartbeat_leave();
    while (!comm_mpi_heartbeat_left()) comm_mpi_pause(IDLE_NAP / 10);
    farewell = true;
}

/* Takes the next call out of the queue, where its place is free only when it is done. */
static const comm_mpi_call *next_call(void)
{
    pthread_mutex_lock(&lock);
    while (put == done) idle();
    running_number = done + 1;
    pthread_mutex_unlock(&lock);
    return &queue[running_number % QUEUE];
}

static void *run(void *context)
{
    (void)context;
    prctl(PR_SET_TIMERSLACK, 1UL); /* short naps are short; the default adds 50 us */
    while (!farewell) {
        running = next_call();
        running->run(running);
        running = NULL;
        pthread_mutex_lock(&lock);
        done++;
        pthread_cond_broadcast(&ended);
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

void comm_mpi_thread_start(const comm *world)
{
    thread_condition_init(&news);
    ranks = world->size;
    const int error = thread_start(&thread, run, NULL);
    if (error) die(ERR_DEVICE, "no thread for communication: %s", strerror(error));
}

void comm_mpi_thread_stop(void)
{
    comm_mpi_queue((comm_mpi_call){.name = "stop", .run = leave});
    pthread_join(thread, NULL);
}
