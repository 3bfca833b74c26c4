// cuBLAS and NCCL of the host, on two ranks.
#include <cublas_v2.h>
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <mpi.h>
#include <nccl.h>
#include "tests/emu/child.h" // last: cmocka has a macro `fail`

static int rank;
static cudaStream_t stream;

template <class T> static T *numbers(size_t count)
{
    void *p;
    CUDA(cudaHostAlloc(&p, count * sizeof(T), cudaHostAllocMapped));
    return (T *)p;
}
static float value(const float *x) { return *x; }
static float value(const __nv_bfloat16 *x) { return __bfloat162float(*x); }
static void put(float *to, float x) { *to = x; }
static void put(__nv_bfloat16 *to, float x) { *to = __float2bfloat16(x); }

// All four ways to transpose, rows with gaps between them, a batch, sums that are added to; whole numbers, so
// exact.
template <class In, class Out>
static void check_product(cublasHandle_t handle, cudaDataType in, cudaDataType out)
{
    enum { M = 5, N = 3, K = 4, GAP = 2, BATCH = 2, ROOM = (M + GAP) * (M + GAP) * BATCH };
    In *a = numbers<In>(ROOM), *b = numbers<In>(ROOM);
    Out *c = numbers<Out>(ROOM);
    for (int i = 0; i < ROOM; i++) put(a + i, (float)(i % 7 - 3)), put(b + i, (float)(i % 5 - 2));
    for (int ways = 0; ways < 8; ways++) {
        const bool ta = ways & 1, tb = ways & 2;
        const float alpha = 2, beta = ways & 4 ? 1 : 0;
        const int lda = (ta ? K : M) + GAP, ldb = (tb ? N : K) + GAP, ldc = M + GAP;
        const long long step = ROOM / BATCH;
        for (int i = 0; i < ROOM; i++) put(c + i, beta != 0 ? 1 : NAN);
        CHECK(cublasGemmStridedBatchedEx(handle, ta ? CUBLAS_OP_T : CUBLAS_OP_N,
                                         tb ? CUBLAS_OP_T : CUBLAS_OP_N, M, N, K, &alpha, a, in, lda, step, b,
                                         in, ldb, step, &beta, c, out, ldc, step, BATCH, CUBLAS_COMPUTE_32F,
                                         CUBLAS_GEMM_DEFAULT) == CUBLAS_STATUS_SUCCESS);
        CUDA(cudaStreamSynchronize(stream));
        for (int i = 0; i < BATCH; i++)
            for (int m = 0; m < M; m++)
                for (int n = 0; n < N; n++) {
                    float sum = beta;
                    for (int k = 0; k < K; k++)
                        sum += alpha * value(a + i * step + (ta ? m * lda + k : k * lda + m)) *
                               value(b + i * step + (tb ? k * ldb + n : n * ldb + k));
                    CHECK(value(c + i * step + n * ldc + m) == sum);
                }
        CHECK(beta != 0 || isnan(value(c + M))); // between the columns
    }
    CUDA(cudaFreeHost(a));
    CUDA(cudaFreeHost(b));
    CUDA(cudaFreeHost(c));
}
static void test_products(void **)
{
    cublasHandle_t handle;
    CHECK(cublasCreate_v2(&handle) == CUBLAS_STATUS_SUCCESS &&
          cublasSetStream_v2(handle, stream) == CUBLAS_STATUS_SUCCESS);
    check_product<float, float>(handle, CUDA_R_32F, CUDA_R_32F);
    check_product<__nv_bfloat16, __nv_bfloat16>(handle, CUDA_R_16BF, CUDA_R_16BF);
    check_product<__nv_bfloat16, float>(handle, CUDA_R_16BF, CUDA_R_32F);
    float *x = numbers<float>(64);
    const float one = 1;
    const auto gemm = [&](int m, int lda, cudaDataType type, cublasComputeType_t compute) {
        return cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, m, 4, 4, &one, x, type, lda, x + 16, CUDA_R_32F,
                            4, &one, x + 32, CUDA_R_32F, 4, compute, CUBLAS_GEMM_DEFAULT);
    };
    CHECK(gemm(4, 3, CUDA_R_32F, CUBLAS_COMPUTE_32F) == CUBLAS_STATUS_INVALID_VALUE);
    CHECK(gemm(4, 4, CUDA_R_16BF, CUBLAS_COMPUTE_32F) == CUBLAS_STATUS_NOT_SUPPORTED);
    CHECK(gemm(4, 4, CUDA_R_32F, CUBLAS_COMPUTE_64F) == CUBLAS_STATUS_NOT_SUPPORTED);
    stops({"a of a product: 208 bytes at 0 of an allocation of 200"}, [&] {
        float *small = numbers<float>(50);
        cublasGemmEx(handle, CUBLAS_OP_N, CUBLAS_OP_N, 4, 4, 4, &one, small, CUDA_R_32F, 16, x, CUDA_R_32F, 4,
                     &one, x + 32, CUDA_R_32F, 4, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
    });
    CUDA(cudaFreeHost(x));
    cublasDestroy_v2(handle);
}

// Until a call that was taken on is through.
static ncclResult_t settled(ncclComm_t c, ncclResult_t state)
{
    while (state == ncclInProgress) CHECK(ncclCommGetAsyncError(c, &state) == ncclSuccess);
    return state;
}

static ncclComm_t join()
{
    ncclUniqueId id;
    ncclComm_t c;
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    if (rank == 0) CHECK(ncclGetUniqueId(&id) == ncclSuccess);
    MPI_Bcast(&id, sizeof id, MPI_BYTE, 0, MPI_COMM_WORLD);
    const ncclResult_t state = ncclCommInitRankConfig(&c, 2, id, rank, &config);
    CHECK(state == ncclInProgress && settled(c, state) == ncclSuccess);
    return c;
}

static void test_collectives(void **)
{
    enum { COUNT = 6 };
    const ncclComm_t c = join();
    float *x = numbers<float>(2 * COUNT), *y = numbers<float>(2 * COUNT);
    double *z = numbers<double>(COUNT);
    __nv_bfloat16 *h = numbers<__nv_bfloat16>(COUNT);
    for (int i = 0; i < 2 * COUNT; i++) x[i] = (float)(i + 100 * rank);
    for (int i = 0; i < COUNT; i++) z[i] = i + 0.5 * rank, h[i] = __float2bfloat16((float)(256 + i * rank));
    CHECK(settled(c, ncclReduceScatter(x, y, COUNT, ncclFloat32, ncclSum, c, stream)) == ncclSuccess);
    CHECK(settled(c, ncclAllReduce(z, z, COUNT, ncclFloat64, ncclSum, c, stream)) == ncclSuccess);
    CHECK(settled(c, ncclAllReduce(h, h, COUNT, ncclBfloat16, ncclSum, c, stream)) == ncclSuccess);
    CUDA(cudaStreamSynchronize(stream));
    for (int i = 0; i < COUNT; i++) {
        CHECK(y[i] == (float)(2 * (i + COUNT * rank) + 100) && z[i] == 2 * i + 0.5);
        CHECK(value(h + i) == (i < 3 ? 512 : 516)); // 512 + i in steps of 4, to even
    }
    CHECK(settled(c, ncclAllGather(x + 1, y, COUNT, ncclFloat32, c, stream)) == ncclSuccess);
    CHECK(settled(c, ncclBroadcast(z, z, 1, ncclFloat64, 1, c, stream)) == ncclSuccess);
    CUDA(cudaStreamSynchronize(stream));
    for (int i = 0; i < 2 * COUNT; i++) CHECK(y[i] == (float)(i < COUNT ? i + 1 : i - COUNT + 101));
    const float *const others = x + COUNT * (1 - rank);
    stops({"ncclAllGather: a part of the buffer that is not rank"},
          [=] { ncclAllGather(others, x, COUNT, ncclFloat32, c, stream); });
    stops({"ncclReduceScatter: a part of the buffer that is not rank"},
          [=] { ncclReduceScatter(x, (void *)others, COUNT, ncclFloat32, ncclSum, c, stream); });
    CHECK(settled(c, ncclCommFinalize(c)) == ncclSuccess && ncclCommDestroy(c) == ncclSuccess);
    for (void *p : {(void *)x, (void *)y, (void *)z, (void *)h}) CUDA(cudaFreeHost(p));
}

// Messages of a group: several to and from a rank, in their order, and to itself.
static void test_messages(void **)
{
    enum { COUNT = 6 };
    const ncclComm_t c = join();
    float *x = numbers<float>(COUNT), *y = numbers<float>(COUNT);
    for (int i = 0; i < COUNT; i++) x[i] = (float)(i + 100 * rank), y[i] = -1;
    const int other = 1 - rank;
    for (int times = 0; times < 3; times++) {
        CHECK(ncclGroupStart() == ncclSuccess);
        CHECK(ncclSend(x, 1, ncclFloat32, other, c, stream) == ncclSuccess);
        CHECK(ncclRecv(y + 4, 1, ncclFloat32, rank, c, stream) == ncclSuccess);
        CHECK(ncclRecv(y, 1, ncclFloat32, other, c, stream) == ncclSuccess);
        CHECK(ncclSend(x + 1, 2, ncclFloat32, other, c, stream) == ncclSuccess);
        CHECK(ncclRecv(y + 1, 2, ncclFloat32, other, c, stream) == ncclSuccess);
        CHECK(ncclSend(x + 4, 1, ncclFloat32, rank, c, stream) == ncclSuccess);
        const ncclResult_t state = ncclGroupEnd();
        CHECK(state == ncclInProgress && settled(c, state) == ncclSuccess);
        CUDA(cudaStreamSynchronize(stream));
        for (int i = 0; i < 3; i++) CHECK(y[i] == (float)(times + i + 100 * other));
        CHECK(y[3] == -1 && y[4] == (float)(times + 4 + 100 * rank) && y[5] == -1);
        for (int i = 0; i < COUNT; i++) x[i]++;
    }
    stops({"ncclSend outside of a group"}, [=] { ncclSend(x, 1, ncclFloat32, other, c, stream); });
    stops({"ncclSend: rank 2 of 2"}, [=] {
        ncclGroupStart();
        ncclSend(x, 1, ncclFloat32, 2, c, stream);
    });
    CHECK(settled(c, ncclCommFinalize(c)) == ncclSuccess && ncclCommDestroy(c) == ncclSuccess);
    for (void *p : {(void *)x, (void *)y}) CUDA(cudaFreeHost(p));
}

// A rank that is late holds up the stream of the other, which can see that.
static void test_late(void **)
{
    const ncclComm_t c = join();
    double *z = numbers<double>(1);
    *z = 1;
    if (rank == 1) MPI_Barrier(MPI_COMM_WORLD);
    CHECK(settled(c, ncclAllReduce(z, z, 1, ncclFloat64, ncclSum, c, stream)) == ncclSuccess);
    for (int i = 0; rank == 0 && i < 100; i++) CHECK(cudaStreamQuery(stream) == cudaErrorNotReady);
    if (rank == 0) MPI_Barrier(MPI_COMM_WORLD);
    CUDA(cudaStreamSynchronize(stream));
    CHECK(*z == 2);
    CHECK(ncclCommDestroy(c) == ncclSuccess);
    CUDA(cudaFreeHost(z));
}

// A communicator that does not block only takes a call on: nothing is on the stream, and nothing more may be
// asked, until it says that the call is through.
static void test_not_through(void **)
{
    const ncclComm_t c = join();
    double *z = numbers<double>(1);
    *z = 1;
    ncclResult_t state = ncclAllReduce(z, z, 1, ncclFloat64, ncclSum, c, stream);
    CHECK(state == ncclInProgress && cudaStreamQuery(stream) == cudaSuccess);
    const char *const what = "the call before on this communicator is not through";
    stops({"ncclAllReduce", what}, [=] { ncclAllReduce(z, z, 1, ncclFloat64, ncclSum, c, stream); });
    stops({"ncclCommFinalize", what}, [=] { ncclCommFinalize(c); });
    stops({"ncclCommDestroy", what}, [=] { ncclCommDestroy(c); });
    CHECK(settled(c, state) == ncclSuccess);
    CUDA(cudaStreamSynchronize(stream));
    CHECK(*z == 2);
    state = ncclCommFinalize(c);
    CHECK(state == ncclInProgress && settled(c, state) == ncclSuccess && ncclCommDestroy(c) == ncclSuccess);
    CUDA(cudaFreeHost(z));
}

int main(int count, char **arguments)
{
    MPI_Init(&count, &arguments);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    CUDA(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
    const CMUnitTest tests[] = {cmocka_unit_test(test_products), cmocka_unit_test(test_collectives),
                                cmocka_unit_test(test_messages), cmocka_unit_test(test_late),
                                cmocka_unit_test(test_not_through)};
    const int wrong = cmocka_run_group_tests(tests, nullptr, nullptr);
    MPI_Finalize();
    return wrong;
}
