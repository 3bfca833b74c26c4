/* The one place that knows about matrix libraries: oneDNN for float, CBLAS for double, LAPACKE for
 * eigenvectors. Row-major throughout. Called outside a parallel region they use all of the process's threads;
 * inside one, the calling thread alone (attention relies on it). */
#ifndef REMLA_KERNELS_CPU_BLAS_H
#define REMLA_KERNELS_CPU_BLAS_H
#include <stdbool.h>
#include <stdint.h>

/* c (m,n) = alpha * op(a) (m,k) * op(b) (k,n) + beta * c; op transposes where its flag is set; ld* are row
 * strides as stored. */
void blas_gemm_f32(bool ta, bool tb, int64_t m, int64_t n, int64_t k, double alpha, const float *a,
                   int64_t lda, const float *b, int64_t ldb, double beta, float *c, int64_t ldc);
void blas_gemm_f64(bool ta, bool tb, int64_t m, int64_t n, int64_t k, double alpha, const double *a,
                   int64_t lda, const double *b, int64_t ldb, double beta, double *c, int64_t ldc);

/* Eigenvectors of the symmetric matrix a (n,n), which is overwritten: row i of `a` becomes the eigenvector of
 * values[i]; values fall. ERR_BUG stops the job when LAPACK does not converge or a is not finite. */
void blas_eigen_symmetric(int64_t n, double *a, double *values);

/* Upper triangular factor u (n,n) of a symmetric positive definite a = u^T u, in the place of a; zeros below
 * the diagonal. False when a is not positive definite. */
bool blas_factor_positive(int64_t n, double *a);
/* Solves u x = b for upper triangular u (n,n); b (n,columns) becomes x. */
void blas_solve_upper(int64_t n, int64_t columns, const double *u, double *b);

/* Solves a x = b for symmetric positive definite a (n,n); b (n,columns) becomes x; a is overwritten. False
 * when a is not positive definite. */
bool blas_solve_positive(int64_t n, int64_t columns, double *a, double *b);

#endif
