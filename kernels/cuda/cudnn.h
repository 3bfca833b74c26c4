/* Private to kernels/: graphs for cuDNN's backend API, the plans that cuDNN makes of them, and their
 * execution. cuDNN is opened when first needed (base/library.h).
 *
 * A graph is built by calls that cannot fail one by one: the first failure is kept in it, what follows does
 * nothing, and cudnn_plan_make reports it. Every tensor has four dimensions. */
#ifndef REMLA_KERNELS_CUDA_CUDNN_H
#define REMLA_KERNELS_CUDA_CUDNN_H
#include "base/status.h"
#include <cudnn.h>
#include <stdbool.h>
#include <stdint.h>

/* The oldest cuDNN that remla's graphs were planned with. */
enum { CUDNN_OLDEST = 91900 };

/* Opens the library: ERR_DEVICE and a sentence when it is missing or too old. Cheap once it has succeeded. */
status cudnn_open(message *why);
int64_t cudnn_version(void); /* 91900: 9.19.0 */

/* For whom plans are made: a handle of a device, or properties of a device that need not be there, as JSON.
 * A planner is used by one thread, and outlives its plans. */
typedef struct cudnn_planner {
    cudnnHandle_t handle;                /* NULL: properties */
    cudnnBackendDescriptor_t properties; /* NULL: handle */
} cudnn_planner;
status cudnn_planner_open(cudnn_planner *p, cudaStream_t stream, message *why);
status cudnn_planner_imagine(cudnn_planner *p, const char *json, message *why);
void cudnn_planner_close(cudnn_planner *p);

/* ---- graphs -------------------------------------------------------------------------------------------- */

typedef struct cudnn_tensor {
    cudnnBackendDescriptor_t descriptor;
    int64_t dim[4], stride[4];
} cudnn_tensor;

enum { CUDNN_MAX_NODES = 32, CUDNN_MAX_DESCRIPTORS = 128 };

typedef struct cudnn_graph {
    const cudnn_planner *planner;
    cudnnBackendDescriptor_t descriptor[CUDNN_MAX_DESCRIPTORS]; /* all that were made */
    cudnnBackendDescriptor_t node[CUDNN_MAX_NODES];
    int num_descriptors, num_nodes;
    status failed;
    message why;
} cudnn_graph;

/* {.planner = p} is an empty graph. Frees what was built, unless a plan took it. */
void cudnn_graph_free(cudnn_graph *g);

/* A tensor in memory, aligned to 16 bytes, which cudnn_execute finds by its uid (below 100). */
cudnn_tensor cudnn_memory(cudnn_graph *g, int64_t uid, cudnnDataType_t type, const int64_t dim[4],
                          const int64_t stride[4]);
/* A float that cudnn_execute reads from host memory. */
cudnn_tensor cudnn_number(cudnn_graph *g, int64_t uid);
/* Adds a tensor that lives in the kernel only, from one node to the next. */
cudnn_tensor cudnn_virtual(cudnn_graph *g, cudnnDataType_t type, const int64_t dim[4]);

/* Nodes: `out` is written, and returned. All arithmetic is in float. */
cudnn_tensor cudnn_matmul(cudnn_graph *g, cudnn_tensor a, cudnn_tensor b, cudnn_tensor out);
/* y, and select when it is a choice: NULL where the mode has no such operand. */
cudnn_tensor cudnn_pointwise(cudnn_graph *g, cudnnPointwiseMode_t mode, cudnn_tensor x, const cudnn_tensor *y,
                             const cudnn_tensor *select, cudnn_tensor out);
/* Every element's index along `axis`; `like` is looked at for its shape only. */
cudnn_tensor cudnn_index(cudnn_graph *g, int64_t axis, cudnn_tensor like, cudnn_tensor out);
/* Over the axes along which `out` has one element. */
cudnn_tensor cudnn_reduce(cudnn_graph *g, cudnnReduceTensorOp_t how, cudnn_tensor x, cudnn_tensor out);
/* The last two axes exchanged; virtual. */
cudnn_tensor cudnn_transpose(cudnn_graph *g, cudnnDataType_t type, cudnn_tensor x);

/* ---- plans --------------------------------------------------------------------------------------------- */

typedef struct cudnn_plan {
    cudnn_graph graph; /* whose descriptors the plan refers to */
    cudnnBackendDescriptor_t descriptor;
    int64_t engine;
    int64_t workspace_bytes;
} cudnn_plan;

/* Takes the graph, also when it fails. ERR_DEVICE with cuDNN's reason when none of the engines that its
 * heuristics name takes it. A second or more: the kernel is compiled. */
status cudnn_plan_make(cudnn_plan *plan, cudnn_graph *g, message *why);
void cudnn_plan_free(cudnn_plan *plan);

/* Queues the plan on the stream of its planner's handle. uid and address: `count` pairs, every tensor in
 * memory (device pointers) and number (host pointers, read before the call returns). Stops the job when cuDNN
 * refuses. */
void cudnn_execute(const cudnn_plan *plan, int count, const int64_t *uid, void *const *address,
                   void *workspace);

#endif
