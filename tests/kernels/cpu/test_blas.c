/* Matrix products against sums in double: every transposition, strides, alpha and beta, from one thread and
 * from many. Eigenvectors and solutions against their definitions. */
#include "tests/support/check.h"
#include "kernels/cpu/blas.h"
#include <math.h>
#include <omp.h>

static void multiply(bool ta, bool tb, int64_t k, double alpha, const tensor *a, const tensor *b, double beta,
                     tensor *c)
{
    if (c->type == F32)
        blas_gemm_f32(ta, tb, c->dim[0], c->dim[1], k, alpha, a->data, a->stride[0], b->data, b->stride[0],
                      beta, c->data, c->stride[0]);
    else
        blas_gemm_f64(ta, tb, c->dim[0], c->dim[1], k, alpha, a->data, a->stride[0], b->data, b->stride[0],
                      beta, c->data, c->stride[0]);
}

static void one_product(dtype type, int64_t m, int64_t n, int64_t k, bool ta, bool tb, double alpha,
                        double beta)
{
    tensor wide_a = check_tensor(type, "a", ta ? k : m, (ta ? m : k) + 3),
           wide_b = check_tensor(type, "b", tb ? n : k, (tb ? k : n) + 5),
           wide_c = check_tensor(type, "c", m, n + 2);
    tensor a = tensor_slice(&wide_a, 1, ta ? m : k), b = tensor_slice(&wide_b, 2, tb ? k : n),
           c = tensor_slice(&wide_c, 1, n);
    check_fill(&a, 1, -1, 1);
    check_fill(&b, 2, -1, 1);
    if (beta != 0) check_fill(&c, 3, -1, 1); /* otherwise it stays NaN, which must not be read */
    tensor want = check_copy(&c, F64);
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) {
            double sum = 0;
            for (int64_t l = 0; l < k; l++)
                sum += check_get(&a, ta ? l * m + i : i * k + l) * check_get(&b, tb ? j * k + l : l * n + j);
            check_put(&want, i * n + j, alpha * sum + (beta != 0 ? beta * check_get(&c, i * n + j) : 0));
        }
    multiply(ta, tb, k, alpha, &a, &b, beta, &c);
    check_close("c", &c, &want, check_tolerance(type));
    for (int64_t i = 0; i < m; i++) {
        assert_true(isnan(check_get(&wide_c, i * (n + 2))));
        assert_true(isnan(check_get(&wide_c, i * (n + 2) + n + 1)));
    }
}

static void test_products(void **state)
{
    (void)state;
    static const int64_t sizes[][3] = {{1, 1, 1}, {1, 17, 5},   {64, 1, 33},
                                       {5, 3, 2}, {65, 64, 96}, {64, 200, 129}};
    for (int s = 0; s < 6; s++)
        for (int flags = 0; flags < 4; flags++)
            for (int type = 0; type < 2; type++) {
                one_product(type ? F64 : F32, sizes[s][0], sizes[s][1], sizes[s][2], flags & 1, flags & 2, 1,
                            0);
                one_product(type ? F64 : F32, sizes[s][0], sizes[s][1], sizes[s][2], flags & 1, flags & 2,
                            0.25, 1);
                one_product(type ? F64 : F32, sizes[s][0], sizes[s][1], sizes[s][2], flags & 1, flags & 2, -2,
                            0.5);
            }
}

/* Several tiles of both kinds, with remainders, from different numbers of threads: the same bits. */
static void test_threads(void **state)
{
    (void)state;
    static const int64_t sizes[][3] = {{200, 500, 70}, {1600, 3100, 33}};
    const int most = omp_get_max_threads();
    for (int s = 0; s < 2; s++)
        for (int flags = 0; flags < 4; flags++) {
            const int64_t m = sizes[s][0], n = sizes[s][1], k = sizes[s][2];
            const bool ta = flags & 1, tb = flags & 2;
            tensor a = check_tensor(F32, "a", ta ? k : m, ta ? m : k),
                   b = check_tensor(F32, "b", tb ? n : k, tb ? k : n), one = check_tensor(F32, "one", m, n),
                   many = check_tensor(F32, "many", m, n);
            check_fill(&a, 1, -1, 1);
            check_fill(&b, 2, -1, 1);
            omp_set_num_threads(1);
            multiply(ta, tb, k, 1, &a, &b, 0, &one);
            for (int threads = 2; threads <= 5; threads++) {
                omp_set_num_threads(threads);
                multiply(ta, tb, k, 1, &a, &b, 0, &many);
                assert_memory_equal(many.data, one.data, sizeof(float) * (size_t)(m * n));
            }
        }
    omp_set_num_threads(most);
}

/* Eight products at once, one per thread, and the same one after the other: the same bits, whatever other
 * threads compute. */
static void test_inside_parallel(void **state)
{
    (void)state;
    enum { MANY = 8, M = 64, N = 200, K = 96 };
    for (int type = 0; type < 2; type++) {
        const dtype real = type ? F64 : F32;
        tensor a = check_tensor(real, "a", MANY, M, K), b = check_tensor(real, "b", MANY, N, K),
               c = check_tensor(real, "c", MANY, M, N), alone = check_tensor(real, "alone", MANY, M, N),
               outside = check_tensor(real, "outside", MANY, M, N);
        check_fill(&a, 1, -1, 1);
        check_fill(&b, 2, -1, 1);
        tensor parts[MANY][5];
        for (int i = 0; i < MANY; i++) {
            const tensor *const whole[] = {&a, &b, &c, &alone, &outside};
            for (int w = 0; w < 5; w++) {
                parts[i][w] = tensor_rows(whole[w], i, 1);
                parts[i][w] = tensor_view(&parts[i][w], 2, &whole[w]->dim[1]);
            }
        }
        const int threads = omp_get_max_threads();
#pragma omp parallel for num_threads(4) schedule(dynamic)
        for (int i = 0; i < MANY; i++)
            multiply(false, true, K, 1, &parts[i][0], &parts[i][1], 0, &parts[i][2]);
        omp_set_num_threads(1);
        for (int i = 0; i < MANY; i++)
            multiply(false, true, K, 1, &parts[i][0], &parts[i][1], 0, &parts[i][3]);
        omp_set_num_threads(threads);
        for (int i = 0; i < MANY; i++)
            multiply(false, true, K, 1, &parts[i][0], &parts[i][1], 0, &parts[i][4]);
        check_equal("inside a parallel region and with one thread", &c, &alone);
        check_close("outside, with all threads", &outside, &c, check_tolerance(real));
    }
}

static void bad_stride(void *context)
{
    float *x = context;
    blas_gemm_f32(false, false, 2, 2, 2, 1, x, 1, x, 2, 0, x, 2);
}

static void test_refused(void **state)
{
    (void)state;
    check_on_host();
    float x[4] = {0};
    check_stops(bad_stride, x, ERR_BUG, "dnnl_sgemm failed");
}

/* A symmetric matrix with the eigenvalues 5, 5, 4, 3, ...: rows of a must be orthonormal, eigenvectors, and
 * in that order. */
static void test_eigen(void **state)
{
    (void)state;
    static const int64_t sizes[] = {1, 2, 37};
    for (int s = 0; s < 3; s++) {
        const int64_t n = sizes[s];
        tensor m = check_tensor(F64, "m", n, n), unit = check_tensor(F64, "unit", n),
               values = check_tensor(F64, "values", n);
        /* A reflection I - 2uu^T turns the diagonal matrix of the values. */
        check_fill(&unit, 1, -1, 1);
        const double length = sqrt(check_dot(&unit, &unit));
        double *u = unit.data;
        for (int64_t i = 0; i < n; i++) u[i] /= length;
        tensor value = check_tensor(F64, "value", n);
        for (int64_t i = 0; i < n; i++) check_put(&value, i, 5 - (double)(i > 1 ? i - 1 : 0));
        for (int64_t i = 0; i < n; i++)
            for (int64_t j = 0; j < n; j++) {
                double sum = 0;
                for (int64_t l = 0; l < n; l++)
                    sum += ((i == l) - 2 * u[i] * u[l]) * check_get(&value, l) * ((j == l) - 2 * u[j] * u[l]);
                check_put(&m, i * n + j, sum);
            }
        tensor vectors = check_copy(&m, F64);
        blas_eigen_symmetric(n, vectors.data, values.data);
        check_close("values", &values, &value, 1e-12);
        tensor scaled = check_copy(&m, F64), product = check_copy(&m, F64), identity = check_copy(&m, F64),
               dots = check_copy(&m, F64);
        for (int64_t i = 0; i < n * n; i++) {
            check_put(&scaled, i, check_get(&values, i / n) * check_get(&vectors, i));
            check_put(&identity, i, i / n == i % n);
        }
        multiply(false, false, n, 1, &vectors, &m, 0, &product);
        check_close("vectors m = values vectors", &product, &scaled, 1e-12);
        multiply(false, true, n, 1, &vectors, &vectors, 0, &dots);
        check_close("orthonormal", &dots, &identity, 1e-12);
    }
}

static void eigen_of(void *context) { blas_eigen_symmetric(2, context, (double[2]){0}); }

static void test_eigen_not_finite(void **state)
{
    (void)state;
    check_on_host();
    check_stops(eigen_of, (double[]){1, 0, 0, NAN}, ERR_BUG, "element (1,1) of 2 rows is nan");
    check_stops(eigen_of, (double[]){1, INFINITY, INFINITY, 1}, ERR_BUG, "element (0,1) of 2 rows is inf");
}

static void test_solve(void **state)
{
    (void)state;
    static const int64_t sizes[][2] = {{1, 1}, {2, 5}, {33, 7}};
    for (int s = 0; s < 3; s++) {
        const int64_t n = sizes[s][0], columns = sizes[s][1];
        tensor root = check_tensor(F64, "root", n, n), a = check_tensor(F64, "a", n, n),
               b = check_tensor(F64, "b", n, columns);
        check_fill(&root, 1, -1, 1);
        check_fill(&b, 2, -1, 1);
        multiply(false, true, n, 1, &root, &root, 0, &a);
        for (int64_t i = 0; i < n; i++) check_put(&a, i * n + i, check_get(&a, i * n + i) + 1);
        tensor x = check_copy(&b, F64), factor = check_copy(&a, F64), product = check_copy(&b, F64);
        assert_true(blas_solve_positive(n, columns, factor.data, x.data));
        multiply(false, false, n, 1, &a, &x, 0, &product);
        check_close("a x", &product, &b, 1e-12);
    }
}

static void test_solve_refused(void **state)
{
    (void)state;
    double b[] = {1, 1};
    assert_false(blas_solve_positive(2, 1, (double[]){1, 2, 2, 1}, b));
    assert_false(blas_solve_positive(2, 1, (double[]){1, 0, 0, NAN}, b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(test_products),         CHECK_TEST(test_threads),       CHECK_TEST(test_inside_parallel),
        CHECK_TEST(test_refused),          CHECK_TEST(test_eigen),         CHECK_TEST(test_solve),
        CHECK_TEST(test_eigen_not_finite), CHECK_TEST(test_solve_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
