/* A tensor describes memory that is owned elsewhere: pointer, element type, shape, strides, name.
 * Ops (kernels/ops.def) take tensors and check them; host code never looks behind `data`, which may be device
 * memory. */
#ifndef REMLA_BASE_TENSOR_H
#define REMLA_BASE_TENSOR_H
#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum dtype {
    F32,
    F64,
    F16,
    BF16,
    I32,
    F8, /* E4M3: the largest is 448, no infinity */
    U64 /* of sums that are hashes (fingerprint) */
} dtype;

enum { TENSOR_MAX_RANK = 4 };

typedef struct tensor {
    void *data;
    const char *name; /* borrowed; printed when a check fails */
    dtype type;
    int rank;
    int64_t dim[TENSOR_MAX_RANK];    /* slowest axis first; unused ones are 1 */
    int64_t stride[TENSOR_MAX_RANK]; /* in elements; the last axis always has stride 1 */
} tensor;

int64_t dtype_bytes(dtype type);
const char *dtype_name(dtype type); /* "f32", ... */

/* A contiguous tensor over `data`. `dim` holds `rank` sizes. */
tensor tensor_of(void *data, dtype type, const char *name, int rank, const int64_t *dim);
int64_t tensor_numel(const tensor *t);
bool tensor_contiguous(const tensor *t);

/* Views: the same memory, described differently. */
/* of the last axis: x[..., from:from+count] */
tensor tensor_slice(const tensor *t, int64_t from, int64_t count);
tensor tensor_rows(const tensor *t, int64_t from, int64_t count);  /* of the first axis: x[from:from+count] */
tensor tensor_view(const tensor *t, int rank, const int64_t *dim); /* contiguous t with another shape */

/* "name f32(2,3)" for messages. Returns `buffer`. */
const char *tensor_text(const tensor *t, char *buffer, int size);

/* Stops the job, naming function, tensor, found and expected, when the shape or type differs. Used by every
 * op. */
void tensor_require_shape(const char *function, const tensor *t, dtype type, int rank, const int64_t *dim);
#define REQUIRE_SHAPE(t, type, ...)                                                                          \
    do {                                                                                                     \
        const int64_t want_[] = {__VA_ARGS__};                                                               \
        tensor_require_shape(__func__, t, type, (int)(sizeof want_ / sizeof want_[0]), want_);               \
    } while (0)

#ifdef __cplusplus
}
#endif
#endif
