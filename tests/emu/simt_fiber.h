// Stacks between which one thread of the system switches, known to the sanitizers.
#ifndef REMLA_TESTS_EMU_FIBER_H
#define REMLA_TESTS_EMU_FIBER_H
#include <cstddef>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SIMT_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define SIMT_ASAN 1
#endif

// There in a program that is linked with the thread sanitizer.
extern "C" {
#define SIMT_WEAK __attribute__((weak))
SIMT_WEAK void *__tsan_get_current_fiber(void);
SIMT_WEAK void *__tsan_create_fiber(unsigned flags);
SIMT_WEAK void __tsan_switch_to_fiber(void *fiber, unsigned flags);
SIMT_WEAK void __tsan_acquire(void *address);
SIMT_WEAK void __tsan_release(void *address);
SIMT_WEAK void AnnotateIgnoreWritesBegin(const char *file, int line);
SIMT_WEAK void AnnotateIgnoreWritesEnd(const char *file, int line);
#undef SIMT_WEAK
}

namespace simt
{

struct fiber {
    void *context; // where it goes on
    char *stack;   // lowest address; the page below faults
    size_t stack_bytes;
    void *asan, *tsan; // what the sanitizers keep of it
};

// A fiber that calls `entry` when it is first switched to. `entry` never returns. Fibers are never freed.
fiber *fiber_create(void (*entry)());
// Makes a fiber of the stack on which the caller runs.
void fiber_adopt(fiber *f);
// Goes on in `to`; returns when another fiber switches back to `from`.
void fiber_switch(fiber *from, fiber *to);
// The first thing that `entry` does.
void fiber_entered();
// The page below its stack: what an endless recursion touches first.
bool fiber_overflowed(const fiber *f, const void *address);

// Happens-before of the thread sanitizer, which sees nothing of this library otherwise: kernels alone are
// compiled for it. Without it these do nothing.
inline bool tsan_here() { return __tsan_create_fiber != nullptr; }
inline void tsan_release(void *address)
{
    if (tsan_here()) __tsan_release(address);
}
inline void tsan_acquire(void *address)
{
    if (tsan_here()) __tsan_acquire(address);
}
inline void tsan_ignore_writes(bool on) // of malloc and free
{
    if (tsan_here()) (on ? AnnotateIgnoreWritesBegin : AnnotateIgnoreWritesEnd)(__FILE__, __LINE__);
}

} // namespace simt
#endif
