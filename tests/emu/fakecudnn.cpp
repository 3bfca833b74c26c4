// cuDNN's backend API: an interpreter of graphs, in float. It knows the descriptors, attributes and modes
// that kernels/cudnn.c uses and refuses all others, as cuDNN does: with a status and a sentence. Real cuDNN
// takes far fewer graphs (tests/emu/plan_cudnn.c asks it); this one says whether those graphs are attention.
#include "tests/emu/fake.h"
#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <cuda_bf16.h>
#include <cudnn.h>
#include <map>
#include <memory>
#include <vector>

struct cudnnContext {
    cudaStream_t stream;
};

namespace
{

char last_error[256];
cudnnStatus_t refuse(const char *format, ...) __attribute__((format(printf, 1, 2)));
cudnnStatus_t refuse(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(last_error, sizeof last_error, format, list);
    va_end(list);
    return CUDNN_STATUS_BAD_PARAM;
}

// ---- descriptors

struct contents;
typedef std::shared_ptr<contents> part;
struct value {
    std::vector<char> bytes;
    std::vector<part> parts;
};
struct contents {
    cudnnBackendDescriptorType_t type;
    bool final = false;
    std::map<int, value> attribute;

    bool has(int name) const { return attribute.count(name) > 0; }
    template <class T> std::vector<T> all(int name) const
    {
        const auto &bytes = attribute.at(name).bytes;
        std::vector<T> v(bytes.size() / sizeof(T));
        memcpy(v.data(), bytes.data(), bytes.size());
        return v;
    }
    template <class T> T get(int name) const { return all<T>(name).at(0); }
    template <class T> T get(int name, T otherwise) const { return has(name) ? get<T>(name) : otherwise; }
    part child(int name) const { return has(name) ? attribute.at(name).parts.at(0) : nullptr; }
};
struct handle {
    part p;
};
handle *of(cudnnBackendDescriptor_t d) { return (handle *)d; }

size_t element_bytes(cudnnBackendAttributeType_t type)
{
    switch (type) {
    case CUDNN_TYPE_HANDLE:
    case CUDNN_TYPE_INT64:
    case CUDNN_TYPE_VOID_PTR:
    case CUDNN_TYPE_BACKEND_DESCRIPTOR:
        return 8;
    case CUDNN_TYPE_BOOLEAN:
        return 1;
    default:
        return 4; // enumerations
    }
}

enum need { MUST, MAY };
struct rule {
    cudnnBackendDescriptorType_t of;
    int name;
    cudnnBackendAttributeType_t type;
    int64_t least, most;
    need needed;
    int child; // the type that a descriptor must have
};
#define D(name) CUDNN_BACKEND_##name##_DESCRIPTOR
#define CHILD(owner, name, needed, child)                                                                    \
    {                                                                                                        \
        D(owner), CUDNN_ATTR_##name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, 1, needed, D(child)                   \
    }
#define VALUE(owner, name, type, least, most, needed)                                                        \
    {                                                                                                        \
        D(owner), CUDNN_ATTR_##name, CUDNN_TYPE_##type, least, most, needed, 0                               \
    }
const rule rules[] = {
    VALUE(TENSOR, TENSOR_UNIQUE_ID, INT64, 1, 1, MUST),
    VALUE(TENSOR, TENSOR_DATA_TYPE, DATA_TYPE, 1, 1, MUST),
    VALUE(TENSOR, TENSOR_DIMENSIONS, INT64, 4, 4, MUST),
    VALUE(TENSOR, TENSOR_STRIDES, INT64, 4, 4, MUST),
    VALUE(TENSOR, TENSOR_BYTE_ALIGNMENT, INT64, 1, 1, MUST),
    VALUE(TENSOR, TENSOR_IS_VIRTUAL, BOOLEAN, 1, 1, MAY),
    VALUE(TENSOR, TENSOR_IS_BY_VALUE, BOOLEAN, 1, 1, MAY),
    VALUE(MATMUL, MATMUL_COMP_TYPE, DATA_TYPE, 1, 1, MUST),
    CHILD(OPERATION_MATMUL, OPERATION_MATMUL_ADESC, MUST, TENSOR),
    CHILD(OPERATION_MATMUL, OPERATION_MATMUL_BDESC, MUST, TENSOR),
    CHILD(OPERATION_MATMUL, OPERATION_MATMUL_CDESC, MUST, TENSOR),
    CHILD(OPERATION_MATMUL, OPERATION_MATMUL_DESC, MUST, MATMUL),
    VALUE(POINTWISE, POINTWISE_MODE, POINTWISE_MODE, 1, 1, MUST),
    VALUE(POINTWISE, POINTWISE_MATH_PREC, DATA_TYPE, 1, 1, MUST),
    VALUE(POINTWISE, POINTWISE_AXIS, INT64, 1, 1, MAY),
    CHILD(OPERATION_POINTWISE, OPERATION_POINTWISE_PW_DESCRIPTOR, MUST, POINTWISE),
    CHILD(OPERATION_POINTWISE, OPERATION_POINTWISE_XDESC, MUST, TENSOR),
    CHILD(OPERATION_POINTWISE, OPERATION_POINTWISE_BDESC, MAY, TENSOR),
    CHILD(OPERATION_POINTWISE, OPERATION_POINTWISE_TDESC, MAY, TENSOR),
    CHILD(OPERATION_POINTWISE, OPERATION_POINTWISE_YDESC, MUST, TENSOR),
    VALUE(REDUCTION, REDUCTION_COMP_TYPE, DATA_TYPE, 1, 1, MUST),
    VALUE(REDUCTION, REDUCTION_OPERATOR, REDUCTION_OPERATOR_TYPE, 1, 1, MUST),
    CHILD(OPERATION_REDUCTION, OPERATION_REDUCTION_XDESC, MUST, TENSOR),
    CHILD(OPERATION_REDUCTION, OPERATION_REDUCTION_YDESC, MUST, TENSOR),
    CHILD(OPERATION_REDUCTION, OPERATION_REDUCTION_DESC, MUST, REDUCTION),
    CHILD(OPERATION_RESHAPE, OPERATION_RESHAPE_XDESC, MUST, TENSOR),
    CHILD(OPERATION_RESHAPE, OPERATION_RESHAPE_YDESC, MUST, TENSOR),
    {D(OPERATIONGRAPH), CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, 64, MUST, 0},
    VALUE(OPERATIONGRAPH, OPERATIONGRAPH_HANDLE, HANDLE, 1, 1, MUST),
    CHILD(ENGINEHEUR, ENGINEHEUR_OPERATION_GRAPH, MUST, OPERATIONGRAPH),
    VALUE(ENGINEHEUR, ENGINEHEUR_MODE, HEUR_MODE, 1, 1, MUST),
    CHILD(EXECUTION_PLAN, EXECUTION_PLAN_ENGINE_CONFIG, MUST, ENGINECFG),
    VALUE(EXECUTION_PLAN, EXECUTION_PLAN_HANDLE, HANDLE, 1, 1, MUST),
    VALUE(VARIANT_PACK, VARIANT_PACK_UNIQUE_IDS, INT64, 1, 64, MUST),
    VALUE(VARIANT_PACK, VARIANT_PACK_DATA_POINTERS, VOID_PTR, 1, 64, MUST),
    VALUE(VARIANT_PACK, VARIANT_PACK_WORKSPACE, VOID_PTR, 1, 1, MUST),
};

// ---- tensors

enum { WORKSPACE_BYTES = 4096 }; // what every plan asks for, and fills with rubbish

struct shape {
    int64_t uid, dim[4], stride[4], alignment;
    cudnnDataType_t type;
    bool is_virtual, by_value;

    explicit shape(const part &p)
        : uid(p->get<int64_t>(CUDNN_ATTR_TENSOR_UNIQUE_ID)),
          alignment(p->get<int64_t>(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT)),
          type(p->get<cudnnDataType_t>(CUDNN_ATTR_TENSOR_DATA_TYPE)),
          is_virtual(p->get<char>(CUDNN_ATTR_TENSOR_IS_VIRTUAL, 0) != 0),
          by_value(p->get<char>(CUDNN_ATTR_TENSOR_IS_BY_VALUE, 0) != 0)
    {
        for (size_t i = 0; i < 4; i++) {
            dim[i] = p->all<int64_t>(CUDNN_ATTR_TENSOR_DIMENSIONS)[i];
            stride[i] = p->all<int64_t>(CUDNN_ATTR_TENSOR_STRIDES)[i];
        }
    }
    int64_t count() const { return dim[0] * dim[1] * dim[2] * dim[3]; }
    size_t element() const { return type == CUDNN_DATA_BFLOAT16 ? 2 : type == CUDNN_DATA_BOOLEAN ? 1 : 4; }
    size_t bytes() const
    {
        int64_t last = 0;
        for (int i = 0; i < 4; i++) last += (dim[i] - 1) * stride[i];
        return (size_t)(last + 1) * element();
    }
    bool fits_into(const shape &out) const // is equal, or has one element where `out` may have more
    {
        for (int i = 0; i < 4; i++)
            if (dim[i] != out.dim[i] && dim[i] != 1) return false;
        return true;
    }
    // Index in row-major order of the element that stands at (b,h,m,n) of what this is spread over.
    int64_t index(int64_t b, int64_t h, int64_t m, int64_t n) const
    {
        return (((dim[0] > 1 ? b : 0) * dim[1] + (dim[1] > 1 ? h : 0)) * dim[2] + (dim[2] > 1 ? m : 0)) *
                   dim[3] +
               (dim[3] > 1 ? n : 0);
    }
};

template <class F> void each(const shape &s, F f)
{
    int64_t i = 0;
    for (int64_t b = 0; b < s.dim[0]; b++)
        for (int64_t h = 0; h < s.dim[1]; h++)
            for (int64_t m = 0; m < s.dim[2]; m++)
                for (int64_t n = 0; n < s.dim[3]; n++) f(b, h, m, n, i++);
}

cudnnStatus_t check_tensor(const part &p)
{
    const shape s(p);
    for (int i = 0; i < 4; i++)
        if (s.dim[i] < 1 || s.stride[i] < 1) return refuse("a tensor's dimension or stride is not positive");
    if (s.by_value)
        return s.is_virtual || s.count() != 1 ? refuse("a number is one element") : CUDNN_STATUS_SUCCESS;
    if (s.type != CUDNN_DATA_BFLOAT16) return CUDNN_STATUS_SUCCESS;
    if (s.stride[3] != 1 && s.stride[2] != 1)
        return refuse("neither rows nor columns are adjacent in memory");
    for (int i = 0; i < 4 && !s.is_virtual; i++)
        if (s.dim[i] > 1 && s.stride[i] != 1 && s.stride[i] * 2 % s.alignment)
            return refuse("stride %lld of a tensor is not aligned to %lld bytes", (long long)s.stride[i],
                          (long long)s.alignment);
    return CUDNN_STATUS_SUCCESS;
}

// ---- nodes

struct node {
    std::vector<shape> in;
    shape out;
    std::function<void(const std::vector<const float *> &, float *)> run; // on row-major copies
};

bool matmul_of(const part &p, std::vector<node> *nodes)
{
    const shape a(p->child(CUDNN_ATTR_OPERATION_MATMUL_ADESC)),
        b(p->child(CUDNN_ATTR_OPERATION_MATMUL_BDESC)), c(p->child(CUDNN_ATTR_OPERATION_MATMUL_CDESC));
    for (int i = 0; i < 2; i++)
        if (a.dim[i] != c.dim[i] || b.dim[i] != c.dim[i]) return false;
    if (a.dim[2] != c.dim[2] || b.dim[3] != c.dim[3] || a.dim[3] != b.dim[2]) return false;
    const int64_t m = c.dim[2], n = c.dim[3], k = a.dim[3];
    // Not OpenBLAS, whose bits depend on the number of threads: a GPU's do not.
    nodes->push_back({{a, b}, c, [=](const std::vector<const float *> &x, float *y) {
                          std::fill(y, y + c.count(), 0.0f);
                          for (int64_t i = 0; i < c.count() / n; i++) // rows, of all matrices
                              for (int64_t j = 0; j < k; j++) {
                                  const float factor = x[0][i * k + j];
                                  const float *row = x[1] + (i / m * k + j) * n;
                                  for (int64_t e = 0; e < n; e++) y[i * n + e] += factor * row[e];
                              }
                      }});
    return true;
}

bool reduction_of(const part &p, std::vector<node> *nodes)
{
    const shape x(p->child(CUDNN_ATTR_OPERATION_REDUCTION_XDESC)),
        y(p->child(CUDNN_ATTR_OPERATION_REDUCTION_YDESC));
    const auto how = p->child(CUDNN_ATTR_OPERATION_REDUCTION_DESC)
                         ->get<cudnnReduceTensorOp_t>(CUDNN_ATTR_REDUCTION_OPERATOR);
    if (!y.fits_into(x) || (how != CUDNN_REDUCE_TENSOR_ADD && how != CUDNN_REDUCE_TENSOR_MAX)) return false;
    const bool largest = how == CUDNN_REDUCE_TENSOR_MAX;
    nodes->push_back({{x}, y, [=](const std::vector<const float *> &from, float *to) {
                          for (int64_t i = 0; i < y.count(); i++) to[i] = largest ? -INFINITY : 0;
                          each(x, [&](int64_t b, int64_t h, int64_t m, int64_t n, int64_t i) {
                              float &r = to[y.index(b, h, m, n)];
                              r = largest ? fmaxf(r, from[0][i]) : r + from[0][i];
                          });
                      }});
    return true;
}

// Only the exchange of the last two axes.
bool reshape_of(const part &p, std::vector<node> *nodes)
{
    const shape x(p->child(CUDNN_ATTR_OPERATION_RESHAPE_XDESC)),
        y(p->child(CUDNN_ATTR_OPERATION_RESHAPE_YDESC));
    static const int from[4] = {0, 1, 3, 2};
    for (int i = 0; i < 4; i++)
        if (y.dim[i] != x.dim[from[i]] || y.stride[i] != x.stride[from[i]]) return false;
    nodes->push_back({{x}, y, [=](const std::vector<const float *> &in, float *out) {
                          each(x, [&](int64_t b, int64_t h, int64_t m, int64_t n, int64_t i) {
                              out[y.index(b, h, n, m)] = in[0][i];
                          });
                      }});
    return true;
}

// Operands of a mode; -1: not one of ours.
int operands(cudnnPointwiseMode_t mode)
{
    switch (mode) {
    case CUDNN_POINTWISE_EXP:
    case CUDNN_POINTWISE_LOG:
    case CUDNN_POINTWISE_IDENTITY:
    case CUDNN_POINTWISE_GEN_INDEX:
        return 1;
    case CUDNN_POINTWISE_ADD:
    case CUDNN_POINTWISE_SUB:
    case CUDNN_POINTWISE_MUL:
    case CUDNN_POINTWISE_DIV:
    case CUDNN_POINTWISE_CMP_GE:
        return 2;
    case CUDNN_POINTWISE_BINARY_SELECT:
        return 3;
    default:
        return -1;
    }
}

float apply(cudnnPointwiseMode_t mode, float x, float y, float select)
{
    switch (mode) {
    case CUDNN_POINTWISE_ADD:
        return x + y;
    case CUDNN_POINTWISE_SUB:
        return x - y;
    case CUDNN_POINTWISE_MUL:
        return x * y;
    case CUDNN_POINTWISE_DIV:
        return x / y;
    case CUDNN_POINTWISE_EXP:
        return expf(x);
    case CUDNN_POINTWISE_LOG:
        return logf(x);
    case CUDNN_POINTWISE_CMP_GE:
        return x >= y;
    case CUDNN_POINTWISE_BINARY_SELECT:
        return select != 0 ? x : y;
    default:
        return x;
    }
}

bool pointwise_of(const part &p, std::vector<node> *nodes)
{
    const part how = p->child(CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR);
    const auto mode = how->get<cudnnPointwiseMode_t>(CUDNN_ATTR_POINTWISE_MODE);
    const int64_t axis = how->get<int64_t>(CUDNN_ATTR_POINTWISE_AXIS, -1);
    const shape y(p->child(CUDNN_ATTR_OPERATION_POINTWISE_YDESC));
    std::vector<shape> in;
    for (int name : {CUDNN_ATTR_OPERATION_POINTWISE_XDESC, CUDNN_ATTR_OPERATION_POINTWISE_BDESC,
                     CUDNN_ATTR_OPERATION_POINTWISE_TDESC})
        if (p->has(name)) in.emplace_back(p->child(name));
    if ((int)in.size() != operands(mode)) return false;
    const bool index = mode == CUDNN_POINTWISE_GEN_INDEX;
    if (index != (axis >= 0) || axis > 3) return false;
    if ((mode == CUDNN_POINTWISE_CMP_GE) != (y.type == CUDNN_DATA_BOOLEAN)) return false;
    for (const shape &s : in)
        if (!s.fits_into(y)) return false;
    nodes->push_back({in, y, [=](const std::vector<const float *> &x, float *out) {
                          each(y, [&](int64_t b, int64_t h, int64_t m, int64_t n, int64_t i) {
                              const int64_t at[4] = {b, h, m, n};
                              float v[3] = {0, 0, 0};
                              for (size_t j = 0; j < in.size(); j++) v[j] = x[j][in[j].index(b, h, m, n)];
                              out[i] = index ? (float)at[axis] : apply(mode, v[0], v[1], v[2]);
                          });
                      }});
    return true;
}

// ---- graphs

// False, and a sentence, for what is not a graph.
bool nodes_of(const part &graph, std::vector<node> *nodes)
{
    std::map<int64_t, bool> written; // virtual tensors
    for (const part &p : graph->attribute.at(CUDNN_ATTR_OPERATIONGRAPH_OPS).parts) {
        const bool known = p->type == D(OPERATION_MATMUL)      ? matmul_of(p, nodes)
                           : p->type == D(OPERATION_REDUCTION) ? reduction_of(p, nodes)
                           : p->type == D(OPERATION_RESHAPE)
                               ? reshape_of(p, nodes)
                               : p->type == D(OPERATION_POINTWISE) && pointwise_of(p, nodes);
        if (!known) {
            refuse("node %zu of a graph has shapes, types or a mode that do not go together", nodes->size());
            return false;
        }
        for (const shape &s : nodes->back().in)
            if (s.is_virtual && !written.count(s.uid)) {
                refuse("node %zu of a graph reads what no node before it wrote", nodes->size() - 1);
                return false;
            }
        const shape &out = nodes->back().out;
        if (out.by_value || (out.is_virtual && !written.emplace(out.uid, true).second)) {
            refuse("node %zu of a graph writes what cannot be written", nodes->size() - 1);
            return false;
        }
    }
    return true;
}

float read_element(const shape &s, const void *p, int64_t i)
{
    switch (s.type) {
    case CUDNN_DATA_BFLOAT16:
        return __bfloat162float(((const __nv_bfloat16 *)p)[i]);
    case CUDNN_DATA_INT32:
        return (float)((const int32_t *)p)[i];
    default:
        return ((const float *)p)[i];
    }
}

int64_t offset(const shape &s, int64_t b, int64_t h, int64_t m, int64_t n)
{
    return b * s.stride[0] + h * s.stride[1] + m * s.stride[2] + n * s.stride[3];
}

struct run {
    std::map<int64_t, void *> address;
    std::map<int64_t, float> number; // read when the call was made
    std::map<int64_t, std::vector<float>> inside;

    std::vector<float> load(const shape &s)
    {
        if (s.is_virtual) return inside.at(s.uid);
        if (s.by_value) return {number.at(s.uid)};
        std::vector<float> x((size_t)s.count());
        const void *p = address.at(s.uid);
        each(s, [&](int64_t b, int64_t h, int64_t m, int64_t n, int64_t i) {
            x[(size_t)i] = read_element(s, p, offset(s, b, h, m, n));
        });
        return x;
    }
    void store(const shape &s, std::vector<float> &x)
    {
        if (s.type == CUDNN_DATA_BFLOAT16)
            for (float &e : x) e = __bfloat162float(__float2bfloat16_rn(e));
        if (s.is_virtual) {
            inside[s.uid].swap(x);
            return;
        }
        void *p = address.at(s.uid);
        each(s, [&](int64_t b, int64_t h, int64_t m, int64_t n, int64_t i) {
            if (s.type == CUDNN_DATA_BFLOAT16)
                ((__nv_bfloat16 *)p)[offset(s, b, h, m, n)] = __float2bfloat16_rn(x[(size_t)i]);
            else
                ((float *)p)[offset(s, b, h, m, n)] = x[(size_t)i];
        });
    }
    void step(const node &n)
    {
        std::vector<std::vector<float>> in;
        std::vector<const float *> x;
        for (const shape &s : n.in) in.push_back(load(s));
        for (const auto &v : in) x.push_back(v.data());
        std::vector<float> out((size_t)n.out.count());
        n.run(x, out.data());
        store(n.out, out);
    }
    // Every tensor outside has an address of the right kind.
    bool bind(const shape &s)
    {
        if (s.is_virtual) return true;
        if (!address.count(s.uid)) {
            refuse("the variant pack has no tensor %lld", (long long)s.uid);
            return false;
        }
        void *p = address[s.uid];
        if (s.by_value) {
            fake::host_range(p, s.element(), false, "a number of a cuDNN graph");
            number[s.uid] = read_element(s, p, 0);
        } else {
            fake::device_range(p, s.bytes(), "a tensor of a cuDNN graph");
            if ((uintptr_t)p % (uintptr_t)s.alignment)
                fake::error("a tensor of a cuDNN graph is not aligned");
        }
        return true;
    }
};

} // namespace

extern "C" {

size_t cudnnGetVersion(void) { return CUDNN_VERSION; }
const char *cudnnGetErrorString(cudnnStatus_t status)
{
    return status == CUDNN_STATUS_SUCCESS           ? "CUDNN_STATUS_SUCCESS"
           : status == CUDNN_STATUS_NOT_INITIALIZED ? "CUDNN_STATUS_NOT_INITIALIZED"
           : status == CUDNN_STATUS_BAD_PARAM       ? "CUDNN_STATUS_BAD_PARAM"
                                                    : "CUDNN_STATUS_EXECUTION_FAILED";
}
void cudnnGetLastErrorString(char *message, size_t size) { snprintf(message, size, "%s", last_error); }

cudnnStatus_t cudnnCreate(cudnnHandle_t *h)
{
    if (fake::fails(__func__)) return CUDNN_STATUS_NOT_INITIALIZED;
    *h = new cudnnContext{};
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnDestroy(cudnnHandle_t h)
{
    delete h;
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnSetStream(cudnnHandle_t h, cudaStream_t stream)
{
    fake::check_stream(stream);
    h->stream = stream;
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendCreateDescriptor(cudnnBackendDescriptorType_t type, cudnnBackendDescriptor_t *d)
{
    handle *made = new handle{std::make_shared<contents>()};
    made->p->type = type;
    *d = made;
    return CUDNN_STATUS_SUCCESS;
}
cudnnStatus_t cudnnBackendDestroyDescriptor(cudnnBackendDescriptor_t d)
{
    delete of(d);
    return CUDNN_STATUS_SUCCESS;
}

cudnnStatus_t cudnnBackendSetAttribute(cudnnBackendDescriptor_t d, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t type, int64_t count, const void *elements)
{
    contents &c = *of(d)->p;
    if (c.final) return refuse("attribute %d is set after the descriptor was finalised", (int)name);
    for (const rule &r : rules) {
        if (r.of != c.type || r.name != (int)name) continue;
        if (r.type != type || count < r.least || count > r.most)
            return refuse("attribute %d has another type or another number of elements", (int)name);
        value &v = c.attribute[name];
        v.bytes.assign((const char *)elements, (const char *)elements + (size_t)count * element_bytes(type));
        v.parts.clear();
        if (type == CUDNN_TYPE_BACKEND_DESCRIPTOR)
            for (int64_t i = 0; i < count; i++) {
                const handle *child = of(((const cudnnBackendDescriptor_t *)elements)[i]);
                if (!child || !child->p->final || (r.child && child->p->type != r.child))
                    return refuse("attribute %d is a descriptor that is not finalised or of another type",
                                  (int)name);
                v.parts.push_back(child->p);
            }
        return CUDNN_STATUS_SUCCESS;
    }
    return refuse("attribute %d is not known for descriptor type %d", (int)name, (int)c.type);
}

cudnnStatus_t cudnnBackendFinalize(cudnnBackendDescriptor_t d)
{
    const part &p = of(d)->p;
    if (p->final) return refuse("a descriptor is finalised twice");
    for (const rule &r : rules)
        if (r.of == p->type && r.needed == MUST && !p->has(r.name))
            return refuse("attribute %d of descriptor type %d is not set", r.name, (int)p->type);
    std::vector<node> nodes;
    if (p->type == D(TENSOR) && check_tensor(p) != CUDNN_STATUS_SUCCESS) return CUDNN_STATUS_BAD_PARAM;
    if (p->type == D(OPERATIONGRAPH) && !nodes_of(p, &nodes)) return CUDNN_STATUS_BAD_PARAM;
    if (p->type == D(VARIANT_PACK) && p->all<int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS).size() !=
                                          p->all<void *>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS).size())
        return refuse("a variant pack has not as many pointers as ids");
    p->final = true;
    return CUDNN_STATUS_SUCCESS;
}

// A configuration that heuristics return is their graph.
cudnnStatus_t cudnnBackendGetAttribute(cudnnBackendDescriptor_t const d, cudnnBackendAttributeName_t name,
                                       cudnnBackendAttributeType_t, int64_t room, int64_t *count,
                                       void *elements)
{
    const contents &c = *of(d)->p;
    if (!c.final || room < 1) return refuse("a descriptor that is not finalised is asked");
    *count = 1;
    switch (name) {
    case CUDNN_ATTR_ENGINEHEUR_RESULTS:
        if (fake::fails("cudnn.heuristics"))
            *count = 0;
        else
            of(*(cudnnBackendDescriptor_t *)elements)->p->attribute[CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH] =
                c.attribute.at(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH);
        of(*(cudnnBackendDescriptor_t *)elements)->p->final = *count > 0;
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_ENGINECFG_ENGINE:
        of(*(cudnnBackendDescriptor_t *)elements)->p->final = true;
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_ENGINE_GLOBAL_INDEX:
        *(int64_t *)elements = 0;
        return CUDNN_STATUS_SUCCESS;
    case CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE:
        *(int64_t *)elements = WORKSPACE_BYTES;
        return CUDNN_STATUS_SUCCESS;
    default:
        return refuse("attribute %d cannot be asked for", (int)name);
    }
}

cudnnStatus_t cudnnBackendExecute(cudnnHandle_t h, cudnnBackendDescriptor_t plan,
                                  cudnnBackendDescriptor_t pack)
{
    if (fake::fails(__func__)) return CUDNN_STATUS_EXECUTION_FAILED;
    const part p = of(plan)->p, v = of(pack)->p;
    if (!p->final || p->type != D(EXECUTION_PLAN) || !v->final || v->type != D(VARIANT_PACK))
        return refuse("a plan or a variant pack is not finalised");
    if (p->get<cudnnHandle_t>(CUDNN_ATTR_EXECUTION_PLAN_HANDLE) != h)
        return refuse("a plan of another handle");
    auto r = std::make_shared<run>();
    auto nodes = std::make_shared<std::vector<node>>();
    nodes_of(p->child(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG)->child(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH),
             nodes.get());
    const auto uid = v->all<int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS);
    for (size_t i = 0; i < uid.size(); i++)
        r->address[uid[i]] = v->all<void *>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS)[i];
    for (const node &n : *nodes) {
        if (!r->bind(n.out)) return CUDNN_STATUS_BAD_PARAM;
        for (const shape &s : n.in)
            if (!r->bind(s)) return CUDNN_STATUS_BAD_PARAM;
    }
    void *const workspace = v->get<void *>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
    fake::device_range(workspace, WORKSPACE_BYTES, "the workspace of cuDNN");
    return fake::enqueue(h->stream,
                         [=] {
                             memset(workspace, 0xff, WORKSPACE_BYTES);
                             for (const node &n : *nodes) r->step(n);
                         }) == cudaSuccess
               ? CUDNN_STATUS_SUCCESS
               : CUDNN_STATUS_EXECUTION_FAILED;
}
}
