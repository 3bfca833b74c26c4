/* bench/roofline [--batch B] [--seq-len T] [--micro-batches M] [--ranks R]: a training step of Llama-2-7B, as
 * TransMLA converts it, on paper. Runs the model's and the optimizer's own code on a table of ops that
 * compute nothing, but count the bytes that their kernels must move (each operand once per pass over it) and
 * the operations, and on a communicator that counts the bytes that it would send. Then computes the time that
 * the limits of an A100 and an H100 allow for each. bf16 storage, f32 masters, gradients and moments cut over
 * the ranks. Nothing here is measured.
 *
 * A step is M micro-batches of B sequences of T tokens on each of R ranks, and one update. */
#include "base/comm_calls.h"
#include "base/memory.h"
#include "bench/shapes.h"
#include "model/model.h"
#include "optim/optimizer.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- counters ------------------------------------------------------------------------------------------ */

typedef struct cost {
    const char *name;
    double calls, bytes, flops;
} cost;

enum { MAX_COSTS = 64 };
static cost costs[MAX_COSTS];
static int num_costs;

static void count(const char *name, double bytes, double flops)
{
    int i = 0;
    while (i < num_costs && strcmp(costs[i].name, name) != 0) i++;
    REQUIRE(i < MAX_COSTS, "more than %d kinds of costs", MAX_COSTS);
    if (i == num_costs) costs[num_costs++] = (cost){.name = name};
    costs[i].calls++;
    costs[i].bytes += bytes;
    costs[i].flops += flops;
}

static double numel(const tensor *t) { return (double)tensor_numel(t); }
static double bytes(const tensor *t) { return t ? numel(t) * (double)dtype_bytes(t->type) : 0; }

/* The body of an op that counts. Each op is written out, because only ops.def knows the names of its
 * parameters. */
static void upload(tensor *out, const float *inp, stream *s) { (void)out, (void)inp, (void)s; }
static void upload_i32(tensor *out, const int32_t *inp, stream *s) { (void)out, (void)inp, (void)s; }
static void download(float *out, const tensor *inp, stream *s) { (void)out, (void)inp, (void)s; }
static void download_f64(double *out, const tensor *inp, stream *s) { *out = 0, (void)inp, (void)s; }
static void download_u64(uint64_t *out, const tensor *inp, stream *s) { *out = 0, (void)inp, (void)s; }
static void zero(tensor *out, stream *s)
{
    (void)s;
    count("zero", bytes(out), 0);
}
static void residual_forward(tensor *out, const tensor *a, const tensor *b, stream *s)
{
    (void)s;
    count("residual", bytes(out) + bytes(a) + bytes(b), numel(out));
}
static void add(tensor *out, const tensor *a, const tensor *b, stream *s)
{
    (void)s;
    count("add", bytes(out) + bytes(a) + bytes(b), numel(out));
}
static void embedding_forward(tensor *out, const tensor *tokens, const tensor *weight, stream *s)
{
    (void)weight, (void)s;
    count("embedding forward", 2 * bytes(out) + bytes(tokens), 0);
}
static void embedding_backward(tensor *dweight, const tensor *dout, const tensor *tokens, stream *s)
{
    (void)s; /* rows of dweight are read and written, once for each token at most */
    count("embedding backward",
          bytes(dout) + bytes(tokens) + 2 * numel(dout) * (double)dtype_bytes(dweight->type), numel(dout));
}
static void rmsnorm_forward(tensor *out, tensor *rstd, const tensor *inp, const tensor *weight, double eps,
                            stream *s)
{
    (void)eps, (void)s;
    count("rmsnorm forward", bytes(out) + bytes(rstd) + bytes(inp) + bytes(weight), 4 * numel(inp));
}
static void norm_backward(const char *name, const tensor *dinp, int passes, const tensor *dout,
                          const tensor *inp, const tensor *weight, const tensor *rstd)
{
    count(name, passes * bytes(dinp) + bytes(dout) + bytes(inp) + 3 * bytes(weight) + bytes(rstd),
          10 * numel(inp));
}
static void rmsnorm_backward(tensor *dinp, tensor *dweight, const tensor *dout, const tensor *inp,
                             const tensor *weight, const tensor *rstd, stream *s)
{
    (void)dweight, (void)s;
    norm_backward("rmsnorm backward", dinp, 1, dout, inp, weight, rstd);
}
static void rmsnorm_backward_add(tensor *dinp, tensor *dweight, const tensor *dout, const tensor *inp,
                                 const tensor *weight, const tensor *rstd, stream *s)
{
    (void)dweight, (void)s;
    norm_backward("rmsnorm backward", dinp, 2, dout, inp, weight, rstd);
}
/* Of a (N,K) and b (O,K). */
static double product(const tensor *a, const tensor *b) { return 2 * numel(a) * (double)b->dim[0]; }
static void matmul_forward(tensor *out, operand inp, operand weight, const tensor *bias, stream *s)
{
    (void)s;
    count("matmul forward", bytes(out) + bytes(inp.value) + bytes(weight.value) + bytes(bias),
          product(inp.value, weight.value));
}
static void products_backward(const tensor *dinp, int passes, const tensor *dweight, const tensor *dbias,
                              const tensor *dout, const tensor *inp, const tensor *weight)
{
    if (dinp)
        count("matmul backward, inputs", passes * bytes(dinp) + bytes(dout) + bytes(weight),
              product(inp, weight));
    if (dweight)
        count("matmul backward, weights", 2 * bytes(dweight) + bytes(dout) + bytes(inp),
              product(inp, weight));
    if (dbias) count("bias backward", bytes(dout) + 2 * bytes(dbias), numel(dout));
}
static void matmul_backward(tensor *dinp, tensor *dweight, tensor *dbias, operand dout, operand inp,
                            operand weight, stream *s)
{
    (void)s;
    products_backward(dinp, 1, dweight, dbias, dout.value, inp.value, weight.value);
}
static void matmul_backward_add(tensor *dinp, tensor *dweight, tensor *dbias, operand dout, operand inp,
                                operand weight, stream *s)
{
    (void)s;
    products_backward(dinp, 2, dweight, dbias, dout.value, inp.value, weight.value);
}
static void rope_forward(tensor *x, const tensor *cosine, const tensor *sine, const tensor *position,
                         rope_layout layout, stream *s)
{
    (void)layout, (void)s;
    count("rope", 2 * bytes(x) + bytes(cosine) + bytes(sine) + bytes(position), 3 * numel(x));
}
static void rope_backward(tensor *dx, const tensor *cosine, const tensor *sine, const tensor *position,
                          rope_layout layout, stream *s)
{
    rope_forward(dx, cosine, sine, position, layout, s);
}
static void mla_expand_forward(tensor *k, const tensor *nope, const tensor *rotary, stream *s)
{
    (void)s;
    count("mla_expand forward", bytes(k) + bytes(nope) + bytes(rotary), 0);
}
static void mla_expand_backward(tensor *dnope, tensor *drotary, const tensor *dk, stream *s)
{
    (void)s;
    count("mla_expand backward", bytes(dk) + bytes(dnope) + bytes(drotary), numel(dk) - numel(dnope));
}
/* Products of one pass over the causal half of the scores, `wide` of head size D and `narrow` of Dv. */
static double attention_flops(const tensor *q, const tensor *v, int wide, int narrow)
{
    const double B = (double)q->dim[0], T = (double)q->dim[1], H = (double)q->dim[2],
                 scores = B * H * T * (T + 1) / 2;
    return 2 * scores * (wide * (double)q->dim[3] + narrow * (double)v->dim[3]);
}
static void attention_forward(tensor *out, tensor *lse, const tensor *q, const tensor *k, const tensor *v,
                              const tensor *first, double scale, stream *s)
{
    (void)scale, (void)first, (void)s;
    count("attention forward (flash)", bytes(out) + bytes(lse) + bytes(q) + bytes(k) + bytes(v),
          attention_flops(q, v, 1, 1));
}
static void attention_backward(tensor *dq, tensor *dk, tensor *dv, const tensor *dout, const tensor *out,
                               const tensor *lse, const tensor *q, const tensor *k, const tensor *v,
                               const tensor *first, double scale, stream *s)
{
    (void)scale, (void)first, (void)s;
    /* One kernel for dk and dv, one for dq: each computes the scores and the gradient of the weights, so
     * seven products instead of five; between tiles everything stays in the caches. */
    count("attention backward (flash)",
          bytes(dq) + bytes(dk) + bytes(dv) + 2 * (bytes(q) + bytes(k) + bytes(v) + bytes(dout)) +
              bytes(out) + 3 * bytes(lse),
          attention_flops(q, v, 4, 3));
}
static void swiglu_forward(tensor *out, const tensor *gate, const tensor *up, stream *s)
{
    (void)s;
    count("swiglu forward", bytes(out) + bytes(gate) + bytes(up), 5 * numel(out));
}
static void swiglu_backward(tensor *dgate, tensor *dup, const tensor *dout, const tensor *gate,
                            const tensor *up, stream *s)
{
    (void)s;
    count("swiglu backward", bytes(dgate) + bytes(dup) + bytes(dout) + bytes(gate) + bytes(up),
          10 * numel(dout));
}
static void head_loss_forward(tensor *loss, const tensor *hidden, const tensor *weight, const tensor *targets,
                              tensor *scratch, stream *s)
{
    (void)loss, (void)hidden, (void)weight, (void)targets, (void)scratch, (void)s;
}
static void head_loss_backward(tensor *dhidden, tensor *dweight, tensor *loss, const tensor *hidden,
                               const tensor *weight, const tensor *targets, tensor *scratch, stream *s)
{
    (void)loss, (void)targets, (void)s;
    const double chunks = numel(hidden) / (double)hidden->dim[1] / (double)scratch->dim[0],
                 logits = (double)hidden->dim[0] * (double)weight->dim[0];
    /* The logits in f32 are written, read twice by the softmax, and written and read twice as bf16 by its
     * gradient. */
    count("head products",
          chunks * (2 * bytes(weight) + 2 * bytes(dweight)) + 3 * bytes(hidden) + bytes(dhidden) +
              logits * (4 + 2 * 2),
          3 * product(hidden, weight));
    count("softmax and loss", logits * (2 * 4 + 2), 8 * logits);
}
static void linear_rows(tensor *out, operand inp, operand weight, const tensor *bias, stream *s)
{
    (void)s;
    count("linear rows", bytes(out) + bytes(inp.value) + bytes(weight.value) + bytes(bias),
          product(inp.value, weight.value));
}
static void heads_matmul(tensor *out, const tensor *inp, const tensor *weight, bool transposed, stream *s)
{
    (void)transposed, (void)s;
    count("matmul of heads", bytes(out) + bytes(inp) + bytes(weight),
          2 * (double)inp->dim[0] * numel(weight));
}
static void cache_write(cached *out, const tensor *inp, const tensor *slot, stream *s)
{
    (void)s;
    count("cache write", bytes(inp) + bytes(slot) + numel(inp) * (double)dtype_bytes(out->rows.type), 0);
}
static void cache_read(tensor *out, const cached *inp, const tensor *slot, stream *s)
{
    (void)s;
    count("cache read", bytes(out) + bytes(slot) + numel(out) * (double)dtype_bytes(inp->rows.type), 0);
}
static void cache_copy(cached *x, const tensor *to, const tensor *from, stream *s)
{
    (void)s;
    count("cache copy",
          2 * (double)(to->dim[0] * x->rows.dim[1] * dtype_bytes(x->rows.type)) + bytes(to) + bytes(from), 0);
}
/* Each sequence's rows once; every query reads all of them. */
static void decode(const char *name, const tensor *out, const tensor *q, double row_bytes, const ragged *r)
{
    double rows = 0, scores = 0;
    const int32_t *start = r->start.data, *length = r->length.data;
    for (int64_t i = 0; i < r->sequences; i++) {
        const double mine = start[i + 1] - start[i];
        rows += length[i];
        scores += mine * (length[i] - (mine - 1) / 2) * (double)q->dim[1];
    }
    count(name, bytes(out) + bytes(q) + rows * row_bytes, 2 * scores * (double)(q->dim[2] + out->dim[2]));
}
static double row_bytes(const cached *c)
{
    return (double)(c->rows.dim[1] * dtype_bytes(c->rows.type) + (c->rows.type == F8 ? 4 : 0));
}
static void gqa_decode(tensor *out, const tensor *q, const cached *k, const cached *v, const ragged *r,
                       double scale, tensor *scratch, stream *s)
{
    (void)scale, (void)scratch, (void)s;
    decode("gqa attention, decoding", out, q, row_bytes(k) + row_bytes(v), r);
}
static void mla_decode(tensor *out, const tensor *q, const cached *latents, const ragged *r, double scale,
                       tensor *scratch, stream *s)
{
    (void)scale, (void)scratch, (void)s;
    decode("mla attention, decoding", out, q, row_bytes(latents), r);
}
static void head_scores(tensor *scores, const tensor *hidden, const tensor *weight, const tensor *targets,
                        tensor *scratch, stream *s)
{
    (void)s;
    const double chunks = numel(hidden) / (double)hidden->dim[1] / (double)scratch->dim[0],
                 logits = (double)hidden->dim[0] * (double)weight->dim[0];
    count("scores: head products", chunks * bytes(weight) + bytes(hidden) + logits * 4,
          product(hidden, weight));
    count("scores: softmax", logits * 4 + bytes(scores) + bytes(targets), 4 * logits);
}
static void sum(tensor *result, const tensor *inp, stream *s)
{
    (void)result, (void)s;
    count("sums", bytes(inp), numel(inp));
}
static void squared_norms(tensor *out, const tensor *inp, stream *s)
{
    (void)out, (void)s;
    count("gradient norm", bytes(inp), 2 * numel(inp));
}
static void fingerprint(tensor *sum, const tensor *inp, int64_t first, stream *s)
{
    (void)sum, (void)first, (void)s;
    count("fingerprints", bytes(inp), 10 * numel(inp));
}
static void clip_factor(tensor *factor, tensor *norm, const tensor *losses, const tensor *squares,
                        double mean, double limit, stream *s)
{
    (void)factor, (void)norm, (void)losses, (void)squares, (void)mean, (void)limit, (void)s;
}
static void adamw_update(tensor *weight, tensor *master, tensor *m, tensor *v, const tensor *grad,
                         const tensor *factor, const adamw_scalars *a, stream *s)
{
    (void)factor, (void)a, (void)s;
    count("adamw", bytes(weight) + 2 * (bytes(master) + bytes(m) + bytes(v)) + bytes(grad),
          15 * numel(weight));
}

static const ops counting = {
    .name = "counting",
    .act = BF16,
    .real = F32,
#define OP(op, params) .op = op,
#include "kernels/ops.def"
#undef OP
};

/* ---- ranks that only count: the bytes that one sends, which are also those that it receives ------------ */

static void count_reduce_scatter(const comm *c, float *out, float *full, int64_t shard, const reduction *how)
{
    (void)out, (void)full;
    count("ranks: sum of gradients", (double)(c->size - 1) * (double)(shard * dtype_bytes(how->sent)), 0);
}
static void count_all_gather(const comm *c, void *all, const void *part, int64_t part_bytes)
{
    (void)all, (void)part;
    count("ranks: gathering weights", (double)(c->size - 1) * (double)part_bytes, 0);
}
static void count_sum(const comm *c, double *values, int64_t n)
{
    (void)values;
    count("ranks: sums of losses and squares", (double)(c->size - 1) * 8 * (double)n, 0);
}
static const struct comm_calls counting_calls = {
    .reduce_scatter = count_reduce_scatter, .all_gather = count_all_gather, .sum_f64 = count_sum};

/* ---- a step -------------------------------------------------------------------------------------------- */

typedef struct plan {
    dims d;
    int64_t B, T, micro_batches;
    int ranks;
} plan;

/* Counts a step of a model of that many layers. Memory is only mapped, never touched. */
static void count_step(const plan *p, int64_t layers)
{
    dims d = p->d;
    d.L = layers;
    const comm ranks = {.size = p->ranks, .local_size = p->ranks, .calls = &counting_calls};
    const shards_settings set = {.stage = 1, .how = {.sent = F32}, .micro_batches = p->micro_batches};
    model m;
    shards parameters;
    activations acts;
    optimizer o = {0};
    arena memory[] = {{.name = "weights and gradients"}, {.name = "optimizer"}};
    model_init_bare(&m, &d, &counting);
    shards_reserve(&parameters, &counting, &ranks, &m.table, &set, &memory[0]);
    optimizer_reserve(&o, &ranks, &parameters, &memory[1]);
    activations_init(&acts, &d, &counting, p->B, p->T, FORWARD_AND_BACKWARD, RECOMPUTE_LIGHT);
    m.units = shards_weights(&parameters);

    num_costs = 0; /* laying out is no part of a step */
    const token_batch batch = {.sequences = p->B, .T = p->T};
    for (int64_t i = 0; i < p->micro_batches; i++) {
        const units sums = shards_gradients(&parameters, i);
        tensor loss = optimizer_loss(&o, i);
        model_train(&m, &acts, &sums, &batch, &loss);
    }
    optimizer_clip(&o, 1, 1);
    optimizer_update(&o, 1e-5, 1);
    optimizer_free(&o);
    shards_free(&parameters);
    for (int i = 0; i < 2; i++) arena_release(&memory[i]);
    activations_free(&acts);
    model_free(&m);
}

/* Costs grow linearly with layers, so those of any model follow from one layer and two, which fit in memory.
 */
static void count_model(const plan *p)
{
    count_step(p, 1);
    cost one[MAX_COSTS];
    memcpy(one, costs, sizeof one);
    count_step(p, 2);
    for (int i = 0; i < num_costs; i++) {
        const double more = (double)(p->d.L - 1);
        costs[i].calls = one[i].calls + more * (costs[i].calls - one[i].calls);
        costs[i].bytes = one[i].bytes + more * (costs[i].bytes - one[i].bytes);
        costs[i].flops = one[i].flops + more * (costs[i].flops - one[i].flops);
    }
}

/* ---- the table ----------------------------------------------------------------------------------------- */

/* Vendor's figures, dense: bf16 tensor cores, f32 outside them, memory, and NVLink in one direction. */
typedef struct gpu {
    const char *name;
    double tensor_flops, plain_flops, bytes, link_bytes;
} gpu;
static const gpu gpus[] = {{"A100 80GB SXM", 312e12, 19.5e12, 2.039e12, 300e9},
                           {"H100 SXM", 989e12, 67e12, 3.35e12, 450e9}};

static bool between_ranks(const cost *c) { return strncmp(c->name, "ranks:", 6) == 0; }
static bool on_tensor_cores(const cost *c)
{
    return strstr(c->name, "matmul") || strstr(c->name, "products") || strstr(c->name, "attention");
}

/* Returns the least time in seconds within the limits of g; *which names the limit. */
static double limit_of(const gpu *g, const cost *c, const char **which)
{
    const double moving = c->bytes / (between_ranks(c) ? g->link_bytes : g->bytes),
                 computing = c->flops / (on_tensor_cores(c) ? g->tensor_flops : g->plain_flops);
    *which = between_ranks(c) ? "link" : moving > computing ? "memory" : "arithmetic";
    return moving > computing ? moving : computing;
}

static void print(const plan *p)
{
    const int num_gpus = sizeof gpus / sizeof *gpus;
    double total[2] = {0}, link[2] = {0};
    printf("| kernel | calls | GB | TFLOP |");
    for (int g = 0; g < num_gpus; g++) printf(" %s, ms | limit |", gpus[g].name);
    printf("\n| --- | --- | --- | --- |%s\n", " --- | --- | --- | --- |");
    for (int i = 0; i < num_costs; i++) {
        printf("| %s | %.0f | %.2f | %.3f |", costs[i].name, costs[i].calls, costs[i].bytes / 1e9,
               costs[i].flops / 1e12);
        for (int g = 0; g < num_gpus; g++) {
            const char *which;
            const double seconds = limit_of(&gpus[g], &costs[i], &which);
            *(between_ranks(&costs[i]) ? &link[g] : &total[g]) += seconds;
            printf(" %.2f | %s |", seconds * 1e3, which);
        }
        printf("\n");
    }
    const double tokens = (double)(p->B * p->T * p->micro_batches),
                 useful = model_flops_per_token(&p->d, p->T) * tokens;
    for (int g = 0; g < num_gpus; g++)
        printf("\n%s: %.1f ms of kernels, %.1f ms between ranks; %.0f TFLOP of the model a rank and step: "
               "%.1f %% of %.0f TFLOP/s with what is sent hidden "
               "behind kernels, %.1f %% with none of it hidden; %.0f tokens/s on %d GPUs\n",
               gpus[g].name, total[g] * 1e3, link[g] * 1e3, useful / 1e12,
               100 * useful / total[g] / gpus[g].tensor_flops, gpus[g].tensor_flops / 1e12,
               100 * useful / (total[g] + link[g]) / gpus[g].tensor_flops, tokens * p->ranks / total[g],
               p->ranks);
}

int main(int argc, char **argv)
{
    plan p = {.d = llama2_7b, .B = 1, .T = 4096, .micro_batches = 16, .ranks = 8};
    for (int i = 1; i + 1 < argc; i += 2) {
        const long n = strtol(argv[i + 1], NULL, 10);
        if (!strcmp(argv[i], "--batch") && n > 0)
            p.B = n;
        else if (!strcmp(argv[i], "--seq-len") && n > 0)
            p.T = n;
        else if (!strcmp(argv[i], "--micro-batches") && n > 0)
            p.micro_batches = n;
        else if (!strcmp(argv[i], "--ranks") && n > 0)
            p.ranks = (int)n;
        else
            die(ERR_USAGE, "%s %s; usage: roofline [--batch B] [--seq-len T] [--micro-batches M] [--ranks R]",
                argv[i], argv[i + 1]);
    }
    if (argc % 2 == 0) die(ERR_USAGE, "%s needs a number", argv[argc - 1]);
    count_model(&p);
    print(&p);
    return 0;
}
