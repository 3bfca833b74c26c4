/* Ranks that never come, or are lost on the way: a rank that waits for them stops within the limit and
 * reports what it knows, and the communicator is aborted, so that its kernels leave the device. The other
 * ranks do not exist; the source is included, to put functions of the test in place of NCCL's. */
#include "base/cuda/comm_nccl.c" /* before cmocka's `fail` */
#include "tests/support/check.h"
#include "tests/support/device.h"
#include <stdlib.h>
#include <unistd.h>

/* ---- a host communicator of four ranks, of which this is one ------------------------------------------- */

static void agree_with_all(const comm *c, int64_t *values, int64_t count)
{
    (void)c;
    (void)values;
    (void)count;
}

static void hear_from_all(const comm *c, void *bytes, int64_t count, int root)
{
    (void)c;
    (void)bytes;
    (void)count;
    (void)root;
}

static const struct comm_calls four_calls = {.max_i64 = agree_with_all, .broadcast = hear_from_all};

/* ---- an NCCL ------------------------------------------------------------------------------------------- */

static ncclResult_t init_result, call_result, async_result;

static ncclResult_t an_id(ncclUniqueId *id)
{
    memset(id, 1, sizeof *id);
    return ncclSuccess;
}

static ncclResult_t begin(ncclComm_t *handle, int size, ncclUniqueId id, int rank, ncclConfig_t *config)
{
    (void)id;
    REQUIRE(size == 4 && rank < 4 && config->blocking == 0, "rank %d of %d", rank, size);
    REQUIRE(!strcmp(getenv("NCCL_NVLS_ENABLE"), "0"), "sums in a fixed order");
    *handle = (ncclComm_t)&init_result;
    return init_result;
}

static ncclResult_t ask_async(ncclComm_t handle, ncclResult_t *result)
{
    REQUIRE(handle == (ncclComm_t)&init_result, "another communicator");
    *result = async_result;
    return ncclSuccess;
}

static ncclResult_t aborted(ncclComm_t handle)
{
    static const char said[] = "aborted. ";
    REQUIRE(handle == (ncclComm_t)&init_result && write(STDERR_FILENO, said, sizeof said - 1) > 0, "aborted");
    return ncclSuccess;
}

static void CUDART_CB nap(void *unused)
{
    (void)unused;
    nanosleep(&(struct timespec){.tv_nsec = 30000000}, NULL);
}

/* A sum that takes longer than any wait. */
static ncclResult_t slow_sum(const void *from, void *to, size_t count, ncclDataType_t type, ncclRedOp_t op,
                             ncclComm_t handle, cudaStream_t queue)
{
    REQUIRE(from == to && count == 3 && type == ncclFloat64 && op == ncclSum && handle, "arguments");
    for (int i = 0; i < 20; i++) CUDA_OK(cudaLaunchHostFunc(queue, nap, NULL));
    return call_result;
}

static const char *code_text(ncclResult_t code) { return code == ncclRemoteError ? "a peer is gone" : "?"; }

static const char *detail_text(ncclComm_t handle)
{
    (void)handle;
    return "connection closed by node9";
}

/* ---- in child processes: rank *r of four --------------------------------------------------------------- */

static void start(int rank)
{
    setenv("REMLA_DEVICE_SECONDS", "0.05", 1);
    setenv("FAKECUDA_FAIL", "cudaLaunchHostFunc:1:hang", 1); /* the emulator's functions run while one asks */
    device *const d = device_open_first();
    nccl.ncclGetUniqueId = an_id;
    nccl.ncclCommInitRankConfig = begin;
    nccl.ncclCommGetAsyncError = ask_async;
    nccl.ncclCommAbort = aborted;
    nccl.ncclAllReduce = slow_sum;
    nccl.ncclGetErrorString = code_text;
    nccl.ncclGetLastError = detail_text;
    nccl_library.handle = &nccl; /* it is open */
    const comm four = {.rank = rank, .size = 4, .calls = &four_calls};
    comm_nccl_start(d, &four);
}

static void nobody_comes(void *rank)
{
    init_result = async_result = ncclInProgress;
    start(*(int *)rank);
}

static void refused(void *rank)
{
    init_result = ncclInProgress;
    async_result = ncclRemoteError;
    start(*(int *)rank);
}

static void queue_sum(void)
{
    double *const x = device_reserve(world.device, 3 * sizeof *x, "sums");
    comm_wait(&world, comm_sum_f64(&world, x, 3));
}

static void never_done(void *rank)
{
    start(*(int *)rank);
    queue_sum();
    device_sync(world.device);
}

/* comm_limit stands instead of the environment's limit, and 0 brings that back. */
static void limited(void *seconds)
{
    start(0);
    comm_limit(&world, 0.02);
    comm_limit(&world, *(double *)seconds);
    queue_sum();
    device_sync(world.device);
}

static void fetched(void *rank)
{
    double x;
    start(*(int *)rank);
    queue_sum();
    device_get(world.device, &x, world.device->compute.workspace, sizeof x);
}

static void lost(void *rank)
{
    start(*(int *)rank);
    async_result = ncclRemoteError;
    queue_sum();
    device_sync(world.device);
}

static void never_queued(void *rank)
{
    start(*(int *)rank);
    call_result = async_result = ncclInProgress;
    queue_sum();
}

static void refused_call(void *rank)
{
    start(*(int *)rank);
    call_result = ncclInvalidArgument;
    queue_sum();
}

static void test_lost(void **state)
{
    (void)state;
    int r[] = {0, 1, 2, 3};
    const status s = ERR_DEVICE;
    check_stops(nobody_comes, r, s, "no communicator over the GPUs: not all 4 ranks have come within 0.05 s");
    check_stops(refused, r + 1, s,
                "no communicator over the GPUs: NCCL: a peer is gone: connection closed by node9");
    check_stops(never_done, r, s,
                "not done within 0.05 s (REMLA_DEVICE_SECONDS); the state of ranks 1 to 3 is");
    check_stops(never_done, r + 1, s, "the state of rank 0 and ranks 2 to 3 is not known");
    check_stops(never_done, r + 2, s, "the state of ranks 0 to 1 and rank 3 is not known");
    check_stops(never_done, r + 3, s, "the state of ranks 0 to 2 is not known");
    check_stops(never_done, r, s, "aborted. remla: ");
    double limits[] = {0.1, 0};
    check_stops(limited, limits, s, "not done within 0.1 s (parallel.timeout); the state of ranks 1 to 3 is");
    check_stops(limited, limits + 1, s, "not done within 0.05 s (REMLA_DEVICE_SECONDS); the state of");
    check_stops(fetched, r, s, "waiting for a copy between device and host: not done within 0.05 s");
    check_stops(lost, r, s, ": NCCL: a peer is gone: connection closed by node9");
    check_stops(never_queued, r, s, "): not done within 0.05 s");
    check_stops(refused_call, r, s, "): NCCL: ?: connection closed");
}

int main(void)
{
    if (!device_here(NULL)) return 77;
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_lost)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
