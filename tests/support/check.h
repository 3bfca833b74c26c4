/* Helpers of the tests that compute: tensors with guard words, deterministic inputs, comparisons that say
 * where, gradient checks. A failing check prints one sentence with names, coordinates and values, and ends
 * the cmocka test.
 *
 *     static void test_gradient(void **state)
 *     {
 *         const ops *k = ops_cpu_f64();
 *         tensor inp = check_tensor(F64, "inp", 3, 5), ...;    NaN inside, guard words around
 *         check_fill(&inp, 1, -1, 1);
 *         k->op_backward(...);
 *         check_gradient("inp", &inp, &dinp, loss, &context);
 *     }
 *     ... CHECK_TEST(test_gradient) in main's table: its teardown verifies guard words and frees.
 */
#ifndef REMLA_TESTS_CHECK_H
#define REMLA_TESTS_CHECK_H
/* Ours come first: cmocka has a macro `fail`, which hides base/status.h's function (tests write fail_msg). */
#include "base/status.h"
#include "kernels/kernels.h"
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

/* An entry of main's table. Every test that makes tensors must be listed by it. */
#define CHECK_TEST(function) cmocka_unit_test_teardown(function, check_teardown)
int check_teardown(void **state);

/* The tables that are built: float, then double, then, where CUDA is built and a device is there, its f32 and
 * bf16; NULL past the end. for (int i = 0; (k = check_table(i)); i++) ... Until the next one is requested, no
 * other device's table computes. */
const ops *check_table(int i);
/* What a result of a type may differ by from the double one, relative L2: float 1e-5, one double from another
 * 1e-12, bf16 what one rounding of the result costs, 2^-8. */
double check_tolerance(dtype type);

/* ---- tensors ------------------------------------------------------------------------------------------- */

/* A contiguous tensor, aligned to 64 bytes, filled with NaN (I32: the smallest number; U64: the
 * largest), between guard words. The test owns it; the teardown frees it. `name` is borrowed. */
tensor check_tensor_of(dtype type, const char *name, int rank, const int64_t *dim);
#define check_tensor(type, name, ...)                                                                        \
    check_tensor_of(type, name, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),                   \
                    (int64_t[]){__VA_ARGS__})
/* A contiguous copy, in the same or another type (F32, F64, BF16, I32, F8), of any view. */
tensor check_copy(const tensor *t, dtype type);

/* Elements by their row-major index within the shape, whatever type and strides. */
double check_get(const tensor *t, int64_t i);
void check_put(tensor *t, int64_t i, double value);

/* Uniform numbers in [low, high), the same for the same seed and shape in every type: each one is exact in
 * float, so that the float and the double table get equal inputs (bf16 rounds them). Views are filled without
 * touching what lies between their rows. I32: whole numbers in [low, high). */
void check_fill(tensor *t, uint64_t seed, double low, double high);
void check_set(tensor *t, double value);

/* ---- comparisons --------------------------------------------------------------------------------------- */

/* ||got - want|| / ||want|| <= tolerance over all elements (absolute where want is 0). Shapes must be
 * equal, types need not. A NaN on either side fails; infinities must match in place. */
void check_close(const char *what, const tensor *got, const tensor *want, double tolerance);
/* Same type, shape and bits. Strides may differ. */
void check_equal(const char *what, const tensor *got, const tensor *want);
/* Two numbers, relative to `want` (absolute where it is 0). */
void check_number(const char *what, double got, double want, double tolerance);

/* `run` gives the same bits in `outputs` with 1, 2, 3 and 4 threads. It must set outputs that are added to
 * before it calls. */
void check_threads(void (*run)(void *context), void *context, int num_outputs, const tensor *const *outputs);

/* The tensors of this test lie in plain memory, and only CPU tables may work on them: for check_stops, whose
 * child has neither a GPU that its parent has opened nor the memory that is pinned for it. */
void check_on_host(void);

/* `run` stops the job with `code` and a sentence that contains `text`. It runs in a child process, which
 * must not compute on several threads before it stops. After check_on_host, where there are tensors. */
void check_stops(void (*run)(void *context), void *context, status code, const char *text);

/* ---- gradients ----------------------------------------------------------------------------------------- */

/* sum(a * b): with dout and out it is a scalar whose gradient by out is dout. */
double check_dot(const tensor *a, const tensor *b);

/* Compares the analytic `gradient` of a scalar by `x` with differences: relative L2 at most 1e-7. `loss`
 * computes the scalar anew from `x`, usually forward, then check_dot(dout, out); x (F64, any view) is
 * changed while it runs and restored. The step is 1e-3 of x's root mean square, the differences are of
 * fourth order. Of more than 256 elements, 256 spread over the tensor are compared. `loss` runs on one
 * thread. */
void check_gradient(const char *what, tensor *x, const tensor *gradient, double (*loss)(void *context),
                    void *context);

#endif
