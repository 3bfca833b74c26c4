/* See gemm.h. cuBLAS is opened when the first product is computed. */
#include "base/memory.h"
#include "kernels/cuda/gemm.h"
#include "base/library.h"
#include "kernels/versions.h"
#include <cublas_v2.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#define CUBLAS_CALLS(F)                                                                                      \
    F(cublasCreate_v2)                                                                                       \
    F(cublasDestroy_v2)                                                                                      \
    F(cublasSetStream_v2)                                                                                    \
    F(cublasSetWorkspace_v2)                                                                                 \
    F(cublasSetMathMode)                                                                                     \
    F(cublasGetProperty)                                                                                     \
    F(cublasGetStatusString)                                                                                 \
    F(cublasGemmEx)                                                                                          \
    F(cublasGemmStridedBatchedEx)
/* The one of the toolkit that compiled this first: a newer one may want a newer driver. */
#if CUBLAS_VER_MAJOR == 12
LIBRARY(cublas, "cuBLAS", CUBLAS_CALLS, "libcublas.so.12", "libcublas.so.13");
#else
LIBRARY(cublas, "cuBLAS", CUBLAS_CALLS, "libcublas.so.13", "libcublas.so.12");
#endif

/* What NVIDIA recommends for Hopper and Blackwell; older devices would do with 4 MiB. */
enum { WORKSPACE_BYTES = 32 << 20 };

struct cublas {
    device *device;
    cublasHandle_t handle;
    void *workspace;
};

static void require_ok(cublasStatus_t result, const char *call, const device *d)
{
    if (result != CUBLAS_STATUS_SUCCESS)
        die(ERR_DEVICE, "%s failed on %s: %s", call, device_text(d), cublas.cublasGetStatusString(result));
}

static void cublas_free(struct cublas *b)
{
    cublas.cublasDestroy_v2(b->handle);
    device_release(b->device, b->workspace);
    free(b);
}

/* The stream's handle, made when first needed. */
static cublasHandle_t handle_of(stream *s)
{
    if (s->cublas) return s->cublas->handle;
    message why;
    if (library_open(&cublas_library, &why) != OK) die(ERR_DEVICE, "%s", why.text);
    struct cublas *b = memory_new(1, sizeof *b, "a cuBLAS handle");
    b->device = s->device;
    require_ok(cublas.cublasCreate_v2(&b->handle), "cublasCreate", s->device);
    /* In this order: setting the stream puts the library's own workspace back. */
    require_ok(cublas.cublasSetStream_v2(b->handle, s->cuda), "cublasSetStream", s->device);
    b->workspace = device_reserve(s->device, WORKSPACE_BYTES, "cuBLAS");
    require_ok(cublas.cublasSetWorkspace_v2(b->handle, b->workspace, WORKSPACE_BYTES), "cublasSetWorkspace",
               s->device);
    /* Where cuBLAS divides a long sum over blocks, the parts are added in fp32, not in the type of c. */
    require_ok(cublas.cublasSetMathMode(b->handle, CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION),
               "cublasSetMathMode", s->device);
    s->cublas = b;
    s->cublas_free = cublas_free;
    return b->handle;
}

static cudaDataType_t data_type(dtype type) { return type == BF16 ? CUDA_R_16BF : CUDA_R_32F; }
static bool fits(int64_t size) { return size > 0 && size <= INT_MAX; }
static cublasOperation_t operation(bool transposed) { return transposed ? CUBLAS_OP_T : CUBLAS_OP_N; }

/* What is asked of cuBLAS, for sentences. */
typedef struct call {
    int64_t count, m, n, k;
    bool ta, tb;
    matrix a, b, c;
} call;

static const char *text_of(message *text, const call *x)
{
    snprintf(text->text, sizeof text->text,
             "%lld of %s by %s to %s, op(a) %s, op(b) %s, m %lld, n %lld, k %lld, row strides %lld %lld %lld",
             (long long)x->count, dtype_name(x->a.type), dtype_name(x->b.type), dtype_name(x->c.type),
             x->ta ? "T" : "N", x->tb ? "T" : "N", (long long)x->m, (long long)x->n, (long long)x->k,
             (long long)x->a.stride, (long long)x->b.stride, (long long)x->c.stride);
    return text->text;
}

/* Rows are cuBLAS's columns: it sees every matrix transposed, and computes c^T = op(b)^T op(a)^T. */
void cuda_gemm_batched(stream *s, int64_t count, bool ta, bool tb, int64_t m, int64_t n, int64_t k,
                       float alpha, matrix a, matrix b, float beta, matrix c)
{
    const call x = {count, m, n, k, ta, tb, a, b, c};
    message text;
    REQUIRE((a.type == F32 || a.type == BF16) && a.type == b.type && (c.type == a.type || c.type == F32) &&
                fits(m) && fits(n) && fits(k) && fits(count) && fits(a.stride) && fits(b.stride) &&
                fits(c.stride),
            "%s", text_of(&text, &x));
    const cublasHandle_t handle = handle_of(s);
    const cudaDataType_t inputs = data_type(a.type), output = data_type(c.type);
    /* One product by its own call: cuBLAS has more ways to compute it. */
    const cublasStatus_t result =
        count == 1
            ? cublas.cublasGemmEx(handle, operation(tb), operation(ta), (int)n, (int)m, (int)k, &alpha,
                                  b.data, inputs, (int)b.stride, a.data, inputs, (int)a.stride, &beta, c.data,
                                  output, (int)c.stride, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT)
            : cublas.cublasGemmStridedBatchedEx(handle, operation(tb), operation(ta), (int)n, (int)m, (int)k,
                                                &alpha, b.data, inputs, (int)b.stride, b.step, a.data, inputs,
                                                (int)a.stride, a.step, &beta, c.data, output, (int)c.stride,
                                                c.step, (int)count, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
    if (result != CUBLAS_STATUS_SUCCESS)
        die(ERR_DEVICE, "%s failed on %s: %s (%s)",
            count == 1 ? "cublasGemmEx" : "cublasGemmStridedBatchedEx", device_text(s->device),
            cublas.cublasGetStatusString(result), text_of(&text, &x));
}

void cuda_gemm(stream *s, bool ta, bool tb, int64_t m, int64_t n, int64_t k, float alpha, matrix a, matrix b,
               float beta, matrix c)
{
    cuda_gemm_batched(s, 1, ta, tb, m, n, k, alpha, a, b, beta, c);
}

int64_t gpu_cublas_version(void)
{
    message ignored;
    int major = 0, minor = 0, patch = 0;
    if (library_open(&cublas_library, &ignored) != OK ||
        cublas.cublasGetProperty(MAJOR_VERSION, &major) != CUBLAS_STATUS_SUCCESS ||
        cublas.cublasGetProperty(MINOR_VERSION, &minor) != CUBLAS_STATUS_SUCCESS ||
        cublas.cublasGetProperty(PATCH_LEVEL, &patch) != CUBLAS_STATUS_SUCCESS)
        return 0;
    return major * 10000 + minor * 100 + patch;
}
