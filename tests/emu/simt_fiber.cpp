#include "tests/emu/simt_fiber.h"
#include <cstdint>
#include <cstdlib>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>
#if !defined(__x86_64__)
#include <ucontext.h>
#endif
#ifdef SIMT_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

namespace simt
{

#if defined(__x86_64__)
// Saves what a function call must preserve on the stack that it leaves, and takes it from the one it enters.
extern "C" void simt_switch(void **from, void *to);
asm(R"(
    .text
    .type simt_switch, @function
simt_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size simt_switch, . - simt_switch
)");

static void prepare(fiber *f, void (*entry)())
{
    uintptr_t *top = (uintptr_t *)(f->stack + f->stack_bytes);
    *--top = 0; // the caller of entry: nobody. The stack is as after a call: 8 bytes off a multiple of 16
    *--top = (uintptr_t)entry;
    for (int i = 0; i < 6; i++) *--top = 0;
    f->context = top;
}
static void go(fiber *from, fiber *to) { simt_switch(&from->context, to->context); }
#else
static void prepare(fiber *f, void (*entry)())
{
    ucontext_t *context = new ucontext_t;
    getcontext(context);
    context->uc_stack.ss_sp = f->stack;
    context->uc_stack.ss_size = f->stack_bytes;
    makecontext(context, entry, 0);
    f->context = context;
}
static void go(fiber *from, fiber *to)
{
    if (!from->context) from->context = new ucontext_t;
    swapcontext((ucontext_t *)from->context, (ucontext_t *)to->context);
}
#endif

fiber *fiber_create(void (*entry)())
{
    static int count;
    const size_t page = (size_t)sysconf(_SC_PAGESIZE), size = 256 << 10;
    char *memory = (char *)mmap(nullptr, size + page, PROT_READ | PROT_WRITE,
                                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED || mprotect(memory, page, PROT_NONE) != 0) abort();
    // Tops of stacks at equal places in their pages would all fall into the same lines of the cache.
    const size_t colour = (size_t)(__atomic_fetch_add(&count, 1, __ATOMIC_RELAXED) % 61) * 192;
    fiber *f = new fiber{nullptr, memory + page, size - colour, nullptr, nullptr};
    if (tsan_here()) f->tsan = __tsan_create_fiber(0);
    prepare(f, entry);
    return f;
}

void fiber_adopt(fiber *f)
{
    pthread_attr_t attributes;
    void *stack;
    if (pthread_getattr_np(pthread_self(), &attributes) != 0) abort();
    pthread_attr_getstack(&attributes, &stack, &f->stack_bytes);
    pthread_attr_destroy(&attributes);
    f->stack = (char *)stack;
    if (tsan_here()) f->tsan = __tsan_get_current_fiber();
}

void fiber_switch(fiber *from, fiber *to)
{
    if (tsan_here()) __tsan_switch_to_fiber(to->tsan, 1 /* which orders nothing */);
#ifdef SIMT_ASAN
    __sanitizer_start_switch_fiber(&from->asan, to->stack, to->stack_bytes);
#endif
    go(from, to);
#ifdef SIMT_ASAN
    __sanitizer_finish_switch_fiber(from->asan, nullptr, nullptr);
#endif
}

void fiber_entered()
{
#ifdef SIMT_ASAN
    __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
}

bool fiber_overflowed(const fiber *f, const void *address)
{
    const long below = f->stack - (const char *)address;
    return below > 0 && below <= sysconf(_SC_PAGESIZE);
}

} // namespace simt
