// Collectives over MPI. They end when all ranks have come, and until then they hold up their stream and
// nothing else, so that a rank that never comes is seen as with NCCL. Sums are taken in the order of the
// ranks. Communicators do not block: what is asked of one is only taken on; it is on its stream once
// ncclCommGetAsyncError has said so, and until then nothing else may be asked.
#include "tests/emu/fake.h"
#include <cstring>
#include <cuda_bf16.h>
#include <functional>
#include <memory>
#include <mpi.h>
#include <nccl.h>
#include <unistd.h>
#include <vector>

struct ncclComm {
    int rank, size;
    MPI_Comm mpi;
    enum { DUPLICATING, COMPARING, READY } state;
    MPI_Request request;
    ncclUniqueId mine, first; // of this rank, and of rank 0
    ncclResult_t trouble;
    std::function<void()> taken_on; // the call that is not through
    bool asked;                     // about it, once
};

namespace
{

using namespace fake;

// One step of joining; ncclInProgress until all ranks have come.
ncclResult_t join(ncclComm *c)
{
    int done = 0;
    if (c->state == ncclComm::READY) return c->trouble;
    MPI_Test(&c->request, &done, MPI_STATUS_IGNORE);
    if (!done) return ncclInProgress;
    if (c->state == ncclComm::COMPARING) {
        if (memcmp(&c->mine, &c->first, sizeof c->mine) != 0)
            error("ranks join communicators of different names");
        c->state = ncclComm::READY;
        return ncclSuccess;
    }
    c->state = ncclComm::COMPARING;
    c->first = c->mine;
    MPI_Ibcast(&c->first, sizeof c->first, MPI_BYTE, 0, c->mpi, &c->request);
    return ncclInProgress;
}

// How far the last call is.
ncclResult_t progress(ncclComm *c)
{
    if (!c->taken_on) return join(c);
    if (!c->asked) {
        c->asked = true;
        return ncclInProgress;
    }
    const std::function<void()> work = std::move(c->taken_on);
    c->taken_on = nullptr;
    work();
    return c->trouble;
}

ncclResult_t take_on(ncclComm *c, std::function<void()> work)
{
    c->taken_on = std::move(work);
    c->asked = false;
    return ncclInProgress;
}

void check_ready(const char *name, const ncclComm *c)
{
    if (c->state != ncclComm::READY || c->taken_on)
        error("%s: the call before on this communicator is not through", name);
}

size_t size_of(ncclDataType_t type)
{
    switch (type) {
    case ncclInt8:
    case ncclUint8:
        return 1;
    case ncclBfloat16:
        return 2;
    case ncclInt32:
    case ncclUint32:
    case ncclFloat32:
        return 4;
    case ncclInt64:
    case ncclUint64:
    case ncclFloat64:
        return 8;
    default:
        error("NCCL: type %d is not known here", (int)type);
    }
}

// A rank's part may lie inside the whole, but at its own place only.
void check_in_place(const char *name, const ncclComm *c, const void *part, const void *whole, size_t bytes)
{
    const char *from = (const char *)whole, *at = (const char *)part;
    const bool apart = at >= from + bytes * (size_t)c->size || at + bytes <= from;
    if (!apart && at != from + bytes * (size_t)c->rank)
        error("%s: a part of the buffer that is not rank %d's", name, c->rank);
}

template <class T> void add(void *sum, const void *part, size_t count)
{
    for (size_t i = 0; i < count; i++) ((T *)sum)[i] += ((const T *)part)[i];
}
void add_to(void *sum, const void *part, size_t count, ncclDataType_t type)
{
    if (type == ncclFloat32) return add<float>(sum, part, count);
    if (type == ncclFloat64) return add<double>(sum, part, count);
    if (type != ncclBfloat16) error("NCCL: sums of type %d are not known here", (int)type);
    __nv_bfloat16 *x = (__nv_bfloat16 *)sum;
    for (size_t i = 0; i < count; i++)
        x[i] =
            __float2bfloat16_rn(__bfloat162float(x[i]) + __bfloat162float(((const __nv_bfloat16 *)part)[i]));
}

// Every collective: all ranks get what all have sent, in their order, and make of it what they need.
struct exchange {
    std::vector<char> sent, received;
    MPI_Request request = MPI_REQUEST_NULL;
    bool started = false;
};
template <class Finish>
ncclResult_t collective(const char *name, ncclComm *c, const void *send, size_t bytes, cudaStream_t stream,
                        Finish finish)
{
    check_ready(name, c);
    check_stream(stream);
    const failure f = fails(name);
    if (f == LATER) c->trouble = ncclRemoteError;
    if (f == FAIL) return ncclInternalError;
    if (f != NONE) {
        queue(stream, [] { return false; });
        return ncclSuccess;
    }
    if (bytes == 0) return ncclSuccess;
    const auto x = std::make_shared<exchange>();
    const auto work = [=] {
        int done = 0;
        if (!x->started) {
            x->started = true;
            x->sent.assign((const char *)send, (const char *)send + bytes);
            x->received.resize(bytes * (size_t)c->size);
            MPI_Iallgather(x->sent.data(), (int)bytes, MPI_BYTE, x->received.data(), (int)bytes, MPI_BYTE,
                           c->mpi, &x->request);
        }
        MPI_Test(&x->request, &done, MPI_STATUS_IGNORE);
        if (done) finish(x->received.data());
        return done != 0;
    };
    return take_on(c, [=] { queue(stream, work); });
}

} // namespace

extern "C" {

const char *ncclGetErrorString(ncclResult_t result)
{
    switch (result) {
    case ncclSuccess:
        return "no error";
    case ncclInProgress:
        return "NCCL operation in progress";
    case ncclRemoteError:
        return "remote process exited or there was a network error";
    case ncclInternalError:
        return "internal error";
    case ncclInvalidArgument:
        return "invalid argument";
    default:
        return "unknown result code";
    }
}
const char *ncclGetLastError(ncclComm_t) { return ""; }

ncclResult_t ncclGetUniqueId(ncclUniqueId *id)
{
    if (fails(__func__)) return ncclInternalError;
    memset(id, 0, sizeof *id);
    const double now = MPI_Wtime();
    const pid_t process = getpid();
    memcpy(id->internal, &now, sizeof now);
    memcpy(id->internal + sizeof now, &process, sizeof process);
    return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int size, ncclUniqueId id, int rank,
                                    ncclConfig_t *config)
{
    int mpi_rank, mpi_size, ready = 0;
    MPI_Initialized(&ready);
    if (fails("ncclCommInitRank")) return ncclInternalError;
    if (!ready) error("NCCL is MPI here, which has not been initialized");
    if (!config || config->blocking != 0) error("NCCL: calls that block wait without a limit");
    MPI_Comm_rank(MPI_COMM_WORLD, &mpi_rank);
    MPI_Comm_size(MPI_COMM_WORLD, &mpi_size);
    if (rank != mpi_rank || size != mpi_size) error("the ranks of a communicator are those of MPI here");
    *comm = new ncclComm{rank,        size,    MPI_COMM_NULL, ncclComm::DUPLICATING, MPI_REQUEST_NULL, id, id,
                         ncclSuccess, nullptr, false};
    MPI_Comm_idup(MPI_COMM_WORLD, &(*comm)->mpi, &(*comm)->request);
    return ncclInProgress;
}
ncclResult_t ncclCommGetAsyncError(ncclComm_t c, ncclResult_t *result)
{
    *result = fails(__func__) ? ncclRemoteError : progress(c);
    return ncclSuccess;
}
ncclResult_t ncclCommFinalize(ncclComm_t c)
{
    check_ready(__func__, c);
    return take_on(c, [] {});
}
ncclResult_t ncclCommDestroy(ncclComm_t c)
{
    check_ready(__func__, c);
    drain();
    MPI_Comm_free(&c->mpi);
    delete c;
    return ncclSuccess;
}
// What is queued never ends, which the caller, who gives up, does not mind.
ncclResult_t ncclCommAbort(ncclComm_t) { return ncclSuccess; }

ncclResult_t ncclAllReduce(const void *send, void *receive, size_t count, ncclDataType_t type, ncclRedOp_t op,
                           ncclComm_t c, cudaStream_t stream)
{
    const size_t bytes = count * size_of(type);
    if (op != ncclSum) error("NCCL: sums only");
    device_range(send, bytes, __func__);
    device_range(receive, bytes, __func__);
    return collective(__func__, c, send, bytes, stream, [=](const char *all) {
        memcpy(receive, all, bytes);
        for (int r = 1; r < c->size; r++) add_to(receive, all + bytes * (size_t)r, count, type);
    });
}
ncclResult_t ncclReduceScatter(const void *send, void *receive, size_t count, ncclDataType_t type,
                               ncclRedOp_t op, ncclComm_t c, cudaStream_t stream)
{
    const size_t bytes = count * size_of(type), whole = bytes * (size_t)c->size;
    if (op != ncclSum) error("NCCL: sums only");
    device_range(send, whole, __func__);
    device_range(receive, bytes, __func__);
    check_in_place(__func__, c, receive, send, bytes);
    return collective(__func__, c, send, whole, stream, [=](const char *all) {
        const char *mine = all + bytes * (size_t)c->rank;
        memcpy(receive, mine, bytes);
        for (int r = 1; r < c->size; r++) add_to(receive, mine + whole * (size_t)r, count, type);
    });
}
ncclResult_t ncclAllGather(const void *send, void *receive, size_t count, ncclDataType_t type, ncclComm_t c,
                           cudaStream_t stream)
{
    const size_t bytes = count * size_of(type), whole = bytes * (size_t)c->size;
    device_range(send, bytes, __func__);
    device_range(receive, whole, __func__);
    check_in_place(__func__, c, send, receive, bytes);
    return collective(__func__, c, send, bytes, stream,
                      [=](const char *all) { memcpy(receive, all, whole); });
}
ncclResult_t ncclBroadcast(const void *send, void *receive, size_t count, ncclDataType_t type, int root,
                           ncclComm_t c, cudaStream_t stream)
{
    const size_t bytes = count * size_of(type);
    if (c->rank == root) device_range(send, bytes, __func__);
    device_range(receive, bytes, __func__);
    return collective(__func__, c, c->rank == root ? send : receive, bytes, stream,
                      [=](const char *all) { memcpy(receive, all + bytes * (size_t)root, bytes); });
}
}
