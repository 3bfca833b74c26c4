/* Every rank sends the next one a word once a second, and listens to the one before it. The thread that makes
 * the calls does so while it waits, for whatever, so the words say that the process runs: a rank whose main
 * thread computes or writes for an hour keeps sending. The ring's direction is enough: each rank has one that
 * listens, and when neighbours are lost together, the one behind the last of them speaks.
 *
 * A process that was stopped itself (a suspended job, a laptop's lid) finds old clocks when it goes on. It
 * sees that by the time since it last looked at them, and begins them anew. */
#include "base/clock.h"
#include "base/comm_mpi.h"
#include <stdatomic.h>

enum { BEAT, BYE };

static const double PERIOD = 1, LEAST_PATIENCE = 3; /* seconds */
static const double OWN_GAP = 1;                    /* the thread looks every tenth of a second */

static MPI_Comm words;
static MPI_Request sending, hearing;
static int said, heard;
static int before, after; /* the neighbours */
static double said_at, heard_at, looked_at;
static bool leaving, neighbour_left;
static _Atomic double patience = 600;

static void listen(void) { MPI_OK(MPI_Irecv(&heard, 1, MPI_INT, before, 0, words, &hearing)); }

static void say(int word, double now)
{
    said = word;
    said_at = now;
    MPI_OK(MPI_Isend(&said, 1, MPI_INT, after, 0, words, &sending));
}

void comm_mpi_heartbeat_start(const comm *world)
{
    MPI_OK(MPI_Comm_dup(MPI_COMM_WORLD, &words));
    before = (world->rank - 1 + world->size) % world->size;
    after = (world->rank + 1) % world->size;
    said_at = heard_at = looked_at = clock_seconds();
    sending = MPI_REQUEST_NULL;
    listen();
}

void comm_mpi_heartbeat_stop(void) { MPI_OK(MPI_Comm_free(&words)); }

void comm_mpi_heartbeat_limit(double seconds)
{
    patience = seconds > LEAST_PATIENCE ? seconds : LEAST_PATIENCE;
}

static void hear(double now)
{
    int arrived = 0;
    if (neighbour_left) return;
    MPI_OK(MPI_Test(&hearing, &arrived, MPI_STATUS_IGNORE));
    if (!arrived) return;
    heard_at = now;
    if (heard == BYE)
        neighbour_left = true;
    else
        listen();
}

static bool said_all(void)
{
    int done;
    MPI_OK(MPI_Test(&sending, &done, MPI_STATUS_IGNORE));
    return done;
}

bool comm_mpi_heartbeat(double now)
{
    const bool stopped = now - looked_at > OWN_GAP;
    looked_at = now;
    if (stopped) heard_at = now;
    if (!leaving && now - said_at >= PERIOD && said_all()) say(BEAT, now);
    if (now - heard_at >= PERIOD / 2) hear(now);
    if (!neighbour_left && now - heard_at > patience) {
        char where[80];
        die(ERR_DEVICE, "%srank %d on %s has been silent for %.0f s: its process is stopped, gone or cut off",
            comm_mpi_running(where, sizeof where), before, comm_mpi_host(before), now - heard_at);
    }
    return stopped;
}

void comm_mpi_heartbeat_leave(void)
{
    leaving = true;
    MPI_OK(MPI_Wait(&sending, MPI_STATUS_IGNORE));
    say(BYE, clock_seconds());
}

bool comm_mpi_heartbeat_left(void)
{
    hear(clock_seconds());
    return said_all() && neighbour_left;
}
