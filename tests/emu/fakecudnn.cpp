// cuDNN's backend API. It knows the descriptors, attributes and modes that kernels/cuda/cudnn.c uses and
// refuses all others, as cuDNN does: with a status and a sentence.
#include "tests/emu/fakecudnn.h"
#include "tests/emu/fake.h"
#include <cstdarg>
#include <cstdio>

using namespace cudnn;

struct cudnnContext {
    cudaStream_t stream;
};

static char last_error[256];
cudnnStatus_t cudnn::refuse(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    vsnprintf(last_error, sizeof last_error, format, list);
    va_end(list);
    return CUDNN_STATUS_BAD_PARAM;
}

namespace
{

enum { WORKSPACE_BYTES = 4096 }; // what every plan asks for, and fills with rubbish

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
    if (p->type == D(TENSOR) && check_tensor(p) != CUDNN_STATUS_SUCCESS) return CUDNN_STATUS_BAD_PARAM;
    if (p->type == D(OPERATIONGRAPH) && !program_of(p)) return CUDNN_STATUS_BAD_PARAM;
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
    const auto graph = program_of(
        p->child(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG)->child(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH));
    if (!bind_tensors(*graph, v->all<int64_t>(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS),
                      v->all<void *>(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS)))
        return CUDNN_STATUS_BAD_PARAM;
    void *const workspace = v->get<void *>(CUDNN_ATTR_VARIANT_PACK_WORKSPACE);
    fake::device_range(workspace, WORKSPACE_BYTES, "the workspace of cuDNN");
    return fake::enqueue(h->stream,
                         [=] {
                             memset(workspace, 0xff, WORKSPACE_BYTES);
                             run(*graph);
                         }) == cudaSuccess
               ? CUDNN_STATUS_SUCCESS
               : CUDNN_STATUS_EXECUTION_FAILED;
}
}
