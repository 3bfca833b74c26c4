// CUDA C++ on the host: a kernel compiled by the host's compiler runs as it is, every CUDA thread on a stack
// of its own. simt.cpp runs them and checks what they do. Shared memory is a block of the heap of exactly its
// size, full of NaN. SIMT_SEED=n runs blocks, warps and lanes in another order for every n.
#ifndef REMLA_TESTS_EMU_SIMT_H
#define REMLA_TESTS_EMU_SIMT_H
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <functional>
#include <stdint.h>
#include <string.h>
#include <tuple>
#include <type_traits>
#include "tests/emu/intrinsics.h"

namespace simt
{

// Where the running thread is: threadIdx and its like.
struct position {
    uint3 thread, block, block_size, grid_size;
};
extern __thread position here;

// The line of a kernel that does what is being checked.
struct place {
    const char *file;
    int line;
};
#define SIMT_PLACE                                                                                           \
    simt::place { __FILE__, __LINE__ }

// ---- launches

struct launch {
    const char *kernel;
    dim3 grid, block;
    size_t shared_bytes; // dynamic
};
cudaError_t enqueue(const launch &l, cudaStream_t stream, std::function<void()> thread);

// Stop the program at an argument that no GPU can use. Of a structure every word is looked at, unless some of
// its bytes mean nothing: what happens to be in them would be taken for a pointer.
void check_pointer(const char *kernel, const void *argument);
void check_words(const char *kernel, const void *argument, size_t bytes);
template <class T> void check_argument(const char *kernel, const T &argument)
{
    static_assert(std::is_trivially_copyable_v<T>, "arguments of kernels are copied bit by bit");
    if constexpr (std::is_pointer_v<T>) check_pointer(kernel, (const void *)argument);
    if constexpr (std::is_class_v<T> && std::has_unique_object_representations_v<T>)
        check_words(kernel, &argument, sizeof argument);
}

template <class... Parameter, class... Argument>
cudaError_t start(const char *name, void (*kernel)(Parameter...), dim3 grid, dim3 block, size_t shared_bytes,
                  cudaStream_t stream, Argument... argument)
{
    const std::tuple<Parameter...> arguments(static_cast<Parameter>(argument)...);
    static_assert(sizeof arguments <= 4096, "arguments of a kernel are at most 4 KiB");
    std::apply([&](const auto &...each) { (check_argument(name, each), ...); }, arguments);
    return enqueue({name, grid, block, shared_bytes}, stream, [=] { std::apply(kernel, arguments); });
}

// ---- what a thread can do

void barrier(place at);
void *shared(const void *site, size_t bytes, place at);
void *dynamic_shared(place at);

// What the lanes of a warp do together. Every lane of `mask` comes with data of its own, and the last one
// runs `combine` on the data of all of them (null: not of the mask, or gone) before any goes on. None of
// these orders memory.
typedef void (*combination)(void *const (&data)[32], unsigned lanes);
void together(unsigned mask, combination combine, void *data, place at);
// As a memory barrier for the lanes of the mask.
void warp_barrier(place at, unsigned mask = ~0u);

unsigned lane();
uint64_t shuffle(unsigned mask, uint64_t value, unsigned source, place at);
unsigned ballot(place at, unsigned mask, bool vote);

template <class T> T shuffle_from(unsigned mask, T value, unsigned source, place at)
{
    static_assert(std::is_trivially_copyable_v<T> && sizeof(T) <= 8, "a shuffle moves at most 8 bytes");
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    bits = shuffle(mask, bits, source, at);
    memcpy(&value, &bits, sizeof value);
    return value;
}
// The lanes of a warp in groups of `width`; a source outside of the own group is the lane itself.
template <class T> T shuffle_index(place at, unsigned mask, T value, int source, int width = 32)
{
    const unsigned group = lane() & ~(unsigned)(width - 1);
    return shuffle_from(mask, value, group | ((unsigned)source & (unsigned)(width - 1)), at);
}
template <class T> T shuffle_xor(place at, unsigned mask, T value, int bits, int width = 32)
{
    const unsigned source = lane() ^ (unsigned)bits, end = (lane() | (unsigned)(width - 1)) + 1;
    return shuffle_from(mask, value, source < end ? source : lane(), at);
}
template <class T> T shuffle_down(place at, unsigned mask, T value, unsigned by, int width = 32)
{
    const bool inside = (lane() & (unsigned)(width - 1)) + by < (unsigned)width;
    return shuffle_from(mask, value, inside ? lane() + by : lane(), at);
}
template <class T> T shuffle_up(place at, unsigned mask, T value, unsigned by, int width = 32)
{
    const bool inside = (lane() & (unsigned)(width - 1)) >= by;
    return shuffle_from(mask, value, inside ? lane() - by : lane(), at);
}
inline bool any(place at, unsigned mask, int vote) { return ballot(at, mask, vote != 0) != 0; }
inline bool all(place at, unsigned mask, int vote) { return ballot(at, mask, vote == 0) == 0; }

} // namespace simt

// ---- the names that kernels use

#undef __launch_bounds__
#define __launch_bounds__(...)
#define threadIdx simt::here.thread
#define blockIdx  simt::here.block
#define blockDim  simt::here.block_size
#define gridDim   simt::here.grid_size

#define SIMT_LAUNCH(kernel, grid, block, shared_bytes, stream, ...)                                          \
    simt::start(#kernel, kernel, grid, block, shared_bytes, stream, __VA_ARGS__)
#define SHARED(type, name, dims)                                                                             \
    typedef type name##_type dims;                                                                           \
    static const char name##_site = 0;                                                                       \
    name##_type &name = *(name##_type *)simt::shared(&name##_site, sizeof(name##_type), SIMT_PLACE)
#define DYN_SHARED(type, name) type *name = (type *)simt::dynamic_shared(SIMT_PLACE)

#define __syncthreads()       simt::barrier(SIMT_PLACE)
#define __syncwarp(...)       simt::warp_barrier(SIMT_PLACE, ##__VA_ARGS__)
#define __shfl_sync(...)      simt::shuffle_index(SIMT_PLACE, __VA_ARGS__)
#define __shfl_xor_sync(...)  simt::shuffle_xor(SIMT_PLACE, __VA_ARGS__)
#define __shfl_down_sync(...) simt::shuffle_down(SIMT_PLACE, __VA_ARGS__)
#define __shfl_up_sync(...)   simt::shuffle_up(SIMT_PLACE, __VA_ARGS__)
#define __ballot_sync(...)    simt::ballot(SIMT_PLACE, __VA_ARGS__)
#define __any_sync(...)       simt::any(SIMT_PLACE, __VA_ARGS__)
#define __all_sync(...)       simt::all(SIMT_PLACE, __VA_ARGS__)

#endif
