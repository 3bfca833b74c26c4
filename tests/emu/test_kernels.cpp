// A kernel for everything that kernels use, on its own and in several orders of threads; and one for every
// mistake that the emulator tells.
#include "tests/emu/mma.h"
#include "tests/emu/child.h"
#include <csignal>

static cudaStream_t stream()
{
    static cudaStream_t s;
    if (!s) CUDA(cudaStreamCreateWithFlags(&s, cudaStreamNonBlocking));
    return s;
}
// Memory that both sides can touch.
template <class T> static T *numbers(size_t count)
{
    void *p;
    CUDA(cudaHostAlloc(&p, count * sizeof(T), cudaHostAllocMapped));
    return (T *)p;
}
#define LAUNCH(kernel, grid, block, bytes, ...)                                                              \
    do {                                                                                                     \
        CUDA(SIMT_LAUNCH(kernel, grid, block, bytes, stream(), __VA_ARGS__));                                \
        CUDA(cudaStreamSynchronize(stream()));                                                               \
    } while (0)

// With threads in order, and in some others.
template <class Run> static void in_orders(Run run)
{
    for (const char *seed : {"0", "1", "2", "3"}) passes({{"SIMT_SEED", seed}}, run);
}

// ---- what works

static __global__ void where(int *out)
{
    const unsigned block = (blockIdx.z * gridDim.y + blockIdx.y) * gridDim.x + blockIdx.x;
    const unsigned thread = (threadIdx.z * blockDim.y + threadIdx.y) * blockDim.x + threadIdx.x;
    const unsigned i = block * blockDim.x * blockDim.y * blockDim.z + thread;
    out[i] += (int)i;
}
static void test_indices(void **)
{
    in_orders([] {
        enum { COUNT = 2 * 3 * 4 * 5 * 3 * 2 };
        int *out = numbers<int>(COUNT);
        memset(out, 0, COUNT * sizeof *out);
        LAUNCH(where, dim3(2, 3, 4), dim3(5, 3, 2), 0, out);
        for (int i = 0; i < COUNT; i++) CHECK(out[i] == i);
    });
}

// Sums what the threads before have, by one barrier after the other; the last warp is not full.
enum { SCAN = 100 };
static __global__ void scan(float *out, const float *in)
{
    SHARED(float, sum, [2][SCAN]);
    const int i = (int)threadIdx.x;
    int from = 0;
    CHECK(isnan(sum[1][i])); // shared memory is garbage at first, for every block
    sum[0][i] = in[blockIdx.x * SCAN + threadIdx.x];
    for (int step = 1; step < SCAN; step *= 2, from ^= 1) {
        __syncthreads();
        sum[from ^ 1][i] = sum[from][i] + (i >= step ? sum[from][i - step] : 0);
    }
    out[blockIdx.x * SCAN + threadIdx.x] = sum[from][i];
}
static void test_barriers(void **)
{
    in_orders([] {
        enum { BLOCKS = 3 };
        float *in = numbers<float>(BLOCKS * SCAN), *out = numbers<float>(BLOCKS * SCAN);
        for (int i = 0; i < BLOCKS * SCAN; i++) in[i] = (float)(i % 7);
        LAUNCH(scan, BLOCKS, SCAN, 0, out, in);
        for (int b = 0, i = 0; b < BLOCKS; b++) {
            float sum = 0;
            for (int t = 0; t < SCAN; t++, i++) CHECK(out[i] == (sum += in[i]));
        }
    });
}

// Threads that are gone do not hold up the others at a barrier or in a warp.
static __global__ void leave_early(int *out)
{
    SHARED(int, value, [64]);
    const int i = (int)threadIdx.x;
    if (i % 2) return;
    value[i] = i;
    __syncthreads();
    out[i] = value[62 - i] + __shfl_xor_sync(~0u, i, 2);
}
static void test_early_exits(void **)
{
    in_orders([] {
        int *out = numbers<int>(64);
        LAUNCH(leave_early, 1, 64, 0, out);
        for (int i = 0; i < 64; i += 2) CHECK(out[i] == 62 - i + (i ^ 2));
    });
}

static __global__ void warp_words(int *out)
{
    const int i = (int)threadIdx.x, low = i % 32 < 16;
    const unsigned half = low ? 0xffff : 0xffff0000;
    int *o = out + 10 * i;
    o[0] = __shfl_sync(~0u, i, 5);
    o[1] = __shfl_sync(~0u, i, 5, 8);
    o[2] = __shfl_up_sync(~0u, i, 3);
    o[3] = __shfl_down_sync(~0u, i, 3, 16);
    o[4] = (int)__shfl_xor_sync(~0u, (double)i, 17);
    o[5] = (int)__ballot_sync(~0u, i % 3 == 0);
    o[6] = __any_sync(~0u, i % 32 == 7) + 2 * __all_sync(~0u, i >= 0) + 4 * __any_sync(~0u, 0) +
           8 * __all_sync(~0u, i != 40);
    o[7] = low ? __shfl_sync(half, i, 1) : __shfl_sync(half, i, 17); // halves go their own ways
    SHARED(int, mail, [64]);
    mail[i] = i;
    __syncwarp();
    o[8] = mail[i ^ 31];
    o[9] = __popc(__ballot_sync(half, 1));
}
static void test_warps(void **)
{
    in_orders([] {
        int *out = numbers<int>(640);
        LAUNCH(warp_words, 1, 64, 0, out);
        for (int i = 0; i < 64; i++) {
            const int *o = out + 10 * i, warp = i / 32 * 32, lane = i % 32;
            CHECK(o[0] == warp + 5 && o[1] == i / 8 * 8 + 5);
            CHECK(o[2] == (lane >= 3 ? i - 3 : i) && o[3] == (lane % 16 + 3 < 16 ? i + 3 : i) &&
                  o[4] == (i ^ 17));
            unsigned thirds = 0;
            for (int j = 0; j < 32; j++) thirds |= (unsigned)((warp + j) % 3 == 0) << j;
            CHECK((unsigned)o[5] == thirds && o[6] == 3 + (warp ? 0 : 8));
            CHECK(o[7] == warp + (lane < 16 ? 1 : 17) && o[8] == (i ^ 31) && o[9] == 16);
        }
    });
}

static __global__ void dynamic(float *out, int count)
{
    DYN_SHARED(float, tile);
    for (int i = (int)threadIdx.x; i < count; i += (int)blockDim.x) tile[i] = (float)i;
    __syncthreads();
    if (threadIdx.x == 0) out[0] = tile[count - 1];
}
static void test_dynamic_shared(void **)
{
    passes([] {
        float *out = numbers<float>(1);
        LAUNCH(dynamic, 1, 32, 227 << 10, out, 227 << 8);
        CHECK(out[0] == (227 << 8) - 1);
        CHECK(SIMT_LAUNCH(dynamic, 1, 32, (227 << 10) + 1, stream(), out, 1) == cudaErrorInvalidValue);
        CHECK(SIMT_LAUNCH(dynamic, 1, 1025, 4, stream(), out, 1) == cudaErrorInvalidConfiguration);
        CHECK(SIMT_LAUNCH(dynamic, dim3(1, 65536), 32, 4, stream(), out, 1) == cudaErrorInvalidConfiguration);
        CHECK(SIMT_LAUNCH(dynamic, 0, 32, 4, stream(), out, 1) == cudaErrorInvalidConfiguration);
    });
    passes({{"FAKECUDA_ARCH", "89"}}, [] {
        CHECK(SIMT_LAUNCH(dynamic, 1, 32, (99 << 10) + 1, stream(), numbers<float>(1), 1) ==
              cudaErrorInvalidValue);
    });
}

// c (64,8) = a (64,32) b (32,8), a warp for 16 rows: both loads of operands, and copies that go on beside.
enum { M = 64, K = 32, N = 8 };
static __global__ void product(float *c, const __nv_bfloat16 *a, const __nv_bfloat16 *b)
{
    SHARED(__nv_bfloat16, left, [M][K]);
    SHARED(__nv_bfloat16, right, [K][N]);
    const int i = (int)threadIdx.x, warp = i / 32, lane = i % 32;
    for (int j = i; j < M * K / 8; j += 128) cp_async16(left[0] + 8 * j, a + 8 * j);
    cp_async_commit();
    if (i < K) cp_async16(right[i], b + i * N);
    cp_async_commit();
    CHECK(i >= K || isnan(__bfloat162float(right[i][0]))); // nothing has arrived for sure
    cp_async_wait<1>();
    CHECK(!isnan(__bfloat162float(left[i / 4][i % 4 * 8])));
    cp_async_wait<0>();
    __syncthreads();
    float sum[4] = {};
    uint32_t columns[4];
    ldmatrix_x4_trans(columns, right[lane]);
    for (int k = 0; k < K; k += 16) {
        uint32_t rows[4];
        ldmatrix_x4(rows, &left[warp * 16 + lane % 16][k + lane / 16 * 8]);
        const uint32_t pair[2] = {columns[k / 8], columns[k / 8 + 1]};
        mma_m16n8k16(sum, rows, pair, sum);
    }
    for (int j = 0; j < 4; j++) c[(warp * 16 + lane / 4 + j / 2 * 8) * N + 2 * (lane % 4) + j % 2] = sum[j];
}
static void test_product(void **)
{
    in_orders([] {
        __nv_bfloat16 *a = numbers<__nv_bfloat16>(M * K), *b = numbers<__nv_bfloat16>(K * N);
        float *c = numbers<float>(M * N);
        for (int i = 0; i < M * K; i++) a[i] = __float2bfloat16((float)(i * 7 % 31 - 15));
        for (int i = 0; i < K * N; i++) b[i] = __float2bfloat16((float)(i * 5 % 17 - 8));
        LAUNCH(product, 1, 128, 0, c, a, b);
        for (int m = 0; m < M; m++)
            for (int n = 0; n < N; n++) {
                float want = 0; // whole numbers: exact
                for (int k = 0; k < K; k++)
                    want += __bfloat162float(a[m * K + k]) * __bfloat162float(b[k * N + n]);
                CHECK(c[m * N + n] == want);
            }
    });
}

// ---- what does not

// Launches one block of 64 threads, which must be stopped with these words.
#define STOPS(kernel, ...)                                                                                   \
    stops({__VA_ARGS__, #kernel, "test_kernels.cpp"}, [] { LAUNCH(kernel, 1, 64, 0, numbers<int>(64)); })

static __global__ void two_barriers(int *)
{
    if (threadIdx.x < 32)
        __syncthreads();
    else
        __syncthreads();
}
static __global__ void half_shuffles(int *out)
{
    if (threadIdx.x % 32 < 16) out[threadIdx.x] = __shfl_xor_sync(~0u, 1, 1);
    __syncthreads();
}
static __global__ void masks_differ(int *out)
{
    out[threadIdx.x] = __shfl_xor_sync(threadIdx.x % 32 < 16 ? ~0u : 0xffffff0f, 1, 1);
}
static __global__ void not_in_mask(int *out) { out[threadIdx.x] = __shfl_xor_sync(0xff, 1, 1); }
static __global__ void reads_outside(int *out)
{
    if (threadIdx.x % 32 < 8) out[threadIdx.x] = __shfl_sync(0xff, 1, 9);
}
static __global__ void reads_the_gone(int *out)
{
    if (threadIdx.x % 32 == 9) return;
    out[threadIdx.x] = __shfl_sync(~0u, 1, 9);
}
static __global__ void one_alone(int *)
{
    if (threadIdx.x >= 32) return;
    if (threadIdx.x == 0) __syncthreads();
    __syncwarp();
}
static __global__ void too_much_shared(int *out)
{
    SHARED(int, big, [48 * 256 + 1]);
    out[0] = big[0];
}
static __global__ void no_dynamic(int *out)
{
    DYN_SHARED(int, tile);
    out[0] = tile[0];
}
static __global__ void copies_forgotten(int *out)
{
    SHARED(int, tile, [64][4]);
    cp_async16(tile[threadIdx.x], out);
}
static __global__ void copies_to_registers(int *out)
{
    alignas(16) int tile[4];
    cp_async16(tile, out);
}
static __global__ void crooked_rows(int *out)
{
    SHARED(char, tile, [1024]);
    uint32_t r[4];
    ldmatrix_x4(r, tile + 8);
    out[0] = (int)r[0];
}
static void test_mistakes(void **)
{
    STOPS(two_barriers, "threads of a block wait at different barriers", "block (0,0,0) thread (32,0,0)");
    STOPS(half_shuffles, "deadlock: this lane waits for others of mask 0xffffffff");
    STOPS(masks_differ, "lanes of a warp disagree");
    STOPS(not_in_mask, "this lane is not of the mask 0x000000ff", "thread (8,0,0)");
    STOPS(reads_outside, "a shuffle reads lane 9");
    STOPS(reads_the_gone, "a shuffle reads lane 9");
    STOPS(one_alone, "deadlock: this lane waits for others of mask");
    STOPS(too_much_shared, "49156 bytes of static shared memory");
    STOPS(no_dynamic, "dynamic shared memory");
    STOPS(copies_forgotten, "the thread ends before its cp.async arrive");
    STOPS(copies_to_registers, "cp.async: the destination is not in shared memory");
    STOPS(crooked_rows, "ldmatrix: the row is not aligned to 16 bytes");
}

static __global__ void reads_int(int *out, const int *in) { out[0] = in[0]; }
struct pair {
    long n;
    const int *in;
};
static __global__ void reads_pair(int *out, pair p) { out[0] = p.in[0]; }
static void test_host_pointers(void **)
{
    static int on_host;
    stops({"kernel reads_int got", "not memory of the device"},
          [] { LAUNCH(reads_int, 1, 1, 0, numbers<int>(1), &on_host); });
    stops({"kernel reads_pair got", "memory of the host"}, [] {
        LAUNCH(reads_pair, 1, 1, 0, numbers<int>(1), pair{1, &on_host});
    });
    passes([] {
        int *both = numbers<int>(2);
        both[0] = 17;
        LAUNCH(reads_pair, 1, 1, 0, both + 1, pair{1, both});
        CHECK(both[1] == 17);
    });
}

static __global__ void writes_at(char *out, long offset) { out[offset] = 1; }
static __global__ void recurses(volatile int *out)
{
    struct endless {
        static int down(volatile int *p) { return *p == 5 ? 0 : down(p) + down(p + 1 - 1) + *p; }
    };
    out[1] = endless::down(out);
}
static void test_faults(void **)
{
    const char *protect = getenv("FAKECUDA_PROTECT");
    if (protect && strcmp(protect, "0") == 0) return;
    stops({"kernel writes_at block (0,0,0) thread (0,0,0)", "touched what lies beside an allocation"},
          [] { LAUNCH(writes_at, 1, 1, 0, numbers<char>(1000), 1024L); });
    stops({"something was written 3 bytes behind an allocation of 1000"}, [] {
        char *p = numbers<char>(1000);
        LAUNCH(writes_at, 1, 1, 0, p, 1003L);
        cudaFreeHost(p);
    });
    stops({"kernel recurses", "used up its stack"}, [] { LAUNCH(recurses, 1, 1, 0, numbers<int>(2)); });
}

// ---- what sanitizers see

static __global__ void beyond_shared(int *out)
{
    SHARED(int, tile, [65]);
    int *from_second = tile + 1;
    from_second[threadIdx.x + 1] = 1;
    __syncthreads();
    out[threadIdx.x] = tile[threadIdx.x];
}
[[maybe_unused]] static __global__ void no_barrier(int *out)
{
    SHARED(int, tile, [64]);
    tile[threadIdx.x] = 1;
    out[threadIdx.x] = tile[threadIdx.x ^ 32];
}
static __global__ void one_place(int *out)
{
    if (threadIdx.x == 0) out[0] = (int)blockIdx.x;
}
static __global__ void whole_numbers(int *out) { atomicAdd(out, 1); }
[[maybe_unused]] static __global__ void crooked_vector(int *out)
{
    *(volatile int *)out = ((const int4 *)(out + 1))->x;
}
static void test_sanitizers(void **)
{
#if defined(__SANITIZE_ADDRESS__)
    stops({"heap-buffer-overflow", "beyond_shared"},
          [] { LAUNCH(beyond_shared, 1, 64, 0, numbers<int>(64)); });
    stops({"misaligned address"}, [] { LAUNCH(crooked_vector, 1, 1, 0, numbers<int>(64)); });
#else
    stops({"something was written", "behind shared memory of 260 bytes"},
          [] { LAUNCH(beyond_shared, 1, 64, 0, numbers<int>(64)); });
#endif
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
    for (const char *seed : {"0", "1", "2"}) {
        stops({"data race"}, {{"SIMT_SEED", seed}}, [] { LAUNCH(no_barrier, 1, 64, 0, numbers<int>(64)); });
        stops({"data race"}, {{"SIMT_SEED", seed}}, [] { LAUNCH(one_place, 2, 64, 0, numbers<int>(64)); });
    }
#endif
#endif
    in_orders([] {
        int *out = numbers<int>(1);
        out[0] = 0;
        LAUNCH(whole_numbers, 9, 100, 0, out);
        LAUNCH(one_place, 1, 64, 0, out); // launches are ordered
        LAUNCH(one_place, 1, 64, 0, out);
        CHECK(out[0] == 0);
    });
}

int main()
{
    const CMUnitTest tests[] = {cmocka_unit_test(test_indices),       cmocka_unit_test(test_barriers),
                                cmocka_unit_test(test_early_exits),   cmocka_unit_test(test_warps),
                                cmocka_unit_test(test_product),       cmocka_unit_test(test_dynamic_shared),
                                cmocka_unit_test(test_mistakes),      cmocka_unit_test(test_faults),
                                cmocka_unit_test(test_host_pointers), cmocka_unit_test(test_sanitizers)};
    return cmocka_run_group_tests(tests, nullptr, nullptr);
}
