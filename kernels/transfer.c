/* Between host memory and tensors: on the CPU these are copies that may change the type. A tensor is moved
 * in runs of elements that lie side by side both here and there, shared out over the threads. */
#include "kernels/cpu/cpu.h"
#include <string.h>

/* Moves n elements of a run from `from` to `to`. */
typedef void run_mover(void *to, const void *from, int64_t n);

static void move_4(void *to, const void *from, int64_t n) { memcpy(to, from, (size_t)n * 4); }
static void move_8(void *to, const void *from, int64_t n) { memcpy(to, from, (size_t)n * 8); }

static void widen(void *to, const void *from, int64_t n)
{
    double *out = to;
    const float *inp = from;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) out[i] = (double)inp[i];
}

static void narrow(void *to, const void *from, int64_t n)
{
    float *out = to;
    const double *inp = from;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) out[i] = (float)inp[i];
}

/* Where run r of t starts, and how many elements it has: a row of a strided view, a piece of contiguous
 * memory. */
enum { PIECE = 1 << 16 };
static int64_t num_runs(const tensor *t)
{
    const int64_t n = tensor_numel(t), width = t->dim[t->rank - 1];
    if (n == 0) return 0;
    return tensor_contiguous(t) ? (n + PIECE - 1) / PIECE : n / width;
}

static char *run_of(const tensor *t, int64_t r, int64_t *first, int64_t *count)
{
    int64_t offset = 0;
    if (tensor_contiguous(t)) {
        const int64_t left = tensor_numel(t) - r * PIECE;
        *count = left < PIECE ? left : PIECE;
        *first = offset = r * PIECE;
    } else {
        *count = t->dim[t->rank - 1];
        *first = r * *count;
        for (int axis = t->rank - 2; axis >= 0; axis--) {
            offset += r % t->dim[axis] * t->stride[axis];
            r /= t->dim[axis];
        }
    }
    return (char *)t->data + offset * dtype_bytes(t->type);
}

static void to_tensor(tensor *out, const char *host, int64_t host_bytes, run_mover *move)
{
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < num_runs(out); r++) {
        int64_t first, count;
        char *run = run_of(out, r, &first, &count);
        move(run, host + first * host_bytes, count);
    }
}

static void from_tensor(char *host, int64_t host_bytes, const tensor *inp, run_mover *move)
{
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < num_runs(inp); r++) {
        int64_t first, count;
        const char *run = run_of(inp, r, &first, &count);
        move(host + first * host_bytes, run, count);
    }
}

static void require_real(const tensor *t)
{
    REQUIRE(t->rank > 0, "a tensor that the model does not have");
    REQUIRE(t->type == F32 || t->type == F64, "%s is %s, expected f32 or f64", t->name, dtype_name(t->type));
}

void CPU(upload)(tensor *out, const float *inp, stream *s)
{
    (void)s;
    require_real(out);
    to_tensor(out, (const char *)inp, 4, out->type == F32 ? move_4 : widen);
}

void CPU(upload_i32)(tensor *out, const int32_t *inp, stream *s)
{
    (void)s;
    REQUIRE(out->type == I32, "%s is %s, expected i32", out->name, dtype_name(out->type));
    to_tensor(out, (const char *)inp, 4, move_4);
}

void CPU(download)(float *out, const tensor *inp, stream *s)
{
    (void)s;
    require_real(inp);
    from_tensor((char *)out, 4, inp, inp->type == F32 ? move_4 : narrow);
}

void CPU(download_f64)(double *out, const tensor *inp, stream *s)
{
    (void)s;
    require_real(inp);
    from_tensor((char *)out, 8, inp, inp->type == F32 ? widen : move_8);
}

void CPU(download_u64)(uint64_t *out, const tensor *inp, stream *s)
{
    (void)s;
    REQUIRE(inp->type == U64, "%s is %s, expected u64", inp->name, dtype_name(inp->type));
    from_tensor((char *)out, 8, inp, move_8);
}

void CPU(zero)(tensor *out, stream *s)
{
    (void)s;
    REQUIRE_CONTIGUOUS(out);
#pragma omp parallel for schedule(static)
    for (int64_t r = 0; r < num_runs(out); r++) {
        int64_t first, count;
        char *run = run_of(out, r, &first, &count);
        memset(run, 0, (size_t)(count * dtype_bytes(out->type)));
    }
}
