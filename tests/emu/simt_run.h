// Between the parts of the emulator; kernels see simt.h alone.
#ifndef REMLA_TESTS_EMU_SIMT_RUN_H
#define REMLA_TESTS_EMU_SIMT_RUN_H
#include "tests/emu/mma.h"
#include "tests/emu/simt.h"
#include <vector>

namespace simt
{

// Runs all blocks; returns when they are done. `shared_limit`: bytes of shared memory that a block of this
// GPU can have.
void run(const launch &l, size_t shared_limit, const std::function<void()> &thread);

// Stops the program with a sentence about the CUDA thread that is running.
[[noreturn]] void wrong(place at, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Writes where the caller is in a kernel, for a handler of signals; false if in none.
bool describe(char *text, size_t size);
// Whether a fault at `address` is that of a CUDA thread that used up its stack.
bool stack_overflowed(const void *address);

// Whether the bytes are shared memory of the running block.
bool in_shared(const void *p, size_t bytes);

// What cp.async of the running thread are under way: those from `first` on.
struct copy_queue {
    std::vector<copy> copies;
    size_t first;
    int group; // which those started now belong to
};
copy_queue &my_copies();

} // namespace simt
#endif
