/* See check.h. Everything goes through check_get and check_put: slow, obvious, and the same for every type
 * and stride. */
#include "tests/support/check.h"
#include "tests/support/memory.h"
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { GUARD_BYTES = 256, GUARD = 0xa5, MAX_DIFFERENCES = 256 };
static const double GRADIENT_TOLERANCE = 1e-7;

/* One allocation: guard, data, guard. `bytes` is what lies between the guards. */
typedef struct block {
    struct block *next;
    const char *name;
    unsigned char *start;
    size_t bytes;
    bool on_host; /* plain memory, which a forked child has too */
} block;

static block *blocks;
static bool on_host;
static bool device_works; /* the table that was last requested is a device's */

void check_on_host(void) { on_host = true; }

/* Asking a GPU is a call of its driver, and tests look at millions of elements: it is asked only while it may
 * be at work. */
static void settle(void)
{
    if (device_works && !on_host) memory_settle();
}

/* check_get and check_put without waiting for the device: who looks at many elements waits once. */
static double get(const tensor *t, int64_t i);
static void put(tensor *t, int64_t i, double value);

int check_teardown(void **state)
{
    (void)state;
    const char *damaged = NULL;
    settle();
    on_host = false;
    while (blocks) {
        block *b = blocks;
        for (size_t i = 0; i < GUARD_BYTES; i++)
            if (b->start[i] != GUARD || b->start[GUARD_BYTES + b->bytes + i] != GUARD) damaged = b->name;
        blocks = b->next;
        if (b->on_host)
            free(b->start);
        else
            memory_free(b->start);
        free(b);
    }
    if (damaged) print_error("%s: memory before or after it was written\n", damaged);
    return damaged ? -1 : 0;
}

const ops *check_table(int i)
{
    const ops *const k = i == 0 ? ops_cpu_f32() : i == 1 ? ops_cpu_f64() : memory_table(i - 2);
    settle();
    device_works = k && k->device;
    return k;
}

/* bf16 keeps 8 bits: rounding to the nearest moves a number by at most half a step of 2^-7, so by up to 2^-8
 * of itself where the significand is near 1, by 1.5e-3 of it in the root mean square. Allowed is 2^-8, which
 * no single rounding of the result exceeds; sums are in float, whose rounding is lost beside it. */
double check_tolerance(dtype type) { return type == F64 ? 1e-12 : type == BF16 ? 0x1p-8 : 1e-5; }

/* ---- tensors ------------------------------------------------------------------------------------------- */

tensor check_tensor_of(dtype type, const char *name, int rank, const int64_t *dim)
{
    tensor t = tensor_of(NULL, type, name, rank, dim);
    block *b = malloc(sizeof *b);
    assert_non_null(b);
    *b = (block){.next = blocks, .name = name, .bytes = (size_t)(tensor_numel(&t) * dtype_bytes(type))};
    const size_t whole = b->bytes + 2 * GUARD_BYTES;
    b->on_host = on_host;
    b->start = on_host ? memory_plain(whole) : memory_get(whole);
    assert_non_null(b->start);
    memset(b->start, GUARD, whole);
    blocks = b;
    t.data = b->start + GUARD_BYTES;
    check_set(&t, type == I32 ? (double)INT32_MIN : (double)NAN);
    return t;
}

tensor check_copy(const tensor *t, dtype type)
{
    tensor copy = check_tensor_of(type, t->name, t->rank, t->dim);
    settle();
    for (int64_t i = 0; i < tensor_numel(t); i++) put(&copy, i, get(t, i));
    return copy;
}

/* Coordinates of row-major index i. */
static void coordinates(const tensor *t, int64_t i, int64_t *at)
{
    for (int axis = t->rank - 1; axis >= 0; axis--) {
        at[axis] = i % t->dim[axis];
        i /= t->dim[axis];
    }
}

static void *element(const tensor *t, int64_t i)
{
    int64_t at[TENSOR_MAX_RANK], offset = 0;
    if (tensor_contiguous(t)) return (char *)t->data + i * dtype_bytes(t->type);
    coordinates(t, i, at);
    for (int axis = 0; axis < t->rank; axis++) offset += at[axis] * t->stride[axis];
    return (char *)t->data + offset * dtype_bytes(t->type);
}

static double from_bf16(uint16_t half)
{
    const uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return (double)value;
}

static uint16_t to_bf16(float value) /* to the nearest, to even in the middle; NaN stays NaN */
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return isnan(value) ? 0x7fff : (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static double from_f8(uint8_t code) /* E4M3 */
{
    const int exponent = code >> 3 & 15, digits = code & 7;
    const double size = (code & 0x7f) == 0x7f ? (double)NAN
                        : exponent            ? ldexp(8 + digits, exponent - 10)
                                              : ldexp(digits, -9);
    return code & 0x80 ? -size : size;
}

static uint8_t to_f8(double value) /* the nearest code, the even one of two; NaN stays NaN */
{
    const double size = fabs(value);
    int below = 0, above = 0x7e; /* sizes rise with the code */
    while (above - below > 1) {
        const int middle = (below + above) / 2;
        if (from_f8((uint8_t)middle) <= size)
            below = middle;
        else
            above = middle;
    }
    const double down = size - from_f8((uint8_t)below), up = from_f8((uint8_t)above) - size;
    const int nearest = up < down || (up == down && above % 2 == 0) ? above : below;
    return (uint8_t)((isnan(value) ? 0x7f : nearest) | (signbit(value) ? 0x80 : 0));
}

static double get(const tensor *t, int64_t i)
{
    const void *p = element(t, i);
    switch (t->type) {
    case F8:
        return from_f8(*(const uint8_t *)p);
    case BF16:
        return from_bf16(*(const uint16_t *)p);
    case F32:
        return (double)*(const float *)p;
    case F64:
        return *(const double *)p;
    case I32:
        return *(const int32_t *)p;
    default:
        fail_msg("%s: tests do not read %s", t->name, dtype_name(t->type));
    }
    return 0;
}

static void put(tensor *t, int64_t i, double value)
{
    void *p = element(t, i);
    switch (t->type) {
    case F8:
        *(uint8_t *)p = to_f8(value);
        break;
    case BF16:
        *(uint16_t *)p = to_bf16((float)value);
        break;
    case F32:
        *(float *)p = (float)value;
        break;
    case F64:
        *(double *)p = value;
        break;
    case I32:
        *(int32_t *)p = (int32_t)value;
        break;
    case U64:
        *(uint64_t *)p = isnan(value) ? UINT64_MAX : (uint64_t)value;
        break;
    default:
        fail_msg("%s: tests do not write %s", t->name, dtype_name(t->type));
    }
}

double check_get(const tensor *t, int64_t i)
{
    settle();
    return get(t, i);
}

void check_put(tensor *t, int64_t i, double value)
{
    settle();
    put(t, i, value);
}

/* Number i of the stream `seed`, uniform in [0,1) in steps of 2^-24 (splitmix64). */
static double uniform(uint64_t seed, uint64_t i)
{
    uint64_t z = (seed * 0x100000001b3u + i + 1) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)((z ^ (z >> 31)) >> 40) * 0x1p-24;
}

void check_fill(tensor *t, uint64_t seed, double low, double high)
{
    settle();
    for (int64_t i = 0; i < tensor_numel(t); i++) {
        const double value = low + (high - low) * uniform(seed, (uint64_t)i);
        put(t, i, t->type == I32 ? floor(value) : (double)(float)value);
    }
}

void check_set(tensor *t, double value)
{
    settle();
    for (int64_t i = 0; i < tensor_numel(t); i++) put(t, i, value);
}

/* ---- comparisons --------------------------------------------------------------------------------------- */

/* "out[2,0,17]", for element i. Returns `buffer`. */
static const char *place(const tensor *t, int64_t i, char *buffer, size_t size)
{
    int64_t at[TENSOR_MAX_RANK];
    coordinates(t, i, at);
    int used = snprintf(buffer, size, "%s[", t->name);
    for (int axis = 0; axis < t->rank; axis++)
        used += snprintf(buffer + used, size - (size_t)used, "%s%lld", axis ? "," : "", (long long)at[axis]);
    snprintf(buffer + used, size - (size_t)used, "]");
    return buffer;
}

static void require_same_shape(const char *what, const tensor *got, const tensor *want)
{
    bool same = got->rank == want->rank;
    for (int axis = 0; same && axis < got->rank; axis++) same = got->dim[axis] == want->dim[axis];
    char a[160], b[160];
    if (!same)
        fail_msg("%s: %s compared with %s", what, tensor_text(got, a, sizeof a),
                 tensor_text(want, b, sizeof b));
}

void check_close(const char *what, const tensor *got, const tensor *want, double tolerance)
{
    settle();
    require_same_shape(what, got, want);
    double difference = 0, norm = 0, largest = -1;
    int64_t worst = 0;
    for (int64_t i = 0; i < tensor_numel(want); i++) {
        const double g = get(got, i), w = get(want, i);
        const double d = g == w ? 0 : fabs(g - w); /* equal infinities differ by nothing */
        difference += d * d;
        if (isfinite(w)) norm += w * w;
        /* Written so that the first NaN becomes the worst and stays it. */
        if (!(d <= largest) && !isnan(largest)) largest = d, worst = i;
    }
    const double error = norm > 0 ? sqrt(difference / norm) : sqrt(difference);
    char text[256];
    if (!(error <= tolerance))
        fail_msg("%s: relative L2 %.3g, allowed %.3g; worst %s: got %.9g, want %.9g", what, error, tolerance,
                 place(got, worst, text, sizeof text), check_get(got, worst), check_get(want, worst));
}

void check_equal(const char *what, const tensor *got, const tensor *want)
{
    require_same_shape(what, got, want);
    settle();
    assert_int_equal(got->type, want->type);
    char text[256];
    for (int64_t i = 0; i < tensor_numel(want); i++)
        if (memcmp(element(got, i), element(want, i), (size_t)dtype_bytes(want->type)) != 0)
            fail_msg("%s: %s: got %.17g, want the same bits as %.17g", what, place(got, i, text, sizeof text),
                     check_get(got, i), check_get(want, i));
}

void check_number(const char *what, double got, double want, double tolerance)
{
    const double difference = got == want ? 0 : fabs(got - want);
    if (!(difference <= tolerance * (want == 0 ? 1 : fabs(want))))
        fail_msg("%s: got %.17g, want %.17g within %.3g", what, got, want, tolerance);
}

void check_threads(void (*run)(void *context), void *context, int num_outputs, const tensor *const *outputs)
{
    enum { MAX_OUTPUTS = 8 };
    assert_true(num_outputs <= MAX_OUTPUTS);
    const int before = omp_get_max_threads();
    tensor first[MAX_OUTPUTS];
    for (int threads = 1; threads <= 4; threads++) {
        omp_set_num_threads(threads);
        run(context);
        char what[64];
        snprintf(what, sizeof what, "%d threads against 1", threads);
        for (int i = 0; i < num_outputs; i++) {
            if (threads == 1)
                first[i] = check_copy(outputs[i], outputs[i]->type);
            else
                check_equal(what, outputs[i], &first[i]);
        }
    }
    omp_set_num_threads(before);
}

static void leave(int code) { _exit(code); }

void check_stops(void (*run)(void *context), void *context, status code, const char *text)
{
    int ends[2];
    if (blocks && !on_host) fail_msg("check_stops forks: the test begins with check_on_host()");
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    /* A child has no threads but this one, and would wait for those of its parent. */
    omp_pause_resource_all(omp_pause_soft);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        die_hook(-1, "", leave);
        run(context);
        _exit(0);
    }
    close(ends[1]);
    char said[2048];
    size_t used = 0;
    for (ssize_t n; (n = read(ends[0], said + used, sizeof said - 1 - used)) > 0;) used += (size_t)n;
    said[used] = '\0';
    close(ends[0]);
    int result = 0;
    assert_int_equal(waitpid(child, &result, 0), child);
    if (!WIFEXITED(result) || WEXITSTATUS(result) != (int)code || !strstr(said, text))
        fail_msg("expected code %d and \"%s\", got wait status 0x%x and \"%s\"", (int)code, text,
                 (unsigned)result, said);
}

/* ---- gradients ----------------------------------------------------------------------------------------- */

double check_dot(const tensor *a, const tensor *b)
{
    settle();
    require_same_shape("dot", a, b);
    /* long double: its rounding would otherwise be the largest error of a difference. */
    long double sum = 0;
    for (int64_t i = 0; i < tensor_numel(a); i++) sum += (long double)get(a, i) * (long double)get(b, i);
    return (double)sum;
}

static double loss_at(tensor *x, int64_t i, double value, double (*loss)(void *context), void *context)
{
    check_put(x, i, value);
    return loss(context);
}

/* (8 (f(h) - f(-h)) - (f(2h) - f(-2h))) / 12h = f' + O(h^4). */
static double difference(tensor *x, int64_t i, double h, double (*loss)(void *context), void *context)
{
    const double kept = check_get(x, i);
    const double near = loss_at(x, i, kept + h, loss, context) - loss_at(x, i, kept - h, loss, context);
    const double far =
        loss_at(x, i, kept + 2 * h, loss, context) - loss_at(x, i, kept - 2 * h, loss, context);
    check_put(x, i, kept);
    return (8 * near - far) / (12 * h);
}

void check_gradient(const char *what, tensor *x, const tensor *gradient, double (*loss)(void *context),
                    void *context)
{
    require_same_shape(what, gradient, x);
    assert_int_equal(x->type, F64);
    const int64_t all = tensor_numel(x), count = all < MAX_DIFFERENCES ? all : MAX_DIFFERENCES;
    const double scale = sqrt(check_dot(x, x) / (double)all), h = 1e-3 * (scale > 0 ? scale : 1);
    /* Waking threads for so little work would take most of the time. */
    const int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    double error = 0, norm = 0, largest = -1;
    int64_t worst = 0;
    for (int64_t j = 0; j < count; j++) {
        /* One element of each of `count` equal stretches, at random, so that no column is always left out. */
        const double offset = all == count ? 0 : uniform((uint64_t)all, (uint64_t)j);
        const int64_t i = (int64_t)(((double)j + offset) * (double)all / (double)count);
        const double g = check_get(gradient, i), w = difference(x, i, h, loss, context), d = fabs(g - w);
        error += d * d;
        norm += w * w;
        if (!(d <= largest) && !isnan(largest)) largest = d, worst = i;
    }
    omp_set_num_threads(threads);
    error = norm > 0 ? sqrt(error / norm) : sqrt(error);
    char text[256];
    if (!(error <= GRADIENT_TOLERANCE))
        fail_msg("gradient by %s: relative L2 %.3g, allowed %.3g; worst %s: got %.9g, differences say %.9g",
                 what, error, GRADIENT_TOLERANCE, place(gradient, worst, text, sizeof text),
                 check_get(gradient, worst), difference(x, worst, h, loss, context));
}
