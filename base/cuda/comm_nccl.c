/* Ranks over NCCL, in the memory of their devices. Calls are queued on the device's communication stream and
 * run while the next kernels compute. Two kinds of events order the streams:
 *
 *     compute        ... kernel A | kernel B | kernel C | <wait done[7]> | kernel D
 *                               \ computed                ^
 *     communication              call 7 ...... done[7] ---+   call 8 ...... done[8]
 *
 * A call runs behind all that was queued on the compute stream before it (`computed`). Its ticket is its
 * number; comm_wait makes the compute stream wait for the event behind that call, and for no later one. The
 * host never waits here.
 *
 * Sums in f32 and rank order are NCCL's, which adds in an order of its own. For the other sums of comm.h
 * ranks exchange their parts, a chunk at a time, and kernels of comm_sums.cu add them. With 3 ranks, seen by
 * rank 1:
 *
 *     rank 0 --- its part of shard 1 --->  received[0]
 *     own memory                           own           out = the sum of the three, in the order asked for
 *     rank 2 --- its part of shard 1 --->  received[1]
 *
 * As many bytes leave a rank as with NCCL's ring, fewer where parts are rounded: (ranks-1) times the shard.
 *
 * The communicator is non-blocking (NCCL's term: calls return at once and their state can be polled), because
 * a blocking one waits without limit for a rank that has died. */
#include "base/clock.h"
#include "base/comm_calls.h"
#include "base/cuda/comm_sums.h"
#include "base/cuda/cuda.h"
#include "base/library.h"
#include <nccl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NCCL_CALLS(F)                                                                                        \
    F(ncclGetVersion)                                                                                        \
    F(ncclGetUniqueId)                                                                                       \
    F(ncclCommInitRankConfig)                                                                                \
    F(ncclCommGetAsyncError)                                                                                 \
    F(ncclCommFinalize)                                                                                      \
    F(ncclCommDestroy)                                                                                       \
    F(ncclCommAbort)                                                                                         \
    F(ncclReduceScatter)                                                                                     \
    F(ncclAllGather)                                                                                         \
    F(ncclAllReduce)                                                                                         \
    F(ncclGroupStart)                                                                                        \
    F(ncclSend)                                                                                              \
    F(ncclRecv)                                                                                              \
    F(ncclGroupEnd)                                                                                          \
    F(ncclGetErrorString)                                                                                    \
    F(ncclGetLastError)
LIBRARY(nccl, "NCCL", NCCL_CALLS, "libnccl.so.2");

/* Call n reuses the event of call n - EVENTS. A wait for the older call then waits for the newer one: longer
 * than necessary, but never a deadlock, since both are queued already. */
enum { EVENTS = 64 };

/* A chunk of a shard has as many elements as this has room for, of all other ranks: with 8 ranks 4.6 MiB a
 * message, with 64 half a MiB. */
enum { EXCHANGE_BYTES = 32 << 20 };

struct nccl_ranks {
    ncclComm_t handle; /* NULL with one rank */
    int rank, size;
    cudaEvent_t done[EVENTS]; /* behind call n on the communication stream: n % EVENTS */
    uint64_t calls;           /* made so far */
    int64_t bytes_sent;
    double delay;             /* seconds that calls take longer (REMLA_COMM_DELAY_MS) */
    char *received, *rounded; /* EXCHANGE_BYTES each: what others have sent of a chunk, what they are sent if
                                 that is not f32. NULL with one rank */
};

/* A process has one device and one communicator over it. */
static struct nccl_ranks ranks;
static comm world;

/* ---- when something is wrong --------------------------------------------------------------------------- */

static const char *error_text(ncclResult_t code, char *buffer, size_t size)
{
    const char *const detail = nccl.ncclGetLastError(ranks.handle);
    snprintf(buffer, size, "NCCL: %s%s%s", nccl.ncclGetErrorString(code), detail && *detail ? ": " : "",
             detail ? detail : "");
    return buffer;
}

static const char *nccl_trouble(device *d)
{
    static char text[512];
    ncclResult_t state = ncclSuccess;
    (void)d;
    if (!ranks.handle) return NULL;
    const ncclResult_t asked = nccl.ncclCommGetAsyncError(ranks.handle, &state);
    if (asked != ncclSuccess) state = asked;
    return state == ncclSuccess || state == ncclInProgress ? NULL : error_text(state, text, sizeof text);
}

/* "rank 0" or "ranks 2 to 7" */
static const char *range_text(int first, int last, char *buffer, size_t size)
{
    if (first == last)
        snprintf(buffer, size, "rank %d", first);
    else
        snprintf(buffer, size, "ranks %d to %d", first, last);
    return buffer;
}

/* Names the other ranks: which of them is late is not known on this one. */
static const char *nccl_peers(const device *d)
{
    static char text[160];
    char before[40] = "", after[40] = "";
    (void)d;
    if (ranks.size == 1) return "";
    const int last = ranks.size - 1;
    if (ranks.rank > 0) range_text(0, ranks.rank - 1, before, sizeof before);
    if (ranks.rank < last) range_text(ranks.rank + 1, last, after, sizeof after);
    snprintf(text, sizeof text, "; the state of %s%s%s is not known here: see their messages", before,
             *before && *after ? " and " : "", after);
    return text;
}

static void *abort_thread(void *handle)
{
    nccl.ncclCommAbort(handle);
    return NULL;
}

/* ncclCommAbort tells NCCL's kernels to leave, and then waits for them. On a device that has failed that may
 * never end, so a thread does it, and this one waits a few seconds only: the end of the process ends both. */
static void nccl_abandon(device *d)
{
    enum { PATIENCE = 5 }; /* seconds */
    pthread_t thread;
    struct timespec until;
    ncclComm_t const handle = ranks.handle;
    if (!handle) return;
    d->watcher = NULL;
    ranks.handle = NULL;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += PATIENCE;
    if (pthread_create(&thread, NULL, abort_thread, handle) == 0)
        (void)pthread_timedjoin_np(thread, NULL, &until);
}

static const watcher nccl_watcher = {nccl_trouble, nccl_peers, nccl_abandon};

/* ---- start and stop ------------------------------------------------------------------------------------ */

/* Polls a non-blocking NCCL call until it finishes. Returns its result, or ncclInProgress after the time
 * limit. */
static ncclResult_t poll_call(ncclResult_t result)
{
    const double start = clock_seconds();
    while (result == ncclInProgress && clock_seconds() - start <= world.device->wait_limit) {
        device_wait_pause(clock_seconds() - start);
        const ncclResult_t asked = nccl.ncclCommGetAsyncError(ranks.handle, &result);
        if (asked != ncclSuccess) result = asked;
    }
    return result;
}

/* Polls like poll_call, and stops the job unless the call succeeds. */
static void require_call(ncclResult_t result, const char *call)
{
    char text[512];
    device *const d = world.device;
    result = poll_call(result);
    if (result == ncclSuccess) return;
    if (result == ncclInProgress)
        snprintf(text, sizeof text, "not done within %g s (%s)%s", d->wait_limit, d->limit_name,
                 nccl_peers(d));
    else
        error_text(result, text, sizeof text);
    device_failed(d, call, text);
}
#define NCCL_OK(call) require_call(nccl.call, #call)

static status join(const comm *host, message *why)
{
    char text[512];
    ncclUniqueId id = {{0}};
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    ncclResult_t result = ncclSuccess;
    /* NVLink's switches can add, in an order that changes from call to call (NCCL's issue 1497). */
    setenv("NCCL_NVLS_ENABLE", "0", 0);
    /* Gets its memory now, while there is some, and not in the first call. */
    setenv("NCCL_RUNTIME_CONNECT", "0", 0);
    TRY_ALL(host, library_open(&nccl_library, why), why);
    if (host->rank == 0) result = nccl.ncclGetUniqueId(&id);
    TRY_ALL(host,
            result == ncclSuccess ? OK
                                  : fail(why, ERR_DEVICE, "no communicator over the GPUs: %s",
                                         error_text(result, text, sizeof text)),
            why);
    comm_broadcast(host, &id, sizeof id, 0);
    config.blocking = 0;
    result = poll_call(nccl.ncclCommInitRankConfig(&ranks.handle, host->size, id, host->rank, &config));
    status s = OK;
    if (result == ncclInProgress)
        s = fail(why, ERR_DEVICE, "no communicator over the GPUs: not all %d ranks have come within %g s",
                 host->size, world.device->wait_limit);
    else if (result != ncclSuccess)
        s = fail(why, ERR_DEVICE, "no communicator over the GPUs: %s", error_text(result, text, sizeof text));
    return comm_agree(host, s, why);
}

static void stop(void)
{
    device *const d = world.device;
    device_sync(d);
    if (ranks.handle) {
        NCCL_OK(ncclCommFinalize(ranks.handle));
        NCCL_OK(ncclCommDestroy(ranks.handle));
    }
    for (int i = 0; i < EVENTS; i++) CUDA_OK(cudaEventDestroy(ranks.done[i]));
    ranks.handle = NULL;
    d->watcher = NULL;
    device_release(d, ranks.received);
    device_release(d, ranks.rounded);
}

/* ---- communication ------------------------------------------------------------------------------------- */

/* Makes the communication stream wait for all that is queued on the compute stream, and returns it. */
static cudaStream_t after_compute(device *d)
{
    CUDA_OK(cudaEventRecord(d->computed, d->compute.cuda));
    CUDA_OK(cudaStreamWaitEvent(d->communication.cuda, d->computed, 0));
    return d->communication.cuda;
}

static comm_ticket ticket(const comm *c)
{
    const uint64_t call = ++ranks.calls;
    CUDA_OK(cudaEventRecord(ranks.done[call % EVENTS], c->device->communication.cuda));
    return (comm_ticket){call};
}

static void wait_for_call(const comm *c, comm_ticket ticket)
{
    device *const d = c->device;
    REQUIRE(ticket.call <= ranks.calls, "a wait for call %llu of %llu", (unsigned long long)ticket.call,
            (unsigned long long)ranks.calls);
    CUDA_OK(cudaStreamWaitEvent(d->compute.cuda, ranks.done[ticket.call % EVENTS], 0));
}

static void CUDART_CB pass_time(void *unused)
{
    (void)unused;
    const time_t whole = (time_t)ranks.delay;
    nanosleep(&(struct timespec){whole, (long)((ranks.delay - (double)whole) * 1e9)}, NULL);
}

/* Behind a call between ranks: the communication stream takes longer, if it shall. */
static void delay(const comm *c)
{
    if (ranks.delay > 0 && c->size > 1)
        CUDA_OK(cudaLaunchHostFunc(c->device->communication.cuda, pass_time, NULL));
}

/* With one rank a call is a copy to its destination. */
static void copy(device *d, void *to, const void *from, size_t bytes)
{
    if (to != from) CUDA_OK(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToDevice, after_compute(d)));
}

static void sum_f64(const comm *c, double *values, int64_t count)
{
    if (count == 0) return;
    ranks.bytes_sent += 2 * (c->size - 1) * count * (int64_t)sizeof *values / c->size;
    NCCL_OK(ncclAllReduce(values, values, (size_t)count, ncclFloat64, ncclSum, ranks.handle,
                          after_compute(c->device)));
}

/* Of a call in a group: only ncclGroupEnd says whether the group is through. */
static void require_in_group(ncclResult_t result, const char *call)
{
    if (result != ncclInProgress) require_call(result, call);
}
#define IN_GROUP(call) require_in_group(nccl.call, #call)

/* The place of rank r among the others. */
static int other(const comm *c, int r) { return r < c->rank ? r : r - 1; }

/* Sends the other ranks their parts of a chunk: elements from..from+n of each one's shard in `full`; receives
 * what they send this one. */
static void exchange(const comm *c, const float *full, int64_t shard, int64_t from, int64_t n, dtype sent)
{
    stream *const s = &c->device->communication;
    const size_t bytes = (size_t)(n * dtype_bytes(sent));
    for (int r = 0; sent == BF16 && r < c->size; r++)
        if (r != c->rank)
            device_sums_round(ranks.rounded + (size_t)other(c, r) * bytes, full + r * shard + from, n, s);
    IN_GROUP(ncclGroupStart());
    for (int step = 1; step < c->size; step++) {
        const int to = (c->rank + step) % c->size, source = (c->rank - step + c->size) % c->size;
        const void *const theirs = sent == BF16 ? (const void *)(ranks.rounded + (size_t)other(c, to) * bytes)
                                                : full + to * shard + from;
        char *const received = ranks.received + (size_t)other(c, source) * bytes;
        IN_GROUP(ncclSend(theirs, bytes, ncclUint8, to, ranks.handle, s->cuda));
        IN_GROUP(ncclRecv(received, bytes, ncclUint8, source, ranks.handle, s->cuda));
    }
    NCCL_OK(ncclGroupEnd());
}

static void exchange_and_add(const comm *c, float *out, const float *full, int64_t shard,
                             const reduction *how)
{
    enum { VECTOR = 16 }; /* of every chunk but the last, so that their parts are aligned */
    const int64_t others = c->size - 1, room = EXCHANGE_BYTES / dtype_bytes(how->sent),
                  most = others ? room / others / VECTOR * VECTOR : shard;
    const float *const own = full + c->rank * shard;
    after_compute(c->device);
    for (int64_t from = 0; from < shard; from += most) {
        const int64_t n = shard - from < most ? shard - from : most;
        if (others) exchange(c, full, shard, from, n, how->sent);
        device_sums(out + from, own + from, ranks.received, c->rank, c->size, n, how,
                    &c->device->communication);
    }
}

static void reduce_scatter(const comm *c, float *out, float *full, int64_t shard, const reduction *how)
{
    if (shard == 0) return;
    ranks.bytes_sent += (c->size - 1) * shard * dtype_bytes(how->sent);
    if (how->sent == BF16 || (how->pairwise && c->size > 1))
        exchange_and_add(c, out, full, shard, how);
    else if (c->size == 1)
        copy(c->device, out, full, sizeof(float) * (size_t)shard);
    else
        NCCL_OK(ncclReduceScatter(full, out, (size_t)shard, ncclFloat32, ncclSum, ranks.handle,
                                  after_compute(c->device)));
    delay(c);
}

static void all_gather(const comm *c, void *all, const void *part, int64_t part_bytes)
{
    if (part_bytes == 0) return;
    ranks.bytes_sent += (c->size - 1) * part_bytes;
    if (c->size == 1)
        copy(c->device, all, part, (size_t)part_bytes);
    else
        NCCL_OK(
            ncclAllGather(part, all, (size_t)part_bytes, ncclUint8, ranks.handle, after_compute(c->device)));
    delay(c);
}

static void limit(const comm *c, double seconds) { device_wait_limit(c->device, seconds); }

static int64_t bytes_sent(const comm *c)
{
    (void)c;
    return ranks.bytes_sent;
}

const comm *comm_nccl_start(device *d, const comm *host)
{
    static const struct comm_calls calls = {.sum_f64 = sum_f64,
                                            .all_gather = all_gather,
                                            .reduce_scatter = reduce_scatter,
                                            .ticket = ticket,
                                            .wait = wait_for_call,
                                            .limit = limit,
                                            .bytes_sent = bytes_sent,
                                            .stop = stop};
    message why;
    REQUIRE(!d->watcher, "the device has a communicator already");
    world = *host;
    world.device = d;
    world.calls = &calls;
    ranks = (struct nccl_ranks){.rank = host->rank, .size = host->size, .delay = comm_delay()};
    if (host->size > 1) {
        if (join(host, &why) != OK) die(ERR_DEVICE, "%s", why.text);
        ranks.received = device_reserve(d, EXCHANGE_BYTES, "what ranks send each other");
        ranks.rounded = device_reserve(d, EXCHANGE_BYTES, "what ranks send each other");
    }
    for (int i = 0; i < EVENTS; i++)
        CUDA_OK(cudaEventCreateWithFlags(&ranks.done[i], cudaEventDisableTiming));
    d->watcher = &nccl_watcher;
    return &world;
}

int comm_nccl_version(void)
{
    int version = 0;
    if (nccl_library.handle) (void)nccl.ncclGetVersion(&version);
    return version;
}
