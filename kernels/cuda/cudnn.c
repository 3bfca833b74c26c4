/* See cudnn.h. The backend API is descriptors whose attributes are set one by one and which are then
 * finalised: here each is one call, made of a list of attributes. */
#include "kernels/cuda/cudnn.h"
#include "base/library.h"
#include "kernels/versions.h"
#include <stddef.h>
#include <string.h>

#define CUDNN_CALLS(F)                                                                                       \
    F(cudnnGetVersion)                                                                                       \
    F(cudnnGetErrorString)                                                                                   \
    F(cudnnGetLastErrorString)                                                                               \
    F(cudnnCreate)                                                                                           \
    F(cudnnDestroy)                                                                                          \
    F(cudnnSetStream)                                                                                        \
    F(cudnnBackendCreateDescriptor)                                                                          \
    F(cudnnBackendDestroyDescriptor)                                                                         \
    F(cudnnBackendSetAttribute)                                                                              \
    F(cudnnBackendGetAttribute)                                                                              \
    F(cudnnBackendFinalize)                                                                                  \
    F(cudnnBackendExecute)
LIBRARY(cudnn, "cuDNN", CUDNN_CALLS, "libcudnn.so.9");

status cudnn_open(message *why)
{
    TRY(library_open(&cudnn_library, why));
    const int64_t version = cudnn_version();
    if (version < CUDNN_OLDEST)
        return fail(why, ERR_DEVICE, "cuDNN %lld.%lld.%lld is older than the %d.%d that is needed",
                    (long long)(version / 10000), (long long)(version / 100 % 100),
                    (long long)(version % 100), CUDNN_OLDEST / 10000, CUDNN_OLDEST / 100 % 100);
    return OK;
}

int64_t cudnn_version(void) { return (int64_t)cudnn.cudnnGetVersion(); }

int64_t gpu_cudnn_version(void)
{
    message ignored;
    return cudnn_open(&ignored) == OK ? cudnn_version() : 0;
}

/* cuDNN's own words about the last failure are many lines; the first says what, the others where. */
static status failure(message *why, const char *call, cudnnStatus_t code)
{
    char text[512] = "";
    cudnn.cudnnGetLastErrorString(text, sizeof text);
    text[strcspn(text, "\n")] = '\0';
    return fail(why, ERR_DEVICE, "%s: %s%s%s", call, cudnn.cudnnGetErrorString(code), text[0] ? ": " : "",
                text);
}

/* ---- descriptors ------------------------------------------------------------------------------------- */

typedef struct attribute {
    cudnnBackendAttributeName_t name;
    cudnnBackendAttributeType_t type;
    int64_t count;
    const void *value;
} attribute;
#define ONE(name, type, value)                                                                               \
    {                                                                                                        \
        CUDNN_ATTR_##name, CUDNN_TYPE_##type, 1, &(value)                                                    \
    }
#define DESCRIPTOR(name, value) ONE(name, BACKEND_DESCRIPTOR, value)

/* An attribute without elements is left out. */
static status make(cudnnBackendDescriptor_t *d, cudnnBackendDescriptorType_t type, const char *what,
                   int count, const attribute *attributes, message *why)
{
    cudnnStatus_t code = cudnn.cudnnBackendCreateDescriptor(type, d);
    if (code != CUDNN_STATUS_SUCCESS) {
        *d = NULL;
        return failure(why, what, code);
    }
    for (const attribute *a = attributes; a < attributes + count && code == CUDNN_STATUS_SUCCESS; a++)
        if (a->count) code = cudnn.cudnnBackendSetAttribute(*d, a->name, a->type, a->count, a->value);
    if (code == CUDNN_STATUS_SUCCESS) code = cudnn.cudnnBackendFinalize(*d);
    if (code == CUDNN_STATUS_SUCCESS) return OK;
    const status s = failure(why, what, code);
    cudnn.cudnnBackendDestroyDescriptor(*d);
    *d = NULL;
    return s;
}

/* A descriptor of the graph; NULL once something has failed. */
static cudnnBackendDescriptor_t part(cudnn_graph *g, cudnnBackendDescriptorType_t type, const char *what,
                                     int count, const attribute *attributes)
{
    if (g->failed != OK) return NULL;
    REQUIRE(g->num_descriptors < CUDNN_MAX_DESCRIPTORS, "a graph of more than %d descriptors",
            CUDNN_MAX_DESCRIPTORS);
    cudnnBackendDescriptor_t d;
    g->failed = make(&d, type, what, count, attributes, &g->why);
    if (g->failed == OK) g->descriptor[g->num_descriptors++] = d;
    return d;
}
#define PART(g, type, ...)                                                                                   \
    part(g, CUDNN_BACKEND_##type##_DESCRIPTOR, #type,                                                        \
         (int)(sizeof((attribute[]){__VA_ARGS__}) / sizeof(attribute)), (attribute[]){__VA_ARGS__})

static void add_node(cudnn_graph *g, cudnnBackendDescriptor_t node)
{
    REQUIRE(g->num_nodes < CUDNN_MAX_NODES, "a graph of more than %d nodes", CUDNN_MAX_NODES);
    if (g->failed == OK) g->node[g->num_nodes++] = node;
}

void cudnn_graph_free(cudnn_graph *g)
{
    while (g->num_descriptors > 0) cudnn.cudnnBackendDestroyDescriptor(g->descriptor[--g->num_descriptors]);
    g->num_nodes = 0;
}

/* ---- planners ------------------------------------------------------------------------------------------ */

status cudnn_planner_open(cudnn_planner *p, cudaStream_t stream, message *why)
{
    *p = (cudnn_planner){0};
    TRY(cudnn_open(why));
    cudnnStatus_t code = cudnn.cudnnCreate(&p->handle);
    if (code != CUDNN_STATUS_SUCCESS) {
        p->handle = NULL;
        return failure(why, "cudnnCreate", code);
    }
    code = cudnn.cudnnSetStream(p->handle, stream);
    if (code == CUDNN_STATUS_SUCCESS) return OK;
    const status s = failure(why, "cudnnSetStream", code);
    cudnn_planner_close(p);
    return s;
}

status cudnn_planner_imagine(cudnn_planner *p, const char *json, message *why)
{
    *p = (cudnn_planner){0};
    TRY(cudnn_open(why));
    const attribute text = {CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, CUDNN_TYPE_CHAR, (int64_t)strlen(json),
                            json};
    return make(&p->properties, CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR, "DEVICEPROP", 1, &text, why);
}

void cudnn_planner_close(cudnn_planner *p)
{
    if (p->handle) cudnn.cudnnDestroy(p->handle);
    if (p->properties) cudnn.cudnnBackendDestroyDescriptor(p->properties);
    *p = (cudnn_planner){0};
}

/* ---- tensors ------------------------------------------------------------------------------------------- */

enum { FIRST_VIRTUAL_UID = 100 };

static cudnn_tensor tensor_made(cudnn_graph *g, int64_t uid, cudnnDataType_t type, bool is_virtual,
                                bool by_value, const int64_t dim[4], const int64_t stride[4])
{
    const int64_t alignment = 16;
    cudnn_tensor t = {.descriptor = PART(g, TENSOR, ONE(TENSOR_UNIQUE_ID, INT64, uid),
                                         ONE(TENSOR_DATA_TYPE, DATA_TYPE, type),
                                         {CUDNN_ATTR_TENSOR_DIMENSIONS, CUDNN_TYPE_INT64, 4, dim},
                                         {CUDNN_ATTR_TENSOR_STRIDES, CUDNN_TYPE_INT64, 4, stride},
                                         ONE(TENSOR_BYTE_ALIGNMENT, INT64, alignment),
                                         ONE(TENSOR_IS_VIRTUAL, BOOLEAN, is_virtual),
                                         ONE(TENSOR_IS_BY_VALUE, BOOLEAN, by_value))};
    memcpy(t.dim, dim, sizeof t.dim);
    memcpy(t.stride, stride, sizeof t.stride);
    return t;
}

cudnn_tensor cudnn_memory(cudnn_graph *g, int64_t uid, cudnnDataType_t type, const int64_t dim[4],
                          const int64_t stride[4])
{
    REQUIRE(uid < FIRST_VIRTUAL_UID, "uid %lld", (long long)uid);
    return tensor_made(g, uid, type, false, false, dim, stride);
}

cudnn_tensor cudnn_number(cudnn_graph *g, int64_t uid)
{
    const int64_t one[4] = {1, 1, 1, 1};
    return tensor_made(g, uid, CUDNN_DATA_FLOAT, false, true, one, one);
}

/* Descriptors are counted, and a virtual tensor is one: its number is its own. */
static cudnn_tensor virtual_made(cudnn_graph *g, cudnnDataType_t type, const int64_t dim[4],
                                 const int64_t stride[4])
{
    return tensor_made(g, FIRST_VIRTUAL_UID + g->num_descriptors, type, true, false, dim, stride);
}

cudnn_tensor cudnn_virtual(cudnn_graph *g, cudnnDataType_t type, const int64_t dim[4])
{
    const int64_t stride[4] = {dim[1] * dim[2] * dim[3], dim[2] * dim[3], dim[3], 1};
    return virtual_made(g, type, dim, stride);
}

/* ---- nodes --------------------------------------------------------------------------------------------- */

static const cudnnDataType_t in_float = CUDNN_DATA_FLOAT;

cudnn_tensor cudnn_matmul(cudnn_graph *g, cudnn_tensor a, cudnn_tensor b, cudnn_tensor out)
{
    const cudnnBackendDescriptor_t how = PART(g, MATMUL, ONE(MATMUL_COMP_TYPE, DATA_TYPE, in_float));
    add_node(g, PART(g, OPERATION_MATMUL, DESCRIPTOR(OPERATION_MATMUL_ADESC, a.descriptor),
                     DESCRIPTOR(OPERATION_MATMUL_BDESC, b.descriptor),
                     DESCRIPTOR(OPERATION_MATMUL_CDESC, out.descriptor),
                     DESCRIPTOR(OPERATION_MATMUL_DESC, how)));
    return out;
}

static cudnn_tensor pointwise(cudnn_graph *g, cudnnPointwiseMode_t mode, int64_t axis, cudnn_tensor x,
                              const cudnn_tensor *y, const cudnn_tensor *select, cudnn_tensor out)
{
    const cudnnDataType_t in = mode == CUDNN_POINTWISE_CMP_GE ? CUDNN_DATA_BOOLEAN : CUDNN_DATA_FLOAT;
    const cudnnBackendDescriptor_t how =
        PART(g, POINTWISE, ONE(POINTWISE_MODE, POINTWISE_MODE, mode), ONE(POINTWISE_MATH_PREC, DATA_TYPE, in),
             {CUDNN_ATTR_POINTWISE_AXIS, CUDNN_TYPE_INT64, axis >= 0, &axis});
    add_node(g, PART(g, OPERATION_POINTWISE, DESCRIPTOR(OPERATION_POINTWISE_PW_DESCRIPTOR, how),
                     DESCRIPTOR(OPERATION_POINTWISE_XDESC, x.descriptor),
                     {CUDNN_ATTR_OPERATION_POINTWISE_BDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, y != NULL,
                      y ? &y->descriptor : NULL},
                     {CUDNN_ATTR_OPERATION_POINTWISE_TDESC, CUDNN_TYPE_BACKEND_DESCRIPTOR, select != NULL,
                      select ? &select->descriptor : NULL},
                     DESCRIPTOR(OPERATION_POINTWISE_YDESC, out.descriptor)));
    return out;
}

cudnn_tensor cudnn_pointwise(cudnn_graph *g, cudnnPointwiseMode_t mode, cudnn_tensor x, const cudnn_tensor *y,
                             const cudnn_tensor *select, cudnn_tensor out)
{
    return pointwise(g, mode, -1, x, y, select, out);
}

cudnn_tensor cudnn_index(cudnn_graph *g, int64_t axis, cudnn_tensor like, cudnn_tensor out)
{
    return pointwise(g, CUDNN_POINTWISE_GEN_INDEX, axis, like, NULL, NULL, out);
}

cudnn_tensor cudnn_reduce(cudnn_graph *g, cudnnReduceTensorOp_t how, cudnn_tensor x, cudnn_tensor out)
{
    const cudnnBackendDescriptor_t reduction =
        PART(g, REDUCTION, ONE(REDUCTION_COMP_TYPE, DATA_TYPE, in_float),
             ONE(REDUCTION_OPERATOR, REDUCTION_OPERATOR_TYPE, how));
    add_node(g, PART(g, OPERATION_REDUCTION, DESCRIPTOR(OPERATION_REDUCTION_XDESC, x.descriptor),
                     DESCRIPTOR(OPERATION_REDUCTION_YDESC, out.descriptor),
                     DESCRIPTOR(OPERATION_REDUCTION_DESC, reduction)));
    return out;
}

cudnn_tensor cudnn_transpose(cudnn_graph *g, cudnnDataType_t type, cudnn_tensor x)
{
    const int64_t dim[4] = {x.dim[0], x.dim[1], x.dim[3], x.dim[2]},
                  stride[4] = {x.stride[0], x.stride[1], x.stride[3], x.stride[2]};
    const cudnn_tensor out = virtual_made(g, type, dim, stride);
    add_node(g, PART(g, OPERATION_RESHAPE, DESCRIPTOR(OPERATION_RESHAPE_XDESC, x.descriptor),
                     DESCRIPTOR(OPERATION_RESHAPE_YDESC, out.descriptor)));
    return out;
}

/* ---- plans --------------------------------------------------------------------------------------------- */

static status plan_of(cudnn_plan *plan, const cudnn_planner *p, cudnnBackendDescriptor_t configuration,
                      message *why)
{
    const attribute attributes[] = {
        DESCRIPTOR(EXECUTION_PLAN_ENGINE_CONFIG, configuration),
        {CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_TYPE_HANDLE, p->handle != NULL, &p->handle},
        {CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP, CUDNN_TYPE_BACKEND_DESCRIPTOR, p->properties != NULL,
         &p->properties}};
    TRY(make(&plan->descriptor, CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR, "EXECUTION_PLAN", 3, attributes,
             why));
    int64_t count;
    const cudnnStatus_t code =
        cudnn.cudnnBackendGetAttribute(plan->descriptor, CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE,
                                       CUDNN_TYPE_INT64, 1, &count, &plan->workspace_bytes);
    return code == CUDNN_STATUS_SUCCESS ? OK : failure(why, "EXECUTION_PLAN_WORKSPACE_SIZE", code);
}

/* The index of a configuration's engine, for people: -1 when cuDNN does not say. */
static int64_t engine_of(cudnnBackendDescriptor_t configuration)
{
    cudnnBackendDescriptor_t engine;
    int64_t count, index = -1;
    if (cudnn.cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINE_DESCRIPTOR, &engine) != CUDNN_STATUS_SUCCESS)
        return index;
    if (cudnn.cudnnBackendGetAttribute(configuration, CUDNN_ATTR_ENGINECFG_ENGINE,
                                       CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count,
                                       &engine) != CUDNN_STATUS_SUCCESS ||
        cudnn.cudnnBackendGetAttribute(engine, CUDNN_ATTR_ENGINE_GLOBAL_INDEX, CUDNN_TYPE_INT64, 1, &count,
                                       &index) != CUDNN_STATUS_SUCCESS)
        index = -1;
    cudnn.cudnnBackendDestroyDescriptor(engine);
    return index;
}

static status plan_of_heuristics(cudnn_plan *plan, cudnn_graph *g, cudnnBackendDescriptor_t operations,
                                 message *why)
{
    enum { MOST = 8 };
    const cudnn_planner *p = g->planner;
    const cudnnBackendHeurMode_t mode = CUDNN_HEUR_MODE_A;
    const cudnnBackendDescriptor_t heuristics =
        PART(g, ENGINEHEUR, DESCRIPTOR(ENGINEHEUR_OPERATION_GRAPH, operations),
             ONE(ENGINEHEUR_MODE, HEUR_MODE, mode),
             {CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, CUDNN_TYPE_BACKEND_DESCRIPTOR, p->properties != NULL,
              &p->properties});
    if (g->failed != OK) return fail(why, g->failed, "%s", g->why.text);
    /* The results are written into descriptors that the caller makes. */
    cudnnBackendDescriptor_t configuration[MOST];
    int64_t count = 0;
    for (int i = 0; i < MOST; i++) {
        REQUIRE(g->num_descriptors < CUDNN_MAX_DESCRIPTORS, "no room for %d configurations", MOST);
        const cudnnStatus_t made =
            cudnn.cudnnBackendCreateDescriptor(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR, &configuration[i]);
        if (made != CUDNN_STATUS_SUCCESS) return failure(why, "ENGINECFG", made);
        g->descriptor[g->num_descriptors++] = configuration[i];
    }
    const cudnnStatus_t code =
        cudnn.cudnnBackendGetAttribute(heuristics, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                                       CUDNN_TYPE_BACKEND_DESCRIPTOR, MOST, &count, configuration);
    if (code != CUDNN_STATUS_SUCCESS) return failure(why, "ENGINEHEUR_RESULTS", code);
    status s = fail(why, ERR_DEVICE, "cuDNN has no engine for this graph");
    for (int i = 0; i < MOST && i < count && s != OK; i++) {
        s = plan_of(plan, p, configuration[i], why);
        plan->engine = engine_of(configuration[i]);
    }
    return s;
}

status cudnn_plan_make(cudnn_plan *plan, cudnn_graph *g, message *why)
{
    const cudnn_planner *p = g->planner;
    const cudnnBackendDescriptor_t operations =
        PART(g, OPERATIONGRAPH,
             {CUDNN_ATTR_OPERATIONGRAPH_OPS, CUDNN_TYPE_BACKEND_DESCRIPTOR, g->num_nodes, g->node},
             {CUDNN_ATTR_OPERATIONGRAPH_HANDLE, CUDNN_TYPE_HANDLE, p->handle != NULL, &p->handle});
    *plan = (cudnn_plan){.graph = *g};
    *g = (cudnn_graph){.planner = p};
    const status s = plan_of_heuristics(plan, &plan->graph, operations, why);
    if (s != OK) cudnn_plan_free(plan);
    return s;
}

void cudnn_plan_free(cudnn_plan *plan)
{
    if (plan->descriptor) cudnn.cudnnBackendDestroyDescriptor(plan->descriptor);
    plan->descriptor = NULL;
    cudnn_graph_free(&plan->graph);
}

void cudnn_execute(const cudnn_plan *plan, int count, const int64_t *uid, void *const *address,
                   void *workspace)
{
    const attribute attributes[] = {
        {CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, CUDNN_TYPE_INT64, count, uid},
        {CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, CUDNN_TYPE_VOID_PTR, count, address},
        ONE(VARIANT_PACK_WORKSPACE, VOID_PTR, workspace)};
    message why;
    cudnnBackendDescriptor_t pack;
    status s = make(&pack, CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR, "VARIANT_PACK", 3, attributes, &why);
    if (s == OK) {
        const cudnnStatus_t code =
            cudnn.cudnnBackendExecute(plan->graph.planner->handle, plan->descriptor, pack);
        if (code != CUDNN_STATUS_SUCCESS) s = failure(&why, "cudnnBackendExecute", code);
        cudnn.cudnnBackendDestroyDescriptor(pack);
    }
    if (s != OK) die(ERR_DEVICE, "cuDNN: %s", why.text);
}
