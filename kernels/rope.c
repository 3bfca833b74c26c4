/* Rotary position embedding, in place: (a, b) becomes (a cos - b sin, b cos + a sin). A rotation's
 * transpose is the rotation by the opposite angle, so backward is forward with the sine's sign turned.
 * Threads share the rows; all heads of a row turn by the same angles, those of its position. */
#include "kernels/cpu/cpu.h"

/* The two elements of pair i are x[i*step] and x[i*step + distance]. */
static void rotate(real *x, const real *cosine, const real *sine, real sign, int64_t half, int64_t step,
                   int64_t distance)
{
#pragma omp simd
    for (int64_t i = 0; i < half; i++) {
        const real a = x[i * step], b = x[i * step + distance], c = cosine[i], d = sign * sine[i];
        x[i * step] = a * c - b * d;
        x[i * step + distance] = b * c + a * d;
    }
}

static void rotate_all(const char *function, tensor *x, const tensor *cosine, const tensor *sine,
                       const tensor *position, rope_layout layout, real sign)
{
    const int64_t B = x->dim[0], T = x->dim[1], H = x->dim[2], half = x->dim[3] / 2, Tmax = cosine->dim[0];
    tensor_require_shape(function, x, REAL_TYPE, 4, (int64_t[]){B, T, H, 2 * half});
    tensor_require_shape(function, cosine, REAL_TYPE, 2, (int64_t[]){Tmax, half});
    tensor_require_shape(function, sine, REAL_TYPE, 2, (int64_t[]){Tmax, half});
    tensor_require_shape(function, position, I32, 2, (int64_t[]){B, T});
    REQUIRE_CONTIGUOUS(cosine);
    REQUIRE_CONTIGUOUS(sine);
    REQUIRE_CONTIGUOUS(position);
    const int32_t *row = position->data;
    for (int64_t n = 0; n < B * T; n++)
        REQUIRE(row[n] >= 0 && row[n] < Tmax, "%s[%lld] is %d, %s has %lld positions", position->name,
                (long long)n, row[n], cosine->name, (long long)Tmax);
#pragma omp parallel for schedule(static) if (B * T * H * half >= SHARED / 2)
    for (int64_t n = 0; n < B * T; n++) {
        const int64_t b = n / T, t = n % T;
        const real *c = (const real *)cosine->data + row[n] * half,
                   *d = (const real *)sine->data + row[n] * half;
        for (int64_t h = 0; h < H; h++) {
            real *head = (real *)x->data + b * x->stride[0] + t * x->stride[1] + h * x->stride[2];
            /* The steps are spelled out as constants: the compiler makes vector code of each. */
            if (layout == ROPE_HALVES)
                rotate(head, c, d, sign, half, 1, half);
            else
                rotate(head, c, d, sign, half, 2, 1);
        }
    }
}

void CPU(rope_forward)(tensor *x, const tensor *cosine, const tensor *sine, const tensor *position,
                       rope_layout layout, stream *s)
{
    (void)s;
    rotate_all(__func__, x, cosine, sine, position, layout, 1);
}

void CPU(rope_backward)(tensor *dx, const tensor *cosine, const tensor *sine, const tensor *position,
                        rope_layout layout, stream *s)
{
    (void)s;
    rotate_all(__func__, dx, cosine, sine, position, layout, -1);
}
