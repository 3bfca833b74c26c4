// Streams, events, memory and copies of the host's CUDA runtime: what may happen does, and mistakes are told.
#include "tests/emu/simt.h"
#include "tests/emu/child.h"

enum { COUNT = 1000, LARGE = COUNT * (int)sizeof(int) };

static cudaStream_t new_stream()
{
    cudaStream_t s;
    CUDA(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
    return s;
}
static cudaEvent_t new_event()
{
    cudaEvent_t e;
    CUDA(cudaEventCreateWithFlags(&e, cudaEventDisableTiming));
    return e;
}
static int *device(size_t bytes = LARGE)
{
    void *p;
    CUDA(cudaMalloc(&p, bytes));
    return (int *)p;
}
static int *pinned(size_t bytes = LARGE)
{
    void *p;
    CUDA(cudaMallocHost(&p, bytes));
    return (int *)p;
}

static __global__ void set(int *x, int value) { x[threadIdx.x] = value; }
static __global__ void add(int *x, const int *y) { x[threadIdx.x] += y[threadIdx.x]; }

// Of `seeds` orders, in how many `run` ends with 1 instead of 0.
template <class Run> static int seen(int seeds, Run run)
{
    int count = 0;
    for (int i = 1; i <= seeds; i++) {
        int status;
        const std::string seed = std::to_string(i);
        child(&status, {{"FAKECUDA_LAZY", seed.c_str()}}, [&] { _exit(run()); });
        if (status != 0 && status != 1 << 8) fail_msg("status 0x%x", status);
        count += status != 0;
    }
    return count;
}

// What one stream has queued and waits of another is seen; the same without the wait is not, in some orders.
static int two_streams(bool wait)
{
    const cudaStream_t a = new_stream(), b = new_stream();
    const cudaEvent_t e = new_event();
    int *x = device(), *result = pinned();
    CUDA(SIMT_LAUNCH(set, 1, 8, 0, a, x, 3));
    CUDA(cudaStreamSynchronize(a));
    CUDA(SIMT_LAUNCH(set, 1, 8, 0, a, x, 4));
    CUDA(cudaEventRecord(e, a));
    if (wait) CUDA(cudaStreamWaitEvent(b, e, 0));
    CUDA(cudaMemcpyAsync(result, x, 32, cudaMemcpyDeviceToHost, b));
    CUDA(cudaStreamSynchronize(b));
    const int wrong = result[7] != 4;
    CUDA(cudaDeviceSynchronize());
    return wrong;
}
static void test_events(void **)
{
    passes([] { CHECK(!two_streams(true)); });
    assert_int_equal(seen(8, [] { return two_streams(true); }), 0);
    assert_in_range(seen(8, [] { return two_streams(false); }), 2, 7);
}

// A pinned buffer that is written again while its copy is under way, and a result that is read too early.
static int early(bool reuse, bool wait)
{
    const cudaStream_t s = new_stream();
    int *x = device(), *y = device(), *from = pinned(), *to = pinned();
    from[0] = 1, to[0] = 0;
    CUDA(cudaMemcpyAsync(x, from, 4, cudaMemcpyHostToDevice, s));
    if (reuse && wait) CUDA(cudaStreamSynchronize(s));
    from[0] = 2;
    CUDA(cudaMemcpyAsync(y, from, 4, cudaMemcpyHostToDevice, s));
    CUDA(SIMT_LAUNCH(add, 1, 1, 0, s, y, x));
    CUDA(cudaMemcpyAsync(to, y, 4, cudaMemcpyDeviceToHost, s));
    if (reuse || wait) CUDA(cudaStreamSynchronize(s));
    return to[0] != 3;
}
static void test_waiting(void **)
{
    assert_int_equal(seen(4, [] { return early(true, true); }), 0);
    assert_int_equal(seen(4, [] { return early(true, false); }), 4);
    assert_int_equal(seen(4, [] { return early(false, false); }), 4);
}

// Who only asks gets there too.
static void test_queries(void **)
{
    for (const char *seed : {"0", "1", "2"})
        passes({{"FAKECUDA_LAZY", seed}}, [] {
            const cudaStream_t s = new_stream();
            const cudaEvent_t e = new_event(), never = new_event();
            int *x = device();
            for (int i = 0; i < 2000; i++) CUDA(SIMT_LAUNCH(set, 1, 8, 0, s, x, i));
            CUDA(cudaEventRecord(e, s));
            CUDA(cudaEventQuery(never));
            cudaError_t code;
            while ((code = cudaEventQuery(e)) == cudaErrorNotReady) {
            }
            CUDA(code);
            CUDA(cudaStreamQuery(s));
        });
    passes({{"FAKECUDA_FAIL", "launch:2:hang"}}, [] {
        const cudaStream_t s = new_stream();
        int *x = device();
        CUDA(SIMT_LAUNCH(set, 1, 8, 0, s, x, 1));
        CUDA(cudaStreamSynchronize(s));
        CUDA(SIMT_LAUNCH(set, 1, 8, 0, s, x, 1));
        for (int i = 0; i < 10; i++) CHECK(cudaStreamQuery(s) == cudaErrorNotReady);
    });
}

static void test_memory(void **)
{
    passes([] {
        int *x = device(1001), *host = pinned(2000); // the latter's pages are as new, too
        CUDA(cudaMemcpy(host, x, 1001, cudaMemcpyDeviceToHost));
        CHECK(host[0] == -1 && host[250] == -1 && (uintptr_t)x % 256 == 0 && (uintptr_t)host % 256 == 0);
        cudaPointerAttributes a;
        CUDA(cudaPointerGetAttributes(&a, x));
        CHECK(a.type == cudaMemoryTypeDevice);
        CUDA(cudaPointerGetAttributes(&a, host));
        CHECK(a.type == cudaMemoryTypeHost && !a.devicePointer);
        CUDA(cudaFree(x));
        CUDA(cudaFreeHost(host));
    });
    passes({{"FAKECUDA_MEMORY", "1"}}, [] {
        void *p = device(1 << 19), *q;
        size_t free_bytes, all;
        CHECK(cudaMalloc(&q, (1 << 19) + 1) == cudaErrorMemoryAllocation);
        CHECK(cudaGetLastError() == cudaErrorMemoryAllocation && cudaGetLastError() == cudaSuccess);
        CUDA(cudaMemGetInfo(&free_bytes, &all));
        CHECK(free_bytes == 1 << 19 && all == 1 << 20);
        CUDA(cudaFree(p));
        CUDA(cudaMalloc(&p, 1 << 20));
    });
    passes({{"FAKECUDA_FAIL", "cudaMalloc:2"}}, [] {
        void *p;
        CUDA(cudaMalloc(&p, 1));
        CHECK(cudaMalloc(&p, 1) == cudaErrorMemoryAllocation);
        CUDA(cudaMalloc(&p, 1));
    });
    passes({{"FAKECUDA_DEVICES", "0"}}, [] {
        int count;
        CHECK(cudaGetDeviceCount(&count) == cudaErrorNoDevice && count == 0);
    });
    int status;
    assert_non_null(strstr(child(&status, {},
                                 [] {
                                     device();
                                     pinned();
                                 })
                               .c_str(),
                           "FAKECUDA LEAK: 8000 bytes in 2 allocations"));
    assert_string_equal(child(&status, {}, [] { CUDA(cudaFree(device())); }).c_str(), "");
}

// What ends a program, with FAKECUDA_PROTECT=0 too, and what else ends it otherwise.
static void test_mistakes(void **)
{
    stops({"cudaMemcpyAsync: 4004 bytes at 0 of an allocation of 4000"}, [] {
        cudaMemcpyAsync(device(), pinned(2 * LARGE), LARGE + 4, cudaMemcpyHostToDevice, new_stream());
    });
    stops({"cudaMemcpyAsync", "is not pinned memory"}, [] {
        static int pageable[4];
        cudaMemcpyAsync(device(), pageable, 16, cudaMemcpyHostToDevice, new_stream());
    });
    stops({"cudaMemcpyAsync", "is memory of the device, expected of the host"},
          [] { cudaMemcpyAsync(device(), device(), 16, cudaMemcpyHostToDevice, new_stream()); });
    stops({"cudaMemsetAsync", "is not memory of the device"},
          [] { cudaMemsetAsync(pinned(), 0, 16, new_stream()); });
    stops({"the NULL stream is used"}, [] { cudaMemsetAsync(device(), 0, 16, nullptr); });
    stops({"a stream that the NULL stream blocks is made"}, [] {
        cudaStream_t s;
        cudaStreamCreateWithFlags(&s, cudaStreamDefault);
    });
    stops({"a stream is used that does not exist"}, [] {
        const cudaStream_t s = new_stream();
        cudaStreamDestroy(s);
        cudaMemsetAsync(device(), 0, 16, s);
    });
    stops({"was freed"}, [] {
        int *x = device();
        cudaFree(x);
        cudaMemsetAsync(x, 0, 16, new_stream());
    });
    stops({"cudaFree", "was freed before"}, [] {
        int *x = device();
        cudaFree(x);
        cudaFree(x);
    });
    stops({"cudaFree", "is no allocation"}, [] { cudaFree(device() + 1); });
    const char *protect = getenv("FAKECUDA_PROTECT");
    if (protect && strcmp(protect, "0") == 0) return;
    stops({"the host touched memory of the device"}, [] { *device() = 1; });
    stops({"the host touched memory of the device that was freed"}, [] {
        int *x = device();
        cudaFree(x);
        x[0] = 1;
    });
    stops({"the host touched what lies beside an allocation"},
          [] { *(volatile int *)(pinned(1024) + 256) = 1; });
}

int main()
{
    const CMUnitTest tests[] = {cmocka_unit_test(test_events), cmocka_unit_test(test_waiting),
                                cmocka_unit_test(test_queries), cmocka_unit_test(test_memory),
                                cmocka_unit_test(test_mistakes)};
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
