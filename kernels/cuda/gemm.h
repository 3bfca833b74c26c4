/* Private to the CUDA sources of kernels/: matrix products by cuBLAS, row-major, the counterpart of blas.h.
 *
 * Numbers: sums and scaling in fp32 whatever the storage (no TF32, no sums of bf16), one rounding where the
 * result is stored. The same call on the same kind of device gives the same bits: a stream has a handle and a
 * workspace of its own, which is what cuBLAS asks for to promise that. Pointers and row strides need no
 * alignment beyond their element's, which cuBLAS 11 and later accept; they are fastest at 16 bytes.
 *
 * All queue on the stream's CUDA stream. What cuBLAS refuses stops the job, naming device, call, shape and
 * reason. */
#ifndef REMLA_KERNELS_CUDA_GEMM_H
#define REMLA_KERNELS_CUDA_GEMM_H
#include "base/cuda/cuda.h"
#include "base/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A matrix in device memory, or the first of a batch of them. */
typedef struct matrix {
    void *data;
    dtype type;     /* F32 or BF16 */
    int64_t stride; /* from row to row, in elements; at least the length of a row as stored */
    int64_t step;   /* from matrix to matrix of a batch, in elements; 0 is the same one again, for inputs */
} matrix;

/* c (m,n) = alpha * op(a) (m,k) * op(b) (k,n) + beta * c; op transposes where its flag is set. a and b have
 * one type, c that type or F32. */
void cuda_gemm(stream *s, bool ta, bool tb, int64_t m, int64_t n, int64_t k, float alpha, matrix a, matrix b,
               float beta, matrix c);

/* The same for `count` matrices, each `step` after the last. */
void cuda_gemm_batched(stream *s, int64_t count, bool ta, bool tb, int64_t m, int64_t n, int64_t k,
                       float alpha, matrix a, matrix b, float beta, matrix c);

#ifdef __cplusplus
}
#endif

#endif
