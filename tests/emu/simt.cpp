// Runs kernels. A thread of the system takes one block after the other; in a block every CUDA thread that has
// to wait for others keeps a fiber, and the last one to arrive goes on at once. Lanes of a warp run side by
// side, so that few stacks are in use at a time. Nothing here is compiled for the thread sanitizer: what it
// knows of order is said by tsan_*.
#include "tests/emu/simt_run.h"
#include "tests/emu/simt_fiber.h"
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <vector>

namespace simt
{

__thread position here;

namespace
{

enum { WARP = 32, MOST_THREADS = 1024, MOST_WARPS = MOST_THREADS / WARP, STATIC_SHARED = 48 << 10 };
// Behind a block of shared memory, to be found as it was; the address sanitizer has its own.
#ifdef SIMT_ASAN
enum { SLACK = 0 };
#else
enum { SLACK = 64 };
#endif

struct cuda_thread {
    fiber *stack; // null: not started, or done
    place at;     // of its last barrier or collective, for reports
    unsigned mask;
    combination combine;
    void *data;
    copy_queue copies;
};

struct warp {
    unsigned alive, ready, at_barrier, together; // lanes; those alive are in one of the others, or running
};

struct shared_block {
    const void *site; // null: the dynamic one
    char *memory;
    size_t bytes;
    bool live; // used by the block that is running
};

// For the thread sanitizer, of one block: new addresses each time, so that blocks are not ordered.
struct order {
    char begun, ended, barrier[2], warp[MOST_WARPS][2];
};

struct worker {
    const launch *l; // null: between launches
    const std::function<void()> *body;
    size_t shared_limit;
    cuda_thread thread[MOST_THREADS];
    warp warps[MOST_WARPS];
    unsigned ready_warps, num_warps, num_threads;
    unsigned current, not_done, waiting; // at the barrier
    place barrier_at;
    unsigned barriers, warp_barriers[MOST_WARPS];
    std::vector<shared_block> shared;
    size_t static_bytes;
    uint64_t random; // 0: in order
    order unused, *tsan;
    std::vector<fiber *> free_fibers, own_fibers[2]; // the latter: one per thread, for tsan
    int set;
    fiber host;
};

// A worker of a thread of the system is made when it runs its first block, and kept.
thread_local worker *w;

cuda_thread &me() { return w->thread[w->current]; }
warp &my_warp() { return w->warps[w->current / WARP]; }
unsigned my_bit() { return 1u << w->current % WARP; }

void describe_thread(const cuda_thread &t, char *text, size_t size)
{
    const unsigned i = (unsigned)(&t - w->thread), x = w->l->block.x, y = w->l->block.y;
    snprintf(text, size, "kernel %s block (%u,%u,%u) thread (%u,%u,%u) at %s:%d", w->l->kernel, here.block.x,
             here.block.y, here.block.z, i % x, i / x % y, i / x / y, t.at.file ? t.at.file : "its start",
             t.at.line);
}

[[noreturn]] void report_list(const cuda_thread &t, const char *format, va_list arguments)
{
    char text[600];
    describe_thread(t, text, sizeof text);
    fprintf(stderr, "SIMT ERROR: ");
    vfprintf(stderr, format, arguments);
    fprintf(stderr, "\n  %s\n", text);
    abort();
}

[[noreturn]] __attribute__((format(printf, 2, 3))) void report(const cuda_thread &t, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    report_list(t, format, arguments);
}

// ---- who runs next

uint64_t random_below(uint64_t n)
{
    w->random ^= w->random << 13;
    w->random ^= w->random >> 7;
    w->random ^= w->random << 17;
    return (w->random >> 11) % n;
}

// The index of a set bit: the first one, or with a seed any.
unsigned choose(unsigned bits)
{
    if (w->random)
        for (uint64_t skip = random_below((uint64_t)__builtin_popcount(bits)); skip > 0; skip--)
            bits &= bits - 1;
    return (unsigned)__builtin_ctz(bits);
}

void make_ready(unsigned warp, unsigned lanes)
{
    w->warps[warp].ready |= lanes;
    if (w->warps[warp].ready) w->ready_warps |= 1u << warp;
}

[[noreturn]] void deadlock()
{
    for (unsigned i = 0; i < w->num_threads; i++) {
        const warp &of = w->warps[i / WARP];
        if (of.together >> i % WARP & 1)
            report(w->thread[i], "deadlock: this lane waits for others of mask 0x%08x that never come",
                   w->thread[i].mask);
    }
    for (unsigned i = 0; i < w->num_threads; i++)
        if (w->warps[i / WARP].at_barrier >> i % WARP & 1)
            report(w->thread[i], "deadlock: this thread waits at a barrier that others never reach");
    abort();
}

// Takes a thread that can run. In order: of the same warp if there is one.
unsigned next_thread()
{
    if (!w->ready_warps) deadlock();
    unsigned warp = w->current / WARP;
    if (w->random || !w->warps[warp].ready) {
        const unsigned later = w->ready_warps & ~0u << warp;
        warp = choose(w->random || !later ? w->ready_warps : later);
    }
    const unsigned lane = choose(w->warps[warp].ready);
    w->warps[warp].ready &= ~(1u << lane);
    if (!w->warps[warp].ready) w->ready_warps &= ~(1u << warp);
    return warp * WARP + lane;
}

void become(unsigned index)
{
    const dim3 size = w->l->block;
    w->current = index;
    if (size.y == 1 && size.z == 1)
        here.thread = {index, 0, 0};
    else
        here.thread = {index % size.x, index / size.x % size.y, index / (size.x * size.y)};
}

void thread_main();

fiber *fiber_for(unsigned index)
{
    if (tsan_here()) return w->own_fibers[w->set][index];
    if (w->free_fibers.empty()) return fiber_create(thread_main);
    fiber *f = w->free_fibers.back();
    w->free_fibers.pop_back();
    return f;
}

// Leaves `from` for a thread that can run, and returns when the one that left goes on.
void leave(fiber *from)
{
    become(next_thread());
    if (!me().stack) me().stack = fiber_for(w->current);
    if (me().stack != from) fiber_switch(from, me().stack);
}

void release_barrier()
{
    w->waiting = 0;
    w->barriers++;
    for (unsigned i = 0; i < w->num_warps; i++) {
        make_ready(i, w->warps[i].at_barrier);
        w->warps[i].at_barrier = 0;
    }
}

// Lets the lanes of `mask` go on if all that are left of them have come.
bool combine_if_complete(unsigned warp_index, unsigned mask)
{
    warp &of = w->warps[warp_index];
    const unsigned lanes = mask & of.alive;
    if ((of.together & lanes) != lanes) return false;
    cuda_thread *first = &w->thread[warp_index * WARP];
    void *data[WARP];
    for (unsigned i = 0; i < WARP; i++) {
        data[i] = lanes >> i & 1 ? first[i].data : nullptr;
        if (!data[i]) continue;
        const cuda_thread &leader = first[__builtin_ctz(lanes)];
        if (first[i].mask != mask || first[i].combine != leader.combine)
            report(first[i], "lanes of a warp disagree: mask 0x%08x here, 0x%08x at %s:%d", first[i].mask,
                   leader.mask, leader.at.file, leader.at.line);
    }
    if (lanes) first[__builtin_ctz(lanes)].combine(data, lanes);
    of.together &= ~lanes;
    make_ready(warp_index, lanes);
    return true;
}

void thread_ended()
{
    cuda_thread &t = me();
    if (t.copies.first < t.copies.copies.size()) report(t, "the thread ends before its cp.async arrive");
    tsan_release(&w->tsan->ended);
    const unsigned index = w->current / WARP;
    my_warp().alive &= ~my_bit();
    t.stack = nullptr;
    w->not_done--;
    // Those that wait need not wait for it any longer.
    if (w->waiting && w->waiting == w->not_done) release_barrier();
    while (w->warps[index].together) {
        unsigned some = w->warps[index].together;
        bool released = false;
        for (; some && !released; some &= some - 1)
            released =
                combine_if_complete(index, w->thread[index * WARP + (unsigned)__builtin_ctz(some)].mask);
        if (!released) break;
    }
}

// What runs on every fiber: one CUDA thread after the other, whichever is given to it.
void thread_main()
{
    fiber_entered();
    for (;;) {
        fiber *mine = me().stack;
        tsan_acquire(&w->tsan->begun);
        (*w->body)();
        thread_ended();
        if (tsan_here()) {
            if (w->not_done)
                leave(mine);
            else
                fiber_switch(mine, &w->host);
            continue;
        }
        if (!w->not_done) {
            w->free_fibers.push_back(mine);
            fiber_switch(mine, &w->host);
            continue;
        }
        const unsigned next = next_thread();
        become(next);
        if (!me().stack) { // one that has not started needs no other stack than this
            me().stack = mine;
            continue;
        }
        w->free_fibers.push_back(mine);
        fiber_switch(mine, me().stack);
    }
}

// ---- shared memory

char *shared_memory(const void *site, size_t bytes)
{
    for (shared_block &s : w->shared)
        if (s.site == site && s.bytes == bytes && s.live) return s.memory;
    tsan_ignore_writes(true);
    shared_block *found = nullptr;
    for (shared_block &s : w->shared)
        if (s.site == site && s.bytes == bytes) found = &s;
    if (!found) {
        void *memory;
        if (posix_memalign(&memory, 128, bytes + SLACK) != 0) abort();
        w->shared.push_back({site, (char *)memory, bytes, false});
        found = &w->shared.back();
    }
    memset(found->memory, 0xff, bytes + SLACK); // NaN
    tsan_ignore_writes(false);
    found->live = true;
    if (site) w->static_bytes += bytes;
    if (w->static_bytes > STATIC_SHARED)
        report(me(), "%zu bytes of static shared memory; %d are the most", w->static_bytes,
               (int)STATIC_SHARED);
    if (w->static_bytes + w->l->shared_bytes > w->shared_limit)
        report(me(), "%zu bytes of static and %zu of dynamic shared memory; this GPU has %zu",
               w->static_bytes, w->l->shared_bytes, w->shared_limit);
    return found->memory;
}

void free_shared()
{
    tsan_ignore_writes(true);
    for (const shared_block &s : w->shared) free(s.memory);
    tsan_ignore_writes(false);
    w->shared.clear();
}

void end_shared()
{
    for (shared_block &s : w->shared) {
        for (size_t i = 0; s.live && i < SLACK; i++)
            if ((unsigned char)s.memory[s.bytes + i] != 0xff)
                report(w->thread[0], "something was written %zu bytes behind shared memory of %zu bytes", i,
                       s.bytes);
        s.live = false;
    }
    // The next block's must be other memory for the thread sanitizer, which would see the two race.
    if (tsan_here()) free_shared();
}

// ---- blocks and grids

void run_block(uint64_t index, bool odd, uint64_t seed)
{
    const dim3 grid = w->l->grid, block = w->l->block;
    here = {{0, 0, 0},
            {(unsigned)(index % grid.x), (unsigned)(index / grid.x % grid.y),
             (unsigned)(index / grid.x / grid.y)},
            {block.x, block.y, block.z},
            {grid.x, grid.y, grid.z}};
    w->num_threads = w->not_done = block.x * block.y * block.z;
    w->num_warps = (w->num_threads + WARP - 1) / WARP;
    w->set = odd; // neighbours have other fibers, so that the thread sanitizer sees them race too
    w->ready_warps = w->waiting = w->barriers = w->current = 0;
    w->static_bytes = 0;
    w->random = seed ? (seed * 0x9e3779b97f4a7c15u) ^ (index + 1) * 0xbf58476d1ce4e5b9u : 0;
    for (unsigned i = 0; i < w->num_warps; i++) {
        const unsigned lanes = w->num_threads - i * WARP;
        const unsigned all = lanes < WARP ? (1u << lanes) - 1 : ~0u;
        w->warps[i] = {all, 0, 0, 0};
        w->warp_barriers[i] = 0;
        make_ready(i, all);
    }
    for (unsigned i = 0; i < w->num_threads; i++) {
        w->thread[i].at = {nullptr, 0};
        w->thread[i].copies.group = 0;
    }
    // What the thread sanitizer is told of a new fiber is that it comes after the one that makes it.
    std::vector<fiber *> &own = w->own_fibers[w->set];
    while (tsan_here() && own.size() < w->num_threads) own.push_back(fiber_create(thread_main));
    tsan_release(&w->tsan->begun);
    leave(&w->host);
    end_shared();
}

void run_blocks(const launch &l, size_t shared_limit, const std::function<void()> &thread, uint64_t blocks,
                uint64_t seed)
{
    std::vector<uint64_t> at(seed ? blocks : 0);
    uint64_t random = seed;
    for (uint64_t i = 0; i < at.size(); i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        const uint64_t j = (random >> 33) % (i + 1);
        at[i] = at[j];
        at[j] = i;
    }
    std::vector<order> orders(tsan_here() ? blocks : 0);
#pragma omp parallel if (blocks > 1 && blocks * l.block.x > 4096)
    {
        if (!w) {
            w = new worker();
            fiber_adopt(&w->host);
        }
        w->l = &l;
        w->body = &thread;
        w->shared_limit = shared_limit;
#pragma omp for schedule(dynamic)
        for (uint64_t i = 0; i < blocks; i++) {
            w->tsan = tsan_here() ? &orders[i] : &w->unused;
            run_block(seed ? at[i] : i, i & 1, seed);
        }
        free_shared();
        w->l = nullptr;
    }
    for (order &o : orders) tsan_acquire(&o.ended);
}

} // namespace

void run(const launch &l, size_t shared_limit, const std::function<void()> &thread)
{
    const char *seed = getenv("SIMT_SEED");
    run_blocks(l, shared_limit, thread, (uint64_t)l.grid.x * l.grid.y * l.grid.z,
               seed ? strtoull(seed, nullptr, 10) : 0);
}

// ---- what a thread can do

// Lets a thread go on that has to wait no longer, or with a seed any other first.
static void go_on()
{
    make_ready(w->current / WARP, my_bit());
    if (w->random) return leave(me().stack);
    my_warp().ready &= ~my_bit();
    if (!my_warp().ready) w->ready_warps &= ~(1u << w->current / WARP);
}

void barrier(place at)
{
    cuda_thread &t = me();
    t.at = at;
    char *phase = &w->tsan->barrier[w->barriers & 1];
    tsan_release(phase);
    if (w->waiting++ == 0) w->barrier_at = at;
    if (at.line != w->barrier_at.line ||
        (at.file != w->barrier_at.file && strcmp(at.file, w->barrier_at.file) != 0))
        report(t, "threads of a block wait at different barriers: others at %s:%d", w->barrier_at.file,
               w->barrier_at.line);
    if (w->waiting == w->not_done) {
        release_barrier();
        go_on();
    } else {
        my_warp().at_barrier |= my_bit();
        leave(t.stack);
    }
    tsan_acquire(phase);
}

void together(unsigned mask, combination combine, void *data, place at)
{
    cuda_thread &t = me();
    t.at = at;
    t.mask = mask;
    t.combine = combine;
    t.data = data;
    if (!(mask & my_bit())) report(t, "this lane is not of the mask 0x%08x that it gives", mask);
    my_warp().together |= my_bit();
    if (combine_if_complete(w->current / WARP, mask))
        go_on();
    else
        leave(t.stack);
}

void warp_barrier(place at, unsigned mask)
{
    const unsigned index = w->current / WARP;
    char *phase = &w->tsan->warp[index][w->warp_barriers[index] & 1];
    tsan_release(phase);
    const auto count = [](void *const(&)[WARP], unsigned) { w->warp_barriers[w->current / WARP]++; };
    together(mask, count, &me(), at);
    tsan_acquire(phase);
}

unsigned lane() { return w->current % WARP; }

uint64_t shuffle(unsigned mask, uint64_t value, unsigned source, place at)
{
    struct exchange {
        uint64_t value, result;
        unsigned source;
    } mine = {value, 0, source};
    const auto combine = [](void *const(&data)[WARP], unsigned lanes) {
        for (unsigned i = 0; i < WARP; i++) {
            if (!data[i]) continue;
            exchange *x = (exchange *)data[i];
            if (!(lanes >> x->source & 1))
                report(w->thread[w->current / WARP * WARP + i],
                       "a shuffle reads lane %u, which is not of its mask or gone", x->source);
            x->result = ((const exchange *)data[x->source])->value;
        }
    };
    together(mask, combine, &mine, at);
    return mine.result;
}

unsigned ballot(place at, unsigned mask, bool vote)
{
    unsigned mine = vote;
    const auto combine = [](void *const(&data)[WARP], unsigned) {
        unsigned votes = 0;
        for (unsigned i = 0; i < WARP; i++)
            if (data[i] && *(unsigned *)data[i]) votes |= 1u << i;
        for (void *each : data)
            if (each) *(unsigned *)each = votes;
    };
    together(mask, combine, &mine, at);
    return mine;
}

void *shared(const void *site, size_t bytes, place at)
{
    me().at = at;
    return shared_memory(site, bytes);
}

void *dynamic_shared(place at)
{
    me().at = at;
    if (w->l->shared_bytes == 0) report(me(), "it uses dynamic shared memory, and the launch gives none");
    return shared_memory(nullptr, w->l->shared_bytes);
}

// ---- for the other parts

void wrong(place at, const char *format, ...)
{
    me().at = at;
    va_list arguments;
    va_start(arguments, format);
    report_list(me(), format, arguments);
}

bool describe(char *text, size_t size)
{
    if (!w || !w->l) return false;
    describe_thread(me(), text, size);
    return true;
}

bool stack_overflowed(const void *address)
{
    return w && w->l && me().stack && fiber_overflowed(me().stack, address);
}

bool in_shared(const void *p, size_t bytes)
{
    for (const shared_block &s : w->shared)
        if (s.live && (const char *)p >= s.memory && (const char *)p + bytes <= s.memory + s.bytes)
            return true;
    return false;
}

copy_queue &my_copies() { return me().copies; }

} // namespace simt
