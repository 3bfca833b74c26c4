/* Private to model/convert/: linear algebra on the host, in double, on row-major matrices. Conversion needs
 * these of kernels/cpu/blas.h, which has their arguments, and gets them here and nowhere else:
 *   blas_gemm_f64           products of weights; Gram matrices, which are sums over tokens of x x^T
 *   blas_eigen_symmetric    the principal axes of a Gram matrix, the strongest first
 *   blas_factor_positive    F of a metric M = F^T F; blas_solve_upper applies F^-1
 *   blas_solve_positive     least squares, by their normal equations */
#ifndef REMLA_MODEL_CONVERT_MATRIX_H
#define REMLA_MODEL_CONVERT_MATRIX_H
#include "kernels/cpu/blas.h"

/* (rows,columns) of zeros; stops the job when memory is short; free() it. */
double *matrix_new(int64_t rows, int64_t columns);
double *matrix_copy(const double *a, int64_t rows, int64_t columns);
double *matrix_transposed(const double *a, int64_t rows, int64_t columns); /* of a (rows,columns) */
/* w s w^T, (rows,rows), from w (rows,columns) and s (columns,columns): where s is the Gram matrix of x, that
 * of w x. */
double *matrix_gram(const double *w, const double *s, int64_t rows, int64_t columns);

#endif
