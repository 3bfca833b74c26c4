// Products of matrices, by OpenBLAS in float: of f32 or bf16, added up in float, rounded once. Column-major,
// as cuBLAS is.
#include "tests/emu/fake.h"
#include <cblas.h>
#include <cstdint>
#include <cstring>
#include <cublas_v2.h>
#include <cuda_bf16.h>
#include <vector>

// Of OpenMP; not every compiler brings the header.
extern "C" int omp_get_max_threads(void);
extern "C" void omp_set_num_threads(int);

struct cublasContext {
    cudaStream_t stream;
    void *workspace; // null: the library's own
    size_t workspace_bytes;
};

namespace
{

struct matrix {
    char *data;
    cudaDataType type;
    int rows, columns, leading;
    long long stride; // between the matrices of a batch, in elements

    size_t element() const { return type == CUDA_R_16BF ? 2 : 4; }
    bool sound() const { return rows >= 0 && columns >= 0 && leading >= (rows > 1 ? rows : 1); }
    void check(int count, const char *what) const
    {
        if ((uintptr_t)data % element() != 0) fake::error("%s is not aligned to its elements", what);
        const long long last = stride * (count - 1) + (long long)leading * (columns - 1) + rows;
        if (rows > 0 && columns > 0) fake::device_range(data, (size_t)last * element(), what);
    }
    char *at(int batch, int column) const
    {
        return data + (batch * stride + (long long)column * leading) * (long long)element();
    }
    // As floats, column by column without gaps.
    void read(int batch, std::vector<float> *to) const
    {
        to->resize((size_t)rows * (size_t)columns);
        float *out = to->data();
        for (int c = 0; c < columns; c++, out += rows) {
            if (type == CUDA_R_32F) memcpy(out, at(batch, c), (size_t)rows * sizeof(float));
            for (int r = 0; type == CUDA_R_16BF && r < rows; r++)
                out[r] = __bfloat162float(((const __nv_bfloat16 *)at(batch, c))[r]);
        }
    }
    void write(int batch, const std::vector<float> &from) const
    {
        const float *in = from.data();
        for (int c = 0; c < columns; c++, in += rows) {
            if (type == CUDA_R_32F) memcpy(at(batch, c), in, (size_t)rows * sizeof(float));
            for (int r = 0; type == CUDA_R_16BF && r < rows; r++)
                ((__nv_bfloat16 *)at(batch, c))[r] = __float2bfloat16_rn(in[r]);
        }
    }
};

CBLAS_TRANSPOSE transposed(cublasOperation_t op) { return op == CUBLAS_OP_N ? CblasNoTrans : CblasTrans; }

void multiply(cublasOperation_t ta, cublasOperation_t tb, int k, float alpha, const matrix &a,
              const matrix &b, float beta, const matrix &c, int count)
{
    std::vector<float> left, right, sum;
    // One thread: products are small, and the bits of a GPU do not depend on the host's threads.
    const int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    for (int i = 0; i < count; i++) {
        a.read(i, &left);
        b.read(i, &right);
        if (beta != 0)
            c.read(i, &sum);
        else
            sum.assign((size_t)c.rows * (size_t)c.columns, 0); // what is there may be NaN
        if (!sum.empty())
            cblas_sgemm(CblasColMajor, transposed(ta), transposed(tb), c.rows, c.columns, k, alpha,
                        left.data(), a.rows > 0 ? a.rows : 1, right.data(), b.rows > 0 ? b.rows : 1, beta,
                        sum.data(), c.rows);
        c.write(i, sum);
    }
    omp_set_num_threads(threads);
}

} // namespace

using namespace fake;

extern "C" {

cublasStatus_t cublasCreate_v2(cublasHandle_t *handle)
{
    if (fails("cublasCreate")) return CUBLAS_STATUS_NOT_INITIALIZED;
    *handle = new cublasContext{};
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasDestroy_v2(cublasHandle_t handle)
{
    delete handle;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream)
{
    check_stream(stream);
    *handle = {stream, nullptr, 0};
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetWorkspace_v2(cublasHandle_t handle, void *workspace, size_t bytes)
{
    if ((uintptr_t)workspace % 256 != 0) return CUBLAS_STATUS_INVALID_VALUE;
    if (bytes > 0) device_range(workspace, bytes, "the workspace of cuBLAS");
    handle->workspace = workspace;
    handle->workspace_bytes = bytes;
    return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t) { return CUBLAS_STATUS_SUCCESS; }

cublasStatus_t cublasGetProperty(libraryPropertyType type, int *value)
{
    const int version[] = {CUBLAS_VER_MAJOR, CUBLAS_VER_MINOR, CUBLAS_VER_PATCH};
    *value = version[type]; /* MAJOR_VERSION, MINOR_VERSION, PATCH_LEVEL */
    return CUBLAS_STATUS_SUCCESS;
}

const char *cublasGetStatusString(cublasStatus_t status)
{
    switch (status) {
    case CUBLAS_STATUS_SUCCESS:
        return "the operation completed successfully";
    case CUBLAS_STATUS_NOT_INITIALIZED:
        return "the library was not initialized";
    case CUBLAS_STATUS_INVALID_VALUE:
        return "an unsupported value or parameter was passed to the function";
    case CUBLAS_STATUS_NOT_SUPPORTED:
        return "the functionality requested is not supported";
    case CUBLAS_STATUS_EXECUTION_FAILED:
        return "the function failed to launch on the GPU";
    default:
        return "unknown status";
    }
}

static cublasStatus_t gemm(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int k,
                           const void *alpha, const matrix &a, const matrix &b, const void *beta,
                           const matrix &c, int count, cublasComputeType_t compute)
{
    const bool types = (a.type == CUDA_R_32F || a.type == CUDA_R_16BF) && b.type == a.type &&
                       (c.type == CUDA_R_32F || c.type == a.type) && compute == CUBLAS_COMPUTE_32F;
    if (!types || ta == CUBLAS_OP_C || tb == CUBLAS_OP_C) return CUBLAS_STATUS_NOT_SUPPORTED;
    if (k < 0 || count < 0 || !a.sound() || !b.sound() || !c.sound()) return CUBLAS_STATUS_INVALID_VALUE;
    const bool apart = c.stride >= (long long)c.leading * (c.columns - 1) + c.rows,
               side_by_side = c.stride >= c.rows && c.stride * (count - 1) + c.rows <= c.leading;
    if (count > 1 && c.columns > 0 && !apart && !side_by_side) error("the results of a batch overlap");
    if (count == 0 || c.rows == 0 || c.columns == 0) return CUBLAS_STATUS_SUCCESS;
    a.check(count, "a of a product");
    b.check(count, "b of a product");
    c.check(count, "c of a product");
    const float factor = *(const float *)alpha, keep = *(const float *)beta; // of the host, read at once
    const cublasContext context = *handle;
    enqueue(context.stream, [=] {
        // The real one writes there what it likes.
        if (context.workspace_bytes >= 256) memset(context.workspace, 0xff, 256);
        multiply(ta, tb, k, factor, a, b, keep, c, count);
    });
    return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb,
                                          int m, int n, int k, const void *alpha, const void *a,
                                          cudaDataType at, int lda, long long sa, const void *b,
                                          cudaDataType bt, int ldb, long long sb, const void *beta, void *c,
                                          cudaDataType ct, int ldc, long long sc, int count,
                                          cublasComputeType_t compute, cublasGemmAlgo_t)
{
    if (fails(__func__)) return CUBLAS_STATUS_EXECUTION_FAILED;
    const bool an = ta == CUBLAS_OP_N, bn = tb == CUBLAS_OP_N;
    return gemm(handle, ta, tb, k, alpha, {(char *)a, at, an ? m : k, an ? k : m, lda, sa},
                {(char *)b, bt, bn ? k : n, bn ? n : k, ldb, sb}, beta, {(char *)c, ct, m, n, ldc, sc}, count,
                compute);
}
cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t ta, cublasOperation_t tb, int m, int n,
                            int k, const void *alpha, const void *a, cudaDataType at, int lda, const void *b,
                            cudaDataType bt, int ldb, const void *beta, void *c, cudaDataType ct, int ldc,
                            cublasComputeType_t compute, cublasGemmAlgo_t algorithm)
{
    if (fails(__func__)) return CUBLAS_STATUS_EXECUTION_FAILED;
    return cublasGemmStridedBatchedEx(handle, ta, tb, m, n, k, alpha, a, at, lda, 0, b, bt, ldb, 0, beta, c,
                                      ct, ldc, 0, 1, compute, algorithm);
}
}
