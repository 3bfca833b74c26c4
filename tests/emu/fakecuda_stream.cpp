// Streams are queues, events are places in them. What is queued runs when somebody waits or asks: of the
// oldest stream first; or, with FAKECUDA_LAZY, of that of highest priority, priorities being random and
// changing now and then. Many items run in one go, because opening device memory and closing it again takes
// longer than most of them.
#include "tests/emu/fake.h"
#include <cstdint>
#include <deque>
#include <memory>
#include <sched.h>
#include <unordered_map>
#include <vector>

namespace fake
{

enum { MOST_QUEUED = 256 }; // items; they hold on to memory

struct queue_of_work;
typedef std::shared_ptr<queue_of_work> queue_pointer;

struct item {
    std::function<bool()> work;
    queue_pointer after; // it may start once this queue has done `number` items
    uint64_t number;
};
struct queue_of_work {
    std::deque<item> items;
    uint64_t queued, done;
    uint64_t priority;
};
struct mark {
    queue_pointer queue; // null: not recorded
    uint64_t number;
};

// In the order in which they were made, so that seeds mean the same in every run.
static std::vector<queue_pointer> queues;
static std::unordered_map<cudaEvent_t, std::shared_ptr<mark>> events;

static long lazy()
{
    static const long seed = setting("FAKECUDA_LAZY", 0);
    return seed;
}
static uint64_t random_number()
{
    static uint64_t state = (uint64_t)lazy() * 0x9e3779b97f4a7c15u | 1;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static queue_pointer queue_of(cudaStream_t s)
{
    if (!s) error("the NULL stream is used");
    for (const queue_pointer &q : queues)
        if ((cudaStream_t)q.get() == s) return q;
    error("a stream is used that does not exist (any more)");
}
void check_stream(cudaStream_t s) { (void)queue_of(s); }

static bool may_start(const item &i) { return !i.after || i.after->done >= i.number; }

// Runs the first item of a queue; false if it is not done yet.
static bool run_first(queue_of_work *q)
{
    const std::function<bool()> work = q->items.front().work;
    if (work) {
        const touching now;
        if (!work()) return false;
    }
    q->items.pop_front();
    q->done++;
    return true;
}

// Runs one item. `waits`: none could run, and some that were tried wait for something outside.
static bool step(bool *waits)
{
    *waits = false;
    std::vector<queue_pointer> tried;
    for (;;) {
        queue_pointer best;
        for (const queue_pointer &q : queues) {
            if (lazy() && (q->priority == 0 || random_number() % 16 == 0)) q->priority = random_number() | 1;
            if (q->items.empty() || !may_start(q->items.front())) continue;
            bool again = false;
            for (const queue_pointer &t : tried) again = again || t == q;
            if (!again && (!best || q->priority > best->priority)) best = q;
        }
        if (!best) return false;
        if (run_first(best.get())) {
            *waits = false;
            return true;
        }
        *waits = true;
        tried.push_back(best);
    }
}

static void progress()
{
    const touching now;
    bool waits;
    const uint64_t most = lazy() ? 1 + random_number() % MOST_QUEUED : UINT64_MAX;
    for (uint64_t i = 0; i < most && step(&waits); i++) {
    }
}

template <class Condition> static void wait_until(Condition condition)
{
    if (condition()) return;
    const touching now;
    bool waits;
    while (!condition())
        if (!step(&waits)) {
            if (!waits) error("a stream waits for something that nobody has queued");
            sched_yield();
        }
}

static cudaError_t put(cudaStream_t s, item i)
{
    const queue_pointer q = queue_of(s);
    q->items.push_back(std::move(i));
    q->queued++;
    static int since_progress;
    if (!lazy() && ++since_progress % MOST_QUEUED == 0) progress();
    return cudaSuccess;
}
cudaError_t queue(cudaStream_t s, std::function<bool()> work)
{
    return put(s, {std::move(work), nullptr, 0});
}

void drain()
{
    wait_until([] {
        for (const queue_pointer &q : queues)
            if (!q->items.empty()) return false;
        return true;
    });
}

static std::shared_ptr<mark> mark_of(cudaEvent_t e)
{
    const auto at = events.find(e);
    if (at == events.end()) error("an event is used that does not exist (any more)");
    return at->second;
}
static bool passed(const mark &m) { return !m.queue || m.queue->done >= m.number; }

} // namespace fake

using namespace fake;

extern "C" {

cudaError_t cudaStreamCreateWithPriority(cudaStream_t *s, unsigned flags, int)
{
    if (fails("cudaStreamCreate")) return failed(cudaErrorMemoryAllocation);
    if (flags != cudaStreamNonBlocking) error("a stream that the NULL stream blocks is made");
    queues.push_back(std::make_shared<queue_of_work>());
    *s = (cudaStream_t)queues.back().get();
    return cudaSuccess;
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t *s, unsigned flags)
{
    return cudaStreamCreateWithPriority(s, flags, 0);
}
cudaError_t cudaDeviceGetStreamPriorityRange(int *least, int *greatest)
{
    *least = 0;
    *greatest = -5;
    return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t s)
{
    const queue_pointer q = queue_of(s);
    wait_until([&] { return q->items.empty(); });
    for (size_t i = 0; i < queues.size(); i++)
        if (queues[i] == q) queues.erase(queues.begin() + (long)i);
    return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t s)
{
    const queue_pointer q = queue_of(s);
    wait_until([&] { return q->items.empty(); });
    return cudaSuccess;
}
cudaError_t cudaStreamQuery(cudaStream_t s)
{
    const queue_pointer q = queue_of(s);
    if (fails(__func__)) return failed(cudaErrorIllegalAddress);
    if (!q->items.empty()) progress();
    return q->items.empty() ? cudaSuccess : failed(cudaErrorNotReady);
}
cudaError_t cudaDeviceSynchronize(void)
{
    drain();
    return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t *e, unsigned)
{
    const auto m = std::make_shared<mark>();
    *e = (cudaEvent_t)m.get();
    events[*e] = m;
    return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t e)
{
    (void)mark_of(e);
    events.erase(e);
    return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s)
{
    const std::shared_ptr<mark> m = mark_of(e);
    m->queue = queue_of(s);
    m->number = m->queue->queued + 1;
    return put(s, {nullptr, nullptr, 0});
}
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned)
{
    const std::shared_ptr<mark> m = mark_of(e);
    return put(s, {nullptr, m->queue, m->number});
}
cudaError_t cudaEventQuery(cudaEvent_t e)
{
    const std::shared_ptr<mark> m = mark_of(e);
    if (fails(__func__)) return failed(cudaErrorIllegalAddress);
    if (!passed(*m)) progress();
    return passed(*m) ? cudaSuccess : failed(cudaErrorNotReady);
}

cudaError_t cudaLaunchHostFunc(cudaStream_t s, cudaHostFn_t function, void *argument)
{
    if (fails(__func__) == HANG) return queue(s, [] { return false; });
    return enqueue(s, [=] { function(argument); });
}
}
