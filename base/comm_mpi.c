/* Ranks over MPI, in host memory. Calls that move much data are written here on point-to-point messages
 * instead of MPI's collectives, for three reasons: sums run in rank order whatever algorithm the library
 * would pick, memory is bounded, and no count exceeds MPI's int.
 *
 * reduce_scatter cuts every rank's shard into chunks. For one chunk with 3 ranks, seen by rank 1:
 *
 *     rank 0 --- its part of shard 1 --->  received[0]
 *     own memory, nothing is sent          part[1]       out = part[0] + part[1] + part[2], in this order
 *     rank 2 --- its part of shard 1 --->  received[2]
 *
 * and rank 1 sends the same chunk of shards 0 and 2 to their owners. Two exchanges alternate: while one is
 * added up, the messages of the next chunk travel. */
#include "base/bf16.h"
#include "base/comm_calls.h"
#include "base/comm_sums.h"
#include "base/memory.h"
#include <limits.h>
#include <mpi.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static void checked(int code, const char *call)
{
    if (code == MPI_SUCCESS) return;
    char text[MPI_MAX_ERROR_STRING];
    int length = 0;
    MPI_Error_string(code, text, &length);
    die(ERR_DEVICE, "%s: %.*s", call, length, text);
}
#define MPI_OK(call) checked(call, #call)

enum { MESSAGE_BYTES = 1 << 30 };

static void broadcast(const comm *c, void *bytes, int64_t count, int root)
{
    (void)c;
    for (int64_t done = 0; done < count; done += MESSAGE_BYTES) {
        const int n = (int)(count - done < MESSAGE_BYTES ? count - done : MESSAGE_BYTES);
        MPI_OK(MPI_Bcast((char *)bytes + done, n, MPI_BYTE, root, MPI_COMM_WORLD));
    }
}

static void max_i64(const comm *c, int64_t *values, int64_t count)
{
    (void)c;
    for (int64_t done = 0; done < count; done += MESSAGE_BYTES / 8) {
        const int n = (int)(count - done < MESSAGE_BYTES / 8 ? count - done : MESSAGE_BYTES / 8);
        MPI_OK(MPI_Allreduce(MPI_IN_PLACE, values + done, n, MPI_INT64_T, MPI_MAX, MPI_COMM_WORLD));
    }
}

static int64_t sent; /* bytes */

/* In step s every rank sends its part to the rank s places on and receives from the rank s places back. Each
 * part crosses the network once per receiver, which is the minimum, and no rank receives two parts at once.
 */
static void all_gather(const comm *c, void *all, const void *part, int64_t bytes)
{
    char *own = (char *)all + c->rank * bytes;
    if (part != own) memcpy(own, part, (size_t)bytes);
    sent += (c->size - 1) * bytes;
    for (int step = 1; step < c->size; step++) {
        const int to = (c->rank + step) % c->size, source = (c->rank - step + c->size) % c->size;
        char *theirs = (char *)all + source * bytes;
        for (int64_t done = 0; done < bytes; done += MESSAGE_BYTES) {
            const int n = (int)(bytes - done < MESSAGE_BYTES ? bytes - done : MESSAGE_BYTES);
            MPI_OK(MPI_Sendrecv(own + done, n, MPI_BYTE, to, 0, theirs + done, n, MPI_BYTE, source, 0,
                                MPI_COMM_WORLD, MPI_STATUS_IGNORE));
        }
    }
}

/* ---- sums --------------------------------------------------------------------------------------------- */

/* The messages of one chunk: this rank sends each other rank its part of that rank's shard, and receives the
 * others' parts of its own shard. There are two, so that one travels while the other is added up. */
typedef struct exchange {
    MPI_Request *request; /* (2*size), MPI_REQUEST_NULL at the rank itself */
    float *received;      /* (size, chunk) */
    const void **part;    /* (size): each rank's contribution; our own lies in the caller's memory */
    int64_t from, n;
} exchange;

static exchange exchanges[2];
static int64_t chunk; /* floats */

/* Chooses the chunk and allocates. 256 KiB a message is enough for full speed; with many ranks it shrinks to
 * 64 KiB, so that 256 ranks need no more than 32 MiB. */
static void exchanges_make(int size)
{
    enum { MOST = 1 << 16, LEAST = 1 << 14, ALL = 1 << 22 };
    chunk = ALL / size > MOST ? MOST : ALL / size < LEAST ? LEAST : ALL / size;
    for (exchange *x = exchanges; x < exchanges + 2; x++) {
        x->request = memory_new(2 * size, sizeof *x->request, "the exchange of gradients");
        x->received = memory_new(size * chunk, sizeof *x->received, "the exchange of gradients");
        x->part = memory_new(size, sizeof *x->part, "the exchange of gradients");
    }
}

static void exchange_start(exchange *x, const comm *c, const float *full, int64_t shard, int64_t from)
{
    x->from = from;
    x->n = shard - from < chunk ? shard - from : chunk;
    x->request[0] = x->request[1] = MPI_REQUEST_NULL;
    x->part[c->rank] = full + c->rank * shard + from;
    for (int step = 1; step < c->size; step++) {
        const int to = (c->rank + step) % c->size, source = (c->rank - step + c->size) % c->size,
                  n = (int)x->n;
        float *theirs = x->received + source * chunk;
        x->part[source] = theirs;
        MPI_OK(MPI_Irecv(theirs, n, MPI_FLOAT, source, 0, MPI_COMM_WORLD, &x->request[2 * step]));
        MPI_OK(MPI_Isend(full + to * shard + from, n, MPI_FLOAT, to, 0, MPI_COMM_WORLD,
                         &x->request[2 * step + 1]));
        sent += n * (int64_t)sizeof(float);
    }
}

static void reduce_scatter(const comm *c, float *out, float *full, int64_t shard, const reduction *how)
{
    const reduction order = {.sent = F32, .pairwise = how->pairwise};
    if (how->sent == BF16)
        for (int64_t i = 0; i < c->size * shard; i++) full[i] = bf16_float(bf16_of(full[i]));
    exchange *now = &exchanges[0], *next = &exchanges[1];
    if (shard > 0) exchange_start(now, c, full, shard, 0);
    for (int64_t from = 0; from < shard; from += chunk) {
        if (from + chunk < shard) exchange_start(next, c, full, shard, from + chunk);
        MPI_OK(MPI_Waitall(2 * c->size, now->request, MPI_STATUSES_IGNORE));
        comm_sums_f32(out + now->from, now->part, c->size, now->n, &order);
        exchange *done = now;
        now = next;
        next = done;
    }
}

/* ---- start and stop ----------------------------------------------------------------------------------- */

static void abort_job(int code) { MPI_Abort(MPI_COMM_WORLD, code); }

static int64_t bytes_sent(const comm *c)
{
    (void)c;
    return sent;
}

static void stop(void)
{
    for (exchange *x = exchanges; x < exchanges + 2; x++) {
        free(x->request);
        free(x->received);
        free(x->part);
        *x = (exchange){0};
    }
    MPI_OK(MPI_Finalize());
}

/* Reads from the environment how many processes the launcher started (0: unknown): Open MPI's mpirun, the PMI
 * of Slurm or of another MPI, Slurm without PMI. Returns the variable that says so, NULL without a launcher.
 */
static const char *launched(long *processes)
{
    static const char *const counts[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "SLURM_STEP_NUM_TASKS"};
    for (int i = 0; i < 3; i++) {
        const char *text = getenv(counts[i]);
        *processes = text ? strtol(text, NULL, 10) : 0;
        if (*processes > 1 || (text && i < 2))
            return counts[i]; /* a shell inside Slurm is a step of one task */
    }
    return getenv("PMI_RANK") ? "PMI_RANK" : getenv("PMIX_RANK") ? "PMIX_RANK" : NULL;
}

static pid_t launcher;

/* The kernel also sends the signal when only the thread that forked this process ends; then the parent is the
 * same as before, and nothing is to be done. */
static void launcher_ended(int number)
{
    (void)number;
    if (getppid() != launcher) _exit(128 + SIGKILL);
}

static void end_with_launcher(void)
{
    launcher = getppid();
    struct sigaction action = {.sa_handler = launcher_ended, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGRTMIN, &action, NULL);
    prctl(PR_SET_PDEATHSIG, SIGRTMIN);
    launcher_ended(0); /* the launcher may have ended before prctl was called */
}

const comm *comm_mpi_start(void)
{
    static const struct comm_calls calls = {.broadcast = broadcast,
                                            .max_i64 = max_i64,
                                            .all_gather = all_gather,
                                            .reduce_scatter = reduce_scatter,
                                            .bytes_sent = bytes_sent,
                                            .stop = stop};
    static comm world;
    long processes = 0;
    const char *variable = launched(&processes);
    if (!variable) return NULL;
    world.mpirun = !strcmp(variable, "OMPI_COMM_WORLD_SIZE");
    if (world.mpirun) end_with_launcher();
    int provided;
    MPI_Comm together;
    MPI_OK(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided));
    MPI_OK(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN));
    MPI_OK(MPI_Comm_rank(MPI_COMM_WORLD, &world.rank));
    MPI_OK(MPI_Comm_size(MPI_COMM_WORLD, &world.size));
    char host[MPI_MAX_PROCESSOR_NAME];
    int length;
    MPI_OK(MPI_Get_processor_name(host, &length));
    die_hook(world.rank, host, abort_job);
    if (provided < MPI_THREAD_FUNNELED)
        die(ERR_DEVICE, "this MPI library cannot be used by a program with threads");
    /* Otherwise each process would believe to be alone and do the whole job. */
    if (processes && processes != world.size)
        die(ERR_DEVICE,
            "%s says %ld processes, but MPI found %d: use the mpirun of this program's MPI library, or srun "
            "with its "
            "--mpi=pmix",
            variable, processes, world.size);
    MPI_OK(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, world.rank, MPI_INFO_NULL, &together));
    MPI_OK(MPI_Comm_rank(together, &world.local_rank));
    MPI_OK(MPI_Comm_size(together, &world.local_size));
    MPI_OK(MPI_Comm_free(&together));
    if (world.size > 1) exchanges_make(world.size);
    world.calls = &calls;
    return &world;
}
