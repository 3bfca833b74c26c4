// Memory of the device and pinned memory of the host. Every allocation is a mapping of its own between two
// pages that fault; it ends at the second one, but for what its alignment asks.
#include "tests/emu/fake.h"
#include "tests/emu/simt_fiber.h"
#include "tests/emu/simt_run.h"
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <map>
#include <sys/mman.h>
#include <unistd.h>
#include <vector>
#ifdef SIMT_ASAN
#include <sanitizer/asan_interface.h>
#endif

namespace fake
{

enum { ALIGNMENT = 256 };
enum side { DEVICE, PINNED, MAPPED }; // mapped: pinned, and valid on the device too

struct allocation {
    side where;
    char *start;
    size_t bytes;
    char *pages; // what can be touched, without the pages around it
    size_t pages_bytes;
    bool freed;
};

// By address; those that were freed are kept, to say what they were. It outlives the destructors: leaks are
// reported after them.
static auto &allocations = *new std::map<uintptr_t, allocation>;
static size_t used; // device memory
static int accesses;
static const size_t page = (size_t)sysconf(_SC_PAGESIZE);

static bool protect()
{
    static const bool on = setting("FAKECUDA_PROTECT", 1) != 0;
    return on;
}
static size_t limit() { return (size_t)setting("FAKECUDA_MEMORY", 8192) << 20; }

static void allow(const allocation &a, bool touch)
{
    if (mprotect(a.pages, a.pages_bytes, touch ? PROT_READ | PROT_WRITE : PROT_NONE) != 0)
        error("mprotect fails");
}

static void set_all(bool touch)
{
    if (!protect()) return;
    for (const auto &each : allocations)
        if (each.second.where == DEVICE && !each.second.freed) allow(each.second, touch);
}
touching::touching()
{
    if (accesses++ == 0) set_all(true);
}
touching::~touching()
{
    if (--accesses == 0) set_all(false);
}

// ---- what an address is

// The allocation whose pages, or those around them, hold it.
static const allocation *pages_of(const void *p)
{
    for (const auto &each : allocations) {
        const allocation &a = each.second;
        if ((const char *)p >= a.pages - page && (const char *)p < a.pages + a.pages_bytes + page) return &a;
    }
    return nullptr;
}
static const allocation *find(const void *p)
{
    const auto after = allocations.upper_bound((uintptr_t)p);
    if (after == allocations.begin()) return nullptr;
    const allocation &a = std::prev(after)->second;
    return (const char *)p < a.start + a.bytes || p == a.start ? &a : nullptr;
}

void device_range(const void *p, size_t bytes, const char *what)
{
    const allocation *a = find(p);
    if (!a || a->where == PINNED) error("%s: %p is not memory of the device", what, p);
    if (a->freed) error("%s: %p was freed", what, p);
    if ((const char *)p + bytes > a->start + a->bytes)
        error("%s: %zu bytes at %zu of an allocation of %zu", what, bytes,
              (size_t)((const char *)p - a->start), a->bytes);
}

void host_range(const void *p, size_t bytes, bool pinned, const char *what)
{
    const allocation *a = find(p);
    if (a && a->where == DEVICE) error("%s: %p is memory of the device, expected of the host", what, p);
    if (pinned && (!a || a->freed)) error("%s: %p is not pinned memory: such a copy waits", what, p);
    if (a && (const char *)p + bytes > a->start + a->bytes)
        error("%s: %zu bytes of %zu pinned", what, bytes, a->bytes);
}

bool on_device(const void *p)
{
    const allocation *a = find(p);
    return a && !a->freed && a->where != PINNED;
}

// ---- faults

static void fault(int signal_number, siginfo_t *info, void *)
{
    char place[700] = "the host", text[900];
    const allocation *a = pages_of(info->si_addr);
    simt::describe(place, sizeof place);
    const char *what = simt::stack_overflowed(info->si_addr) ? "used up its stack"
                       : !a                                  ? "touched an address that is nothing"
                       : a->freed                            ? "touched memory of the device that was freed"
                       : (char *)info->si_addr < a->start || (char *)info->si_addr >= a->start + a->bytes
                           ? "touched what lies beside an allocation"
                           : "touched memory of the device";
    const int length =
        snprintf(text, sizeof text, "FAKECUDA ERROR: %s %s (%p)\n", place, what, info->si_addr);
    if (write(STDERR_FILENO, text, (size_t)length) < 0) _exit(1);
    signal(signal_number, SIG_DFL); // the access is made again
}

static void at_exit(int status, void *)
{
    if (status == 0) report_leaks();
}

static struct start {
    start()
    {
        on_exit(at_exit, nullptr);
        if (!protect()) return;
        static char stack[64 << 10]; // for a thread that has used up its own
        const stack_t other = {stack, 0, sizeof stack};
        struct sigaction action = {};
        action.sa_sigaction = fault;
        action.sa_flags = SA_SIGINFO | SA_ONSTACK;
        sigaltstack(&other, nullptr);
        sigaction(SIGSEGV, &action, nullptr);
    }
} started;

void report_leaks()
{
    size_t count = 0, bytes = 0;
    for (const auto &each : allocations)
        if (!each.second.freed) count++, bytes += each.second.bytes;
    if (count) fprintf(stderr, "FAKECUDA LEAK: %zu bytes in %zu allocations were not freed\n", bytes, count);
}

// ---- allocating

// Fills new pages with NaN, without a byte of memory for those that are never written: they are pages of one
// file, over and over, each copied by its first write.
static void map_nan(char *pages, size_t bytes)
{
    enum { CHUNK = 4 << 20 };
    static int file = -1;
    if (file < 0) {
        const std::vector<char> nan(CHUNK, (char)0xff);
        file = memfd_create("nan", MFD_CLOEXEC);
        if (file < 0 || write(file, nan.data(), CHUNK) != CHUNK) error("no file in memory");
    }
    for (size_t at = 0; at < bytes; at += CHUNK) {
        const size_t length = bytes - at < CHUNK ? bytes - at : (size_t)CHUNK;
        if (mmap(pages + at, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, file,
                 0) == MAP_FAILED)
            error("mmap fails");
    }
}

static cudaError_t allocate(void **p, size_t bytes, side where)
{
    *p = nullptr;
    if (bytes == 0) return cudaSuccess;
    const size_t room = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT,
                 pages_bytes = (room + page - 1) / page * page;
    char *map = (char *)mmap(nullptr, pages_bytes + 2 * page, PROT_NONE,
                             MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (map == MAP_FAILED) return failed(cudaErrorMemoryAllocation);
    char *pages = map + page, *start = pages + pages_bytes - room;
    const allocation a = {where, start, bytes, pages, pages_bytes, false};
    map_nan(pages, pages_bytes);
#ifdef SIMT_ASAN
    ASAN_POISON_MEMORY_REGION(pages, (size_t)(start - pages));
    ASAN_POISON_MEMORY_REGION(start + bytes, room - bytes);
#endif
    if (where == DEVICE && protect() && accesses == 0) allow(a, false);
    allocations[(uintptr_t)start] = a;
    if (where == DEVICE) used += bytes;
    *p = start;
    return cudaSuccess;
}

static cudaError_t release(void *p, bool device, const char *call)
{
    if (!p) return cudaSuccess;
    drain();
    const auto at = allocations.find((uintptr_t)p);
    if (at == allocations.end() || (at->second.where == DEVICE) != device)
        error("%s: %p is no allocation", call, p);
    allocation &a = at->second;
    if (a.freed) error("%s: %p was freed before", call, p);
    allow(a, true);
#ifdef SIMT_ASAN
    ASAN_UNPOISON_MEMORY_REGION(a.pages, a.pages_bytes);
#endif
    for (const char *c = a.start + a.bytes; c < a.pages + a.pages_bytes; c++)
        if ((unsigned char)*c != 0xff)
            error("%s: something was written %zu bytes behind an allocation of %zu", call,
                  (size_t)(c - a.start - a.bytes), a.bytes);
    a.freed = true;
    if (device) used -= a.bytes;
    // The pages go, the addresses stay.
    if (mmap(a.pages, a.pages_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
             0) == MAP_FAILED)
        error("mmap fails");
    return cudaSuccess;
}

} // namespace fake

using namespace fake;

extern "C" {

cudaError_t cudaMemGetInfo(size_t *free_bytes, size_t *all)
{
    *all = limit();
    *free_bytes = *all - used;
    return cudaSuccess;
}
cudaError_t cudaMalloc(void **p, size_t bytes)
{
    if (bytes > limit() - used || fails(__func__)) return failed(cudaErrorMemoryAllocation);
    return allocate(p, bytes, DEVICE);
}
cudaError_t cudaFree(void *p) { return release(p, true, __func__); }

cudaError_t cudaHostAlloc(void **p, size_t bytes, unsigned flags)
{
    if (fails(__func__)) return failed(cudaErrorMemoryAllocation);
    return allocate(p, bytes, flags & cudaHostAllocMapped ? MAPPED : PINNED);
}
cudaError_t cudaMallocHost(void **p, size_t bytes) { return cudaHostAlloc(p, bytes, cudaHostAllocDefault); }
cudaError_t cudaFreeHost(void *p) { return release(p, false, __func__); }
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes *attributes, const void *p)
{
    const allocation *a = find(p);
    memset(attributes, 0, sizeof *attributes);
    if (!a || a->freed) return cudaSuccess; // cudaMemoryTypeUnregistered
    attributes->type = a->where == DEVICE ? cudaMemoryTypeDevice : cudaMemoryTypeHost;
    if (a->where != PINNED) attributes->devicePointer = (void *)p;
    if (a->where != DEVICE) attributes->hostPointer = (void *)p;
    return cudaSuccess;
}

// ---- copies

static void check_copy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, bool pinned,
                       const char *call)
{
    if (kind != cudaMemcpyHostToDevice && kind != cudaMemcpyDeviceToHost && kind != cudaMemcpyDeviceToDevice)
        error("%s: a direction that says less than it could", call);
    if (bytes == 0) return;
    if (kind == cudaMemcpyDeviceToHost)
        host_range(to, bytes, pinned, call);
    else
        device_range(to, bytes, call);
    if (kind == cudaMemcpyHostToDevice)
        host_range(from, bytes, pinned, call);
    else
        device_range(from, bytes, call);
    if ((const char *)to < (const char *)from + bytes && (const char *)from < (char *)to + bytes)
        error("%s: source and destination overlap", call);
}
cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t s)
{
    if (fails(__func__)) return failed(cudaErrorIllegalAddress);
    check_copy(to, from, bytes, kind, true, __func__);
    return enqueue(s, [=] { memcpy(to, from, bytes); });
}
// At once: it is not ordered with streams that do not block.
cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind)
{
    check_copy(to, from, bytes, kind, false, __func__);
    const touching now;
    memcpy(to, from, bytes);
    return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void *to, int value, size_t bytes, cudaStream_t s)
{
    if (bytes > 0) device_range(to, bytes, __func__);
    return enqueue(s, [=] { memset(to, value, bytes); });
}
}
