/* Matrices of double in host memory. BLAS and LAPACK compute (kernels/cpu/blas.h); this file only gives them
 * memory, and names the one product that conversion takes everywhere: the Gram matrix of a projection's
 * outputs follows from that of its inputs, so text has to be seen only once for every projection of a layer.
 */
#include "model/convert/matrix.h"
#include "base/memory.h"
#include <stdlib.h>
#include <string.h>

double *matrix_new(int64_t rows, int64_t columns)
{
    return memory_new(rows * columns, sizeof(double), "a matrix of %lld x %lld in a conversion",
                      (long long)rows, (long long)columns);
}

double *matrix_copy(const double *a, int64_t rows, int64_t columns)
{
    double *copy = matrix_new(rows, columns);
    memcpy(copy, a, sizeof *a * (size_t)(rows * columns));
    return copy;
}

double *matrix_transposed(const double *a, int64_t rows, int64_t columns)
{
    double *t = matrix_new(columns, rows);
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++) t[j * rows + i] = a[i * columns + j];
    return t;
}

double *matrix_gram(const double *w, const double *s, int64_t rows, int64_t columns)
{
    double *half = matrix_new(rows, columns), *gram = matrix_new(rows, rows);
    blas_gemm_f64(false, false, rows, columns, columns, 1, w, columns, s, columns, 0, half, columns);
    blas_gemm_f64(false, true, rows, rows, columns, 1, half, columns, w, columns, 0, gram, rows);
    free(half);
    return gram;
}
