// An interpreter of cuDNN's graphs, in float, on row-major copies of their tensors. It says whether a graph
// is attention; real cuDNN takes far fewer graphs (tests/emu/plan_cudnn.c asks it).
#include "tests/emu/fakecudnn.h"
#include "tests/emu/fake.h"
#include <algorithm>
#include <cmath>
#include <cuda_bf16.h>

namespace cudnn
{
namespace
{

// ---- tensors

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

} // namespace

// ---- programs

struct program {
    std::vector<node> nodes;
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
    bool bind_tensor(const shape &s)
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

std::shared_ptr<program> program_of(const part &graph)
{
    auto p = std::make_shared<program>();
    return nodes_of(graph, &p->nodes) ? p : nullptr;
}

bool bind_tensors(program &p, const std::vector<int64_t> &uid, const std::vector<void *> &address)
{
    for (size_t i = 0; i < uid.size(); i++) p.address[uid[i]] = address[i];
    for (const node &n : p.nodes) {
        if (!p.bind_tensor(n.out)) return false;
        for (const shape &s : n.in)
            if (!p.bind_tensor(s)) return false;
    }
    return true;
}

void run(program &p)
{
    for (const node &n : p.nodes) p.step(n);
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

} // namespace cudnn
