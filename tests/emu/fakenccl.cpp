// NCCL for ranks on one machine, through files in memory. Operations end when all ranks have come, and until
// then they hold up their stream and nothing else, so that a rank that never comes is seen as with NCCL. Sums
// are taken in the order of the ranks. Communicators do not block: what is asked of one is only taken on; it
// is on its stream once ncclCommGetAsyncError has said so, and until then nothing else may be asked. Nothing
// here uses MPI, whose calls belong to a thread of the program.
//
// Rank 0 makes a board, which the others find by its place among the files of rank 0's process. Each rank
// writes there where its own files are, and how many operations it has brought. What it brings to operation n
// is in its file n % 2: once all have come to n + 1, nobody needs that of n any more.
#include "tests/emu/fake.h"
#include <atomic>
#include <cstring>
#include <cuda_bf16.h>
#include <fcntl.h>
#include <functional>
#include <memory>
#include <nccl.h>
#include <string>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>

namespace
{
enum { MOST_RANKS = 64 };
struct place {
    std::atomic<int> joined;
    int process, file[2];
    std::atomic<uint64_t> brought; // operations
};
struct board {
    place rank[MOST_RANKS];
};
struct board_name {
    int process, file;
};
} // namespace

struct ncclComm {
    int rank, size;
    board *shared;
    std::vector<int> file[2]; // (size) of all ranks
    bool ready;
    ncclResult_t trouble;
    uint64_t operations;            // queued
    std::function<void()> taken_on; // the call that is not through
    bool asked;                     // about it, once
};

namespace
{

using namespace fake;

int new_file(const char *name)
{
    const int file = memfd_create(name, MFD_CLOEXEC);
    if (file < 0) error("no file in memory");
    return file;
}
int file_of(int process, int file)
{
    const std::string path = "/proc/" + std::to_string(process) + "/fd/" + std::to_string(file);
    const int mine = open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (mine < 0) error("a rank of the communicator has ended");
    return mine;
}

// ncclInProgress until all ranks have come.
ncclResult_t join(ncclComm *c)
{
    if (c->ready) return c->trouble;
    for (int r = 0; r < c->size; r++)
        if (!c->shared->rank[r].joined) return ncclInProgress;
    for (int r = 0; r < c->size; r++)
        for (int i : {0, 1})
            c->file[i].push_back(r == c->rank
                                     ? c->shared->rank[r].file[i]
                                     : file_of(c->shared->rank[r].process, c->shared->rank[r].file[i]));
    c->ready = true;
    return ncclSuccess;
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
    if (!c->ready || c->taken_on) error("%s: the call before on this communicator is not through", name);
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

// Every operation: each rank brings bytes, and when all have come does what it must with what they brought.
typedef std::vector<std::vector<char>> brought;
void bring(ncclComm *c, uint64_t n, const std::vector<char> &bytes)
{
    const int file = c->file[n % 2][(size_t)c->rank];
    if (ftruncate(file, (off_t)bytes.size()) != 0 ||
        pwrite(file, bytes.data(), bytes.size(), 0) != (ssize_t)bytes.size())
        error("a file in memory cannot be written");
    c->shared->rank[c->rank].brought = n + 1;
}
bool all_came(const ncclComm *c, uint64_t n)
{
    for (int r = 0; r < c->size; r++)
        if (c->shared->rank[r].brought <= n) return false;
    return true;
}
std::vector<char> of_rank(const ncclComm *c, uint64_t n, int rank)
{
    const int file = c->file[n % 2][(size_t)rank];
    std::vector<char> bytes((size_t)lseek(file, 0, SEEK_END));
    if (pread(file, bytes.data(), bytes.size(), 0) != (ssize_t)bytes.size())
        error("a file in memory cannot be read");
    return bytes;
}
ncclResult_t operation(const char *name, ncclComm *c, cudaStream_t stream,
                       std::function<std::vector<char>()> mine, std::function<void(const brought &)> finish)
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
    const uint64_t n = c->operations++;
    const auto started = std::make_shared<bool>(false);
    const auto work = [=] {
        if (!*started) bring(c, n, mine());
        *started = true;
        if (!all_came(c, n)) return false;
        brought all;
        for (int r = 0; r < c->size; r++) all.push_back(of_rank(c, n, r));
        finish(all);
        return true;
    };
    return take_on(c, [=] { queue(stream, work); });
}

// All ranks bring equally many bytes.
template <class Finish>
ncclResult_t collective(const char *name, ncclComm *c, const void *send, size_t bytes, cudaStream_t stream,
                        Finish finish)
{
    if (bytes == 0) return ncclSuccess;
    return operation(
        name, c, stream, [=] { return std::vector<char>((const char *)send, (const char *)send + bytes); },
        [=](const brought &each) {
            std::vector<char> all;
            for (const std::vector<char> &one : each) {
                if (one.size() != bytes) error("%s: ranks bring %zu and %zu bytes", name, bytes, one.size());
                all.insert(all.end(), one.begin(), one.end());
            }
            finish(all.data());
        });
}

// ---- messages, which are sent and received in groups that all ranks take part in

struct message {
    bool sent;
    char *at;
    size_t bytes;
    int peer;
};
struct group {
    int depth;
    ncclComm *comm;
    cudaStream_t stream;
    std::vector<message> messages;
} open_group;

ncclResult_t add_message(const char *name, bool sent, const void *at, size_t bytes, int peer, ncclComm *c,
                         cudaStream_t stream)
{
    if (open_group.depth == 0) error("%s outside of a group", name);
    check_ready(name, c);
    device_range(at, bytes, name);
    if (peer < 0 || peer >= c->size) error("%s: rank %d of %d", name, peer, c->size);
    if (open_group.comm && (open_group.comm != c || open_group.stream != stream))
        error("%s: a group of two communicators or streams", name);
    open_group.comm = c;
    open_group.stream = stream;
    open_group.messages.push_back({sent, (char *)at, bytes, peer});
    return ncclSuccess;
}

// What a rank brings: for each rank how many bytes it is sent, then these bytes, rank by rank.
std::vector<char> sent_bytes(const ncclComm *c, const std::vector<message> &messages)
{
    std::vector<uint64_t> count((size_t)c->size);
    std::vector<char> all;
    for (int r = 0; r < c->size; r++)
        for (const message &m : messages)
            if (m.sent && m.peer == r) {
                all.insert(all.end(), m.at, m.at + m.bytes);
                count[(size_t)r] += m.bytes;
            }
    const char *front = (const char *)count.data();
    all.insert(all.begin(), front, front + count.size() * sizeof count[0]);
    return all;
}
void receive(const ncclComm *c, const std::vector<message> &messages, const brought &each)
{
    for (int r = 0; r < c->size; r++) {
        const std::vector<char> &from = each[(size_t)r];
        const uint64_t *count = (const uint64_t *)from.data();
        size_t at = (size_t)c->size * sizeof *count;
        for (int before = 0; before < c->rank; before++) at += count[before];
        const size_t end = at + count[c->rank];
        for (const message &m : messages)
            if (!m.sent && m.peer == r) {
                if (at + m.bytes > end) error("ncclRecv: %zu bytes, rank %d sends fewer", m.bytes, r);
                memcpy(m.at, from.data() + at, m.bytes);
                at += m.bytes;
            }
        if (at != end) error("ncclRecv: rank %d sends %zu bytes more", r, end - at);
    }
}

} // namespace

extern "C" {

ncclResult_t ncclGetVersion(int *version)
{
    *version = NCCL_VERSION_CODE;
    return ncclSuccess;
}

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
    const board_name name = {getpid(), new_file("ranks")};
    if (ftruncate(name.file, sizeof(board)) != 0) error("no memory for a board");
    memset(id, 0, sizeof *id);
    memcpy(id->internal, &name, sizeof name);
    return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t *comm, int size, ncclUniqueId id, int rank,
                                    ncclConfig_t *config)
{
    if (fails("ncclCommInitRank")) return ncclInternalError;
    if (!config || config->blocking != 0) error("NCCL: calls that block wait without a limit");
    if (size > MOST_RANKS || rank < 0 || rank >= size) error("NCCL: rank %d of %d", rank, size);
    board_name name;
    memcpy(&name, id.internal, sizeof name);
    const int file = file_of(name.process, name.file);
    void *shared = mmap(nullptr, sizeof(board), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (shared == MAP_FAILED) error("no memory for a board");
    close(file);
    *comm = new ncclComm{rank, size, (board *)shared, {}, false, ncclSuccess, 0, nullptr, false};
    place &mine = (*comm)->shared->rank[rank];
    mine.process = getpid();
    for (int i : {0, 1}) mine.file[i] = new_file("operations");
    if (mine.joined.exchange(1)) error("NCCL: rank %d joins twice", rank);
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
    for (const std::vector<int> &files : c->file)
        for (int file : files) close(file);
    munmap(c->shared, sizeof(board));
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
ncclResult_t ncclGroupStart(void)
{
    open_group.depth++;
    return ncclSuccess;
}
ncclResult_t ncclSend(const void *from, size_t count, ncclDataType_t type, int peer, ncclComm_t c,
                      cudaStream_t stream)
{
    return add_message(__func__, true, from, count * size_of(type), peer, c, stream);
}
ncclResult_t ncclRecv(void *to, size_t count, ncclDataType_t type, int peer, ncclComm_t c,
                      cudaStream_t stream)
{
    return add_message(__func__, false, to, count * size_of(type), peer, c, stream);
}
ncclResult_t ncclGroupEnd(void)
{
    if (open_group.depth == 0) error("%s: no group has been started", __func__);
    if (--open_group.depth > 0 || open_group.messages.empty()) return ncclSuccess;
    ncclComm *const c = open_group.comm;
    const std::vector<message> messages = std::move(open_group.messages);
    const cudaStream_t stream = open_group.stream;
    open_group = {};
    return operation(
        __func__, c, stream, [=] { return sent_bytes(c, messages); },
        [=](const brought &each) { receive(c, messages, each); });
}
}
