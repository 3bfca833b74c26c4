// A machine with a GPU that is none: the parts of the CUDA runtime, cuBLAS, NCCL and cuDNN that remla calls,
// under their own names and on the host. Device memory cannot be touched but by what was queued on a stream,
// is full of NaN when it is new, ends at a page that faults, and is never used again once it is freed. What a
// program must not do ends it with "FAKECUDA ERROR". Calls come from one thread at a time. Environment:
//
//   FAKECUDA_LAZY=seed    queues run in an order that the seed picks among those allowed
//   FAKECUDA_PROTECT=0    device memory can be touched at any time: for sanitizers
//   FAKECUDA_DEVICES=n    how many there are (8); 0: none
//   FAKECUDA_ARCH=n       which: 75, 80, 89, 90 (the default), 100, 120
//   FAKECUDA_MEMORY=MiB   how much memory each has (8192)
//   FAKECUDA_FAIL=function:n[:how]   what happens at the n-th call of it (fakecuda.cpp)
#ifndef REMLA_TESTS_EMU_FAKE_H
#define REMLA_TESTS_EMU_FAKE_H
#include <cuda_runtime_api.h>
#include <cstddef>
#include <functional>

namespace fake
{

[[noreturn]] void error(const char *format, ...) __attribute__((format(printf, 1, 2)));
long setting(const char *name, long otherwise); // a number of the environment
// What FAKECUDA_FAIL says of this call of `function`; once.
enum failure { NONE, FAIL, HANG, LATER };
failure fails(const char *function);
// Remembers what cudaGetLastError shall say.
cudaError_t failed(cudaError_t code);

struct gpu {
    int capability, multiprocessors, shared_kib; // shared memory of a block
    const char *name;
};
const gpu &this_gpu();

// ---- memory (fakecuda_memory.cpp)

// Every range that a call names is in one allocation and on the side where it is due.
void device_range(const void *p, size_t bytes, const char *what);
void host_range(const void *p, size_t bytes, bool pinned, const char *what);
// Kernels may use it: device memory, or host memory that is mapped.
bool on_device(const void *p);
// While one exists, device memory can be touched.
struct touching {
    touching();
    ~touching();
};
void report_leaks();

// ---- streams (fakecuda_stream.cpp)

// Queues work, which is done when it returns true and is called again until it does.
cudaError_t queue(cudaStream_t stream, std::function<bool()> work);
// Queues what is done at once.
template <class Work> cudaError_t enqueue(cudaStream_t stream, Work work)
{
    return queue(stream, [work] {
        work();
        return true;
    });
}
void check_stream(cudaStream_t stream);
// Until nothing is queued any more.
void drain();

} // namespace fake
#endif
