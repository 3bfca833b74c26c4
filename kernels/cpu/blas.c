/* The only file that includes a matrix library. oneDNN multiplies floats: it generates its code for the CPU
 * that it finds, at any shape and stride, and needs no environment variable to be fast. OpenBLAS multiplies
 * doubles, which only the oracle and the conversion of weights use. Both are the OpenMP flavour: they use the
 * threads of the calling program, and inside a parallel region the calling thread alone.
 *
 * oneDNN shares a product over threads in ways that depend on their number, down to the order of additions. A
 * training run must not depend on it. So a product of floats is cut into tiles here, by its shape alone; each
 * is computed by one thread. */
#include "kernels/cpu/blas.h"
#include "base/signal_stack.h"
#include "base/status.h"
#include "kernels/cpu/blocks.h"
#include "kernels/versions.h"
#include <cblas.h>
#include <dnnl.h>
#include <lapacke.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>

/* Rows and columns of a tile: large ones read a and b less often, small ones leave work for more threads. */
typedef struct tiling {
    int64_t rows, columns;
} tiling;

static int64_t tiles(int64_t m, int64_t n, tiling t)
{
    return blocks_of(m, t.rows) * blocks_of(n, t.columns);
}

static tiling tiling_of(int64_t m, int64_t n)
{
    static const tiling large = {192, 384}, small = {96, 192};
    return tiles(m, n, large) >= 64 ? large : small;
}

static void multiply(bool ta, bool tb, int64_t m, int64_t n, int64_t k, double alpha, const float *a,
                     int64_t lda, const float *b, int64_t ldb, double beta, float *c, int64_t ldc)
{
    signal_stack_use();
    const dnnl_status_t result = dnnl_sgemm(ta ? 'T' : 'N', tb ? 'T' : 'N', m, n, k, (float)alpha, a, lda, b,
                                            ldb, (float)beta, c, ldc);
    if (result != dnnl_success)
        die(result == dnnl_out_of_memory ? ERR_DEVICE : ERR_BUG,
            "dnnl_sgemm failed (%d) at m %lld, n %lld, k %lld, row strides %lld %lld %lld", (int)result,
            (long long)m, (long long)n, (long long)k, (long long)lda, (long long)ldb, (long long)ldc);
}

void blas_gemm_f32(bool ta, bool tb, int64_t m, int64_t n, int64_t k, double alpha, const float *a,
                   int64_t lda, const float *b, int64_t ldb, double beta, float *c, int64_t ldc)
{
    if (omp_get_level()) { /* also where a parallel region has one thread, or bits would depend on it */
        multiply(ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
        return;
    }
    const tiling t = tiling_of(m, n);
    const int64_t across = blocks_of(n, t.columns), count = tiles(m, n, t);
#pragma omp parallel for schedule(dynamic)
    for (int64_t tile = 0; tile < count; tile++) {
        const int64_t row = tile / across * t.rows, column = tile % across * t.columns;
        multiply(ta, tb, smaller(t.rows, m - row), smaller(t.columns, n - column), k, alpha,
                 a + (ta ? row : row * lda), lda, b + (tb ? column * ldb : column), ldb, beta,
                 c + row * ldc + column, ldc);
    }
}

void blas_gemm_f64(bool ta, bool tb, int64_t m, int64_t n, int64_t k, double alpha, const double *a,
                   int64_t lda, const double *b, int64_t ldb, double beta, double *c, int64_t ldc)
{
    cblas_dgemm(CblasRowMajor, ta ? CblasTrans : CblasNoTrans, tb ? CblasTrans : CblasNoTrans, (blasint)m,
                (blasint)n, (blasint)k, alpha, a, (blasint)lda, b, (blasint)ldb, beta, c, (blasint)ldc);
}

/* A symmetric matrix is the same in rows and in columns, so LAPACK may read it by columns, its own way,
 * without a copy; the columns of eigenvectors that it leaves are our rows. */
enum { SHARED_ROWS = 1024 };

void blas_eigen_symmetric(int64_t n, double *a, double *values)
{
    for (int64_t i = 0; i < n * n; i++)
        if (!isfinite(a[i]))
            die(ERR_BUG, "blas_eigen_symmetric: element (%lld,%lld) of %lld rows is %g", (long long)(i / n),
                (long long)(i % n), (long long)n, a[i]);
    /* LAPACK calls very many small products: below this size sharing each over the cores costs more than it
     * saves, and where the cores are busy a hundred times more. */
    const int threads = omp_get_max_threads();
    if (n < SHARED_ROWS) omp_set_num_threads(1);
    const lapack_int result =
        LAPACKE_dsyevd(LAPACK_COL_MAJOR, 'V', 'U', (lapack_int)n, a, (lapack_int)n, values);
    omp_set_num_threads(threads);
    if (result != 0)
        die(ERR_BUG, "blas_eigen_symmetric: LAPACK's dsyevd returned %d for %lld rows", (int)result,
            (long long)n);
    /* LAPACK's values rise; ours fall. */
    for (int64_t i = 0, j = n - 1; i < j; i++, j--) {
        const double value = values[i];
        values[i] = values[j];
        values[j] = value;
        for (int64_t column = 0; column < n; column++) {
            const double x = a[i * n + column];
            a[i * n + column] = a[j * n + column];
            a[j * n + column] = x;
        }
    }
}

/* The lower factor that LAPACK leaves in columns is, in rows, the upper u of a = u^T u. */
bool blas_factor_positive(int64_t n, double *a)
{
    if (LAPACKE_dpotrf(LAPACK_COL_MAJOR, 'L', (lapack_int)n, a, (lapack_int)n) != 0) return false;
    for (int64_t i = 1; i < n; i++)
        for (int64_t j = 0; j < i; j++) a[i * n + j] = 0;
    return true;
}

static void solve_triangle(CBLAS_TRANSPOSE transposed, int64_t n, int64_t columns, const double *u, double *b)
{
    cblas_dtrsm(CblasRowMajor, CblasLeft, CblasUpper, transposed, CblasNonUnit, (blasint)n, (blasint)columns,
                1, u, (blasint)n, b, (blasint)columns);
}

void blas_solve_upper(int64_t n, int64_t columns, const double *u, double *b)
{
    solve_triangle(CblasNoTrans, n, columns, u, b);
}

bool blas_solve_positive(int64_t n, int64_t columns, double *a, double *b)
{
    if (!blas_factor_positive(n, a)) return false;
    solve_triangle(CblasTrans, n, columns, a, b);
    solve_triangle(CblasNoTrans, n, columns, a, b);
    return true;
}

/* ---- versions ------------------------------------------------------------------------------------------ */

static const char *isa_name(dnnl_cpu_isa_t isa)
{
    switch (isa) {
    case dnnl_cpu_isa_sse41:
        return "sse41";
    case dnnl_cpu_isa_avx:
        return "avx";
    case dnnl_cpu_isa_avx2:
        return "avx2";
    case dnnl_cpu_isa_avx2_vnni:
        return "avx2_vnni";
    case dnnl_cpu_isa_avx512_core:
        return "avx512_core";
    case dnnl_cpu_isa_avx512_core_vnni:
        return "avx512_core_vnni";
    case dnnl_cpu_isa_avx512_core_bf16:
        return "avx512_core_bf16";
    case dnnl_cpu_isa_avx512_core_amx:
        return "avx512_core_amx";
    default:
        return "unknown";
    }
}

void blas_versions_read(blas_versions *v)
{
    const dnnl_version_t *onednn = dnnl_version();
    *v = (blas_versions){.onednn_isa = isa_name(dnnl_get_effective_cpu_isa()),
                         .openblas_cpu = openblas_get_corename()};
    snprintf(v->onednn, sizeof v->onednn, "%d.%d.%d", onednn->major, onednn->minor, onednn->patch);
    sscanf(openblas_get_config(), "OpenBLAS %31s", v->openblas);
}
