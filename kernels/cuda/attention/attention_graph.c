/* Attention as graphs for cuDNN, which has none that takes our mask as a parameter. It recognises attention
 * in a graph of products and pointwise nodes, and compiles a kernel for the pointwise nodes that it finds
 * between the products. Such a kernel is flash attention as well: tensors that are virtual are never in
 * memory.
 *
 *     forward     s = mask(scale * q k^T)           a product, two pointwise nodes for each half of the mask
 *                 highest = max(s)                  of each row, as are sum and lse
 *                 weight = exp(s - highest)
 *                 sum = sum(weight)
 *                 lse = highest + log(sum)          written
 *                 out = (weight / sum) v            a product, written
 *
 * Backward begins likewise, with weight = exp(s - lse), and goes on with the formulas of
 * attention_flash_backward.cu. Which graphs cuDNN takes is narrow. Nodes in this order and with these types
 * were planned (tests/emu/plan_cudnn.c); others were not, such as the two conditions of the mask joined by a
 * logical and. */
#include "kernels/cuda/attention/attention_graph.h"

attention_stride attention_contiguous(int64_t T, int64_t heads, int64_t width)
{
    return (attention_stride){T * heads * width, width, heads * width};
}

/* A (B,T,H,width) tensor, as cuDNN likes its axes: (B,H,T,width). */
static cudnn_tensor rows(cudnn_graph *g, int64_t uid, const attention_layout *x, int64_t width,
                         attention_stride s)
{
    return cudnn_memory(g, uid, CUDNN_DATA_BFLOAT16, (const int64_t[]){x->B, x->H, x->T, width},
                        (const int64_t[]){s.b, s.h, s.t, 1});
}

/* The same memory as columns: (B,H,width,T). */
static cudnn_tensor columns(cudnn_graph *g, int64_t uid, const attention_layout *x, int64_t width,
                            attention_stride s)
{
    return cudnn_memory(g, uid, CUDNN_DATA_BFLOAT16, (const int64_t[]){x->B, x->H, width, x->T},
                        (const int64_t[]){s.b, s.h, 1, s.t});
}

/* One float of every row. */
static cudnn_tensor per_row(cudnn_graph *g, int64_t uid, const attention_layout *x, attention_stride s)
{
    return cudnn_memory(g, uid, CUDNN_DATA_FLOAT, (const int64_t[]){x->B, x->H, x->T, 1},
                        (const int64_t[]){s.b, s.h, s.t, 1});
}

/* Of a contiguous (B,H,T,width) tensor. */
static attention_stride heads_first(const attention_layout *x, int64_t width)
{
    return (attention_stride){x->H * x->T * width, x->T * width, width};
}

static cudnn_tensor scores(cudnn_graph *g, cudnnDataType_t type, const attention_layout *x)
{
    return cudnn_virtual(g, type, (const int64_t[]){x->B, x->H, x->T, x->T});
}

static cudnn_tensor row_virtual(cudnn_graph *g, const attention_layout *x)
{
    return cudnn_virtual(g, CUDNN_DATA_FLOAT, (const int64_t[]){x->B, x->H, x->T, 1});
}

/* x op y, or op x, as floats in the shape of the scores. */
static cudnn_tensor each(cudnn_graph *g, cudnnPointwiseMode_t mode, const attention_layout *l, cudnn_tensor x,
                         const cudnn_tensor *y)
{
    return cudnn_pointwise(g, mode, x, y, NULL, scores(g, CUDNN_DATA_FLOAT, l));
}

/* The scores where a >= b, ATTENTION_MASKED elsewhere. */
static cudnn_tensor keep(cudnn_graph *g, const attention_layout *x, cudnn_tensor s, cudnn_tensor a,
                         cudnn_tensor b, const cudnn_tensor *masked)
{
    const cudnn_tensor seen =
        cudnn_pointwise(g, CUDNN_POINTWISE_CMP_GE, a, &b, NULL, scores(g, CUDNN_DATA_BOOLEAN, x));
    return cudnn_pointwise(g, CUDNN_POINTWISE_BINARY_SELECT, s, masked, &seen,
                           scores(g, CUDNN_DATA_FLOAT, x));
}

/* Position t sees keys from first[t] to t. The causal half comes first, which is where cuDNN's own graphs
 * have it, so that the tiles above the diagonal can be left out. */
static cudnn_tensor mask(cudnn_graph *g, const attention_layout *x, cudnn_tensor s)
{
    const cudnn_tensor masked = cudnn_number(g, UID_MASKED);
    const cudnn_tensor first =
        cudnn_memory(g, UID_FIRST, CUDNN_DATA_INT32, (const int64_t[]){x->B, 1, x->T, 1},
                     (const int64_t[]){x->T, x->T, 1, 1});
    const cudnn_tensor query = cudnn_index(g, 2, s, scores(g, CUDNN_DATA_INT32, x));
    const cudnn_tensor key = cudnn_index(g, 3, s, scores(g, CUDNN_DATA_INT32, x));
    const cudnn_tensor causal = keep(g, x, s, query, key, &masked);
    const cudnn_tensor again = cudnn_index(g, 3, causal, scores(g, CUDNN_DATA_INT32, x));
    return keep(g, x, causal, again, first, &masked);
}

static void forward(cudnn_graph *g, const attention_layout *x)
{
    const cudnn_tensor scale = cudnn_number(g, UID_SCALE);
    const cudnn_tensor product = cudnn_matmul(
        g, rows(g, UID_Q, x, x->D, x->q), columns(g, UID_K, x, x->D, x->k), scores(g, CUDNN_DATA_FLOAT, x));
    const cudnn_tensor s = mask(g, x, each(g, CUDNN_POINTWISE_MUL, x, product, &scale));
    /* softmax, and its log-sum-exp */
    const cudnn_tensor highest = cudnn_reduce(g, CUDNN_REDUCE_TENSOR_MAX, s, row_virtual(g, x));
    const cudnn_tensor lower = each(g, CUDNN_POINTWISE_SUB, x, s, &highest);
    const cudnn_tensor weight = each(g, CUDNN_POINTWISE_EXP, x, lower, NULL);
    const cudnn_tensor sum = cudnn_reduce(g, CUDNN_REDUCE_TENSOR_ADD, weight, row_virtual(g, x));
    const cudnn_tensor log = cudnn_pointwise(g, CUDNN_POINTWISE_LOG, sum, NULL, NULL, row_virtual(g, x));
    cudnn_pointwise(g, CUDNN_POINTWISE_ADD, highest, &log, NULL, per_row(g, UID_LSE, x, x->lse));
    const cudnn_tensor p =
        cudnn_pointwise(g, CUDNN_POINTWISE_DIV, weight, &sum, NULL, scores(g, CUDNN_DATA_BFLOAT16, x));
    cudnn_matmul(g, p, rows(g, UID_V, x, x->Dv, x->v), rows(g, UID_OUT, x, x->Dv, x->out));
}

/* With P = exp(scores - lse): dv = P^T dout; dP = dout v^T; dS = scale P * (dP - delta); dk = dS^T q;
 * dq = dS k. */
static void backward(cudnn_graph *g, const attention_layout *x, attention_backward how)
{
    const cudnn_tensor scale = cudnn_number(g, UID_SCALE);
    const cudnn_tensor q = rows(g, UID_Q, x, x->D, x->q), k = columns(g, UID_K, x, x->D, x->k),
                       v = columns(g, UID_V, x, x->Dv, x->v), dout = rows(g, UID_DOUT, x, x->Dv, x->dout),
                       out = rows(g, UID_OUT, x, x->Dv, x->out), lse = per_row(g, UID_LSE, x, x->lse);

    const cudnn_tensor both =
        cudnn_pointwise(g, CUDNN_POINTWISE_MUL, dout, &out, NULL,
                        cudnn_virtual(g, CUDNN_DATA_FLOAT, (const int64_t[]){x->B, x->H, x->T, x->Dv}));
    /* The product with 1 stands where dropout has its scale. Without it cuDNN keeps all scores in memory:
     * 256 MiB instead of 256 bytes for 16 heads of 2,048 positions. */
    const cudnn_tensor one = cudnn_number(g, UID_ONE);
    const cudnn_tensor sum = cudnn_reduce(g, CUDNN_REDUCE_TENSOR_ADD, both, row_virtual(g, x));
    const cudnn_tensor delta =
        cudnn_pointwise(g, CUDNN_POINTWISE_MUL, sum, &one, NULL, per_row(g, UID_DELTA, x, heads_first(x, 1)));

    const cudnn_tensor product = cudnn_matmul(g, q, k, scores(g, CUDNN_DATA_FLOAT, x));
    const cudnn_tensor scaled = each(g, CUDNN_POINTWISE_MUL, x, product, &scale);
    const cudnn_tensor s = mask(g, x, each(g, CUDNN_POINTWISE_SUB, x, scaled, &lse));
    const cudnn_tensor p = each(g, CUDNN_POINTWISE_EXP, x, s, NULL);
    cudnn_matmul(g, cudnn_transpose(g, CUDNN_DATA_BFLOAT16, p), dout, rows(g, UID_DV, x, x->Dv, x->dv));

    const cudnn_tensor dp = cudnn_matmul(g, dout, v, scores(g, CUDNN_DATA_FLOAT, x));
    const cudnn_tensor ds = each(g, CUDNN_POINTWISE_MUL, x, each(g, CUDNN_POINTWISE_SUB, x, dp, &delta), &p);
    const cudnn_tensor dscaled = each(g, CUDNN_POINTWISE_MUL, x, ds, &scale);
    cudnn_matmul(g, cudnn_transpose(g, CUDNN_DATA_BFLOAT16, dscaled), q, rows(g, UID_DK, x, x->D, x->dk));

    const cudnn_tensor key = cudnn_transpose(g, CUDNN_DATA_BFLOAT16, k), dq = rows(g, UID_DQ, x, x->D, x->dq);
    if (how == BACKWARD_REPEATS) {
        cudnn_matmul(g, dscaled, key, dq);
        return;
    }
    const attention_stride d = heads_first(x, x->D);
    const cudnn_tensor dq_sum =
        cudnn_matmul(g, dscaled, key,
                     cudnn_memory(g, UID_DQ_SUM, CUDNN_DATA_FLOAT, (const int64_t[]){x->B, x->H, x->T, x->D},
                                  (const int64_t[]){d.b, d.h, d.t, 1}));
    cudnn_pointwise(g, CUDNN_POINTWISE_IDENTITY, dq_sum, NULL, NULL, dq);
}

status attention_plan_forward(cudnn_plan *plan, const cudnn_planner *p, const attention_layout *x,
                              message *why)
{
    cudnn_graph g = {.planner = p};
    forward(&g, x);
    return cudnn_plan_make(plan, &g, why);
}

status attention_plan_backward(cudnn_plan *plan, const cudnn_planner *p, const attention_layout *x,
                               attention_backward how, message *why)
{
    cudnn_graph g = {.planner = p};
    backward(&g, x, how);
    return cudnn_plan_make(plan, &g, why);
}
