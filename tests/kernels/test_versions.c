/* The libraries say their versions, as people know them. */
#include "kernels/versions.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static void expect_version(const char *text)
{
    int major, minor, patch;
    if (sscanf(text, "%d.%d.%d", &major, &minor, &patch) != 3) fail_msg("'%s' is no version", text);
}

static void test_blas(void **state)
{
    (void)state;
    blas_versions v;
    blas_versions_read(&v);
    expect_version(v.onednn);
    expect_version(v.openblas);
    assert_string_not_equal(v.onednn_isa, "unknown");
    assert_true(v.openblas_cpu && v.openblas_cpu[0]);
}

/* Without the libraries, and in a build without CUDA, there is none. */
static void test_gpu(void **state)
{
    (void)state;
    const int64_t cublas = gpu_cublas_version(), cudnn = gpu_cudnn_version();
    assert_true(cublas == 0 || cublas / 10000 == 12 || cublas / 10000 == 13);
    assert_true(cudnn == 0 || cudnn / 10000 >= 9);
#ifndef REMLA_CUDA
    assert_true(cublas == 0 && cudnn == 0);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_blas), cmocka_unit_test(test_gpu)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
