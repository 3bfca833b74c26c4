/* Tensors are descriptions: nothing here reads or writes an element. Strides follow from the sizes, the last
 * axis being contiguous; a view keeps the strides and moves the pointer. For x (B,T,C):
 *
 *     element (b,t,c) = data[b*stride[0] + t*stride[1] + c],   stride = {T*C, C, 1} */
#include "base/tensor.h"
#include "base/status.h"
#include <stdio.h>

int64_t dtype_bytes(dtype type)
{
    switch (type) {
    case F64:
    case U64:
        return 8;
    case F32:
    case I32:
        return 4;
    case F16:
    case BF16:
        return 2;
    case F8:
        return 1;
    }
    return 0;
}

const char *dtype_name(dtype type)
{
    static const char *const names[] = {[F32] = "f32", [F64] = "f64", [F16] = "f16", [BF16] = "bf16",
                                        [I32] = "i32", [F8] = "f8",   [U64] = "u64"};
    return names[type];
}

tensor tensor_of(void *data, dtype type, const char *name, int rank, const int64_t *dim)
{
    REQUIRE(rank >= 1 && rank <= TENSOR_MAX_RANK, "%s has rank %d", name, rank);
    tensor t = {
        .data = data, .name = name, .type = type, .rank = rank, .dim = {1, 1, 1, 1}, .stride = {1, 1, 1, 1}};
    int64_t step = 1;
    for (int i = rank - 1; i >= 0; i--) {
        t.dim[i] = dim[i];
        t.stride[i] = step;
        step *= dim[i];
    }
    return t;
}

int64_t tensor_numel(const tensor *t) { return t->dim[0] * t->dim[1] * t->dim[2] * t->dim[3]; }

bool tensor_contiguous(const tensor *t)
{
    int64_t step = 1;
    for (int i = t->rank - 1; i >= 0; i--) {
        if (t->dim[i] != 1 && t->stride[i] != step) return false;
        step *= t->dim[i];
    }
    return true;
}

tensor tensor_slice(const tensor *t, int64_t from, int64_t count)
{
    const int last = t->rank - 1;
    REQUIRE(from >= 0 && count >= 0 && from + count <= t->dim[last], "%s: columns %lld to %lld of %lld",
            t->name, (long long)from, (long long)(from + count), (long long)t->dim[last]);
    tensor view = *t;
    view.dim[last] = count;
    if (t->data) view.data = (char *)t->data + from * dtype_bytes(t->type);
    return view;
}

tensor tensor_rows(const tensor *t, int64_t from, int64_t count)
{
    REQUIRE(from >= 0 && count >= 0 && from + count <= t->dim[0], "%s: rows %lld to %lld of %lld", t->name,
            (long long)from, (long long)(from + count), (long long)t->dim[0]);
    tensor view = *t;
    view.dim[0] = count;
    if (t->data) view.data = (char *)t->data + from * t->stride[0] * dtype_bytes(t->type);
    return view;
}

tensor tensor_view(const tensor *t, int rank, const int64_t *dim)
{
    tensor view = tensor_of(t->data, t->type, t->name, rank, dim);
    REQUIRE(tensor_contiguous(t) && tensor_numel(&view) == tensor_numel(t), "%s: %lld elements seen as %lld",
            t->name, (long long)tensor_numel(t), (long long)tensor_numel(&view));
    return view;
}

static int shape_text(dtype type, int rank, const int64_t *dim, char *buffer, int size)
{
    int used = snprintf(buffer, (size_t)size, "%s(", dtype_name(type));
    for (int i = 0; i < rank && used < size; i++)
        used += snprintf(buffer + used, (size_t)(size - used), "%s%lld", i ? "," : "", (long long)dim[i]);
    if (used < size) used += snprintf(buffer + used, (size_t)(size - used), ")");
    return used;
}

const char *tensor_text(const tensor *t, char *buffer, int size)
{
    const int used = snprintf(buffer, (size_t)size, "%s ", t->name ? t->name : "?");
    if (used < size) shape_text(t->type, t->rank, t->dim, buffer + used, size - used);
    return buffer;
}

void tensor_require_shape(const char *function, const tensor *t, dtype type, int rank, const int64_t *dim)
{
    bool same = t->type == type && t->rank == rank;
    for (int i = 0; same && i < rank; i++) same = t->dim[i] == dim[i];
    if (same) return;
    char found[160], want[160];
    shape_text(type, rank, dim, want, sizeof want);
    die(ERR_BUG, "internal inconsistency: %s: %s, expected %s", function, tensor_text(t, found, sizeof found),
        want);
}
