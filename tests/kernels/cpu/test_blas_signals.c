/* Signals that come while a product runs do no harm: its memory, and that of others, stays as it was. */
#include "base/memory.h"
#include "base/stop.h"
#include "kernels/cpu/blas.h"
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

enum { M = 96, N = 192, K = 2048, PRODUCTS = 50 };

/* All four ways to transpose, with long sums: for some of them oneDNN moves the stack pointer to the heap. */
static void multiply(void)
{
    float *a = memory_new(M * K, sizeof *a, "a"), *b = memory_new(K * N, sizeof *b, "b"),
          *c = memory_new(M * N, sizeof *c, "c");
    for (int i = 0; i < M * K; i++) a[i] = 1;
    for (int i = 0; i < K * N; i++) b[i] = 1;
    for (int i = 0; i < PRODUCTS; i++) {
        blas_gemm_f32(i & 1, i & 2, M, N, K, 1, a, i & 1 ? M : K, b, i & 2 ? K : N, 0, c, N);
        for (int j = 0; j < M * N; j++)
            if (c[j] != K) _exit(99);
    }
    free(a);
    free(b);
    free(c);
}

static void test_signals(void **state)
{
    (void)state;
    int result = 0, ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        stop_catch();
        if (write(ready[1], "r", 1) != 1) _exit(98);
        multiply();
        _exit(stop_requested());
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    while (waitpid(child, &result, WNOHANG) == 0) {
        kill(child, SIGUSR1);
        usleep(100);
    }
    close(ready[0]);
    close(ready[1]);
    assert_true(WIFEXITED(result));
    assert_int_equal(WEXITSTATUS(result), SIGUSR1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_signals)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
