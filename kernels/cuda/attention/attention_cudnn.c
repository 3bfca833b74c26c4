/* Attention by cuDNN, in bf16, on sm_90 and sm_100. A plan (a graph that cuDNN has compiled) takes a second
 * or more, so it is made when a layout of tensors is first met, and kept with the stream.
 *
 * The promise that the same inputs give the same bits costs memory here. cuDNN's fast backward pass adds up
 * dq in whatever order its blocks come. The one that repeats exists on sm_90 and keeps a gradient for every
 * score. So the backward pass goes through the batch in parts of a few heads, whose scores fit a small share
 * of the device's memory; which heads go together changes no bit. Where not even one head's scores fit,
 * and on sm_100, whose deterministic engine does not support document masks, cuDNN is used only when the user
 * names it, and the log says what is lost. It does not do more keys than queries. */
#include "base/cuda/cuda.h"
#include "base/log.h"
#include "base/memory.h"
#include "kernels/cuda/attention.h"
#include "kernels/cuda/attention/attention_graph.h"
#include <stdlib.h>
#include <string.h>

enum { MIB = 1 << 20, MOST_TENSORS = 16 };

/* What a part's gradients of scores may take: 640 MiB of 80 GiB. */
static int64_t scratch_limit(const device *d) { return d->memory_bytes / 128; }

/* A plan, for one part of the batch. */
typedef struct planned {
    struct planned *next;
    bool forward;
    attention_layout layout; /* of a part: its B and H */
    cudnn_plan plan;
} planned;

/* What supports found. */
typedef struct judged {
    struct judged *next;
    attention_shape shape;
    status found;
    message why;
} judged;

struct cudnn {
    device *device;
    status opened;
    message why; /* of a failure to open */
    cudnn_planner planner;
    planned *plans;
    judged *shapes;
    void *workspace;
    int64_t workspace_bytes;
    bool warned;
};

static void cudnn_free(struct cudnn *c)
{
    for (planned *p = c->plans, *next; p; p = next) {
        next = p->next;
        cudnn_plan_free(&p->plan);
        free(p);
    }
    for (judged *j = c->shapes, *next; j; j = next) {
        next = j->next;
        free(j);
    }
    if (c->opened == OK) cudnn_planner_close(&c->planner);
    device_release(c->device, c->workspace);
    free(c);
}

/* The stream's cuDNN, opened when first needed; `opened` says whether that worked. */
static struct cudnn *cudnn_of(stream *s)
{
    if (s->cudnn) return s->cudnn;
    struct cudnn *c = memory_new(1, sizeof *c, "a cuDNN handle");
    c->device = s->device;
    c->opened = cudnn_planner_open(&c->planner, s->cuda, &c->why);
    s->cudnn = c;
    s->cudnn_free = cudnn_free;
    return c;
}

/* ---- parts --------------------------------------------------------------------------------------------- */

static int64_t largest_divisor(int64_t n, int64_t limit)
{
    int64_t d = n < limit ? n : limit;
    while (d > 0 && n % d) d--;
    return d;
}

/* Scratch of the backward pass for one head of one sequence. cuDNN rounds sequences up to 64. */
static int64_t head_bytes(attention_backward how, int64_t T, int64_t D)
{
    const int64_t whole = (T + 63) / 64 * 64;
    return how == BACKWARD_REPEATS ? 2 * whole * whole : (int64_t)sizeof(float) * T * D;
}

/* How the backward pass is done: as many whole sequences, or else as many heads, as the limit allows. */
typedef struct parts {
    attention_backward how;
    int64_t sequences, heads;
} parts;

static parts parts_of(const device *d, int64_t B, int64_t T, int64_t H, int64_t D)
{
    const int64_t limit = scratch_limit(d);
    parts p = {.how = d->capability == 90 ? BACKWARD_REPEATS : BACKWARD_RACING};
    if (head_bytes(p.how, T, D) > limit) p.how = BACKWARD_RACING;
    const int64_t heads = limit / head_bytes(p.how, T, D);
    p.heads = largest_divisor(H, heads > 1 ? heads : 1);
    p.sequences = p.heads < H ? 1 : largest_divisor(B, heads / H);
    return p;
}

/* ---- plans --------------------------------------------------------------------------------------------- */

/* The engine's scratch, then delta, then dq's sums. */
static int64_t aligned(int64_t bytes) { return (bytes + 255) / 256 * 256; }
static int64_t delta_bytes(const attention_layout *x) { return aligned(x->B * x->H * x->T * 4); }
static int64_t sums_bytes(const attention_layout *x) { return aligned(x->B * x->H * x->T * x->D * 4); }

static void reserve(struct cudnn *c, int64_t bytes)
{
    if (bytes <= c->workspace_bytes) return;
    device_release(c->device, c->workspace);
    c->workspace = device_reserve(c->device, bytes, "cuDNN's attention");
    c->workspace_bytes = bytes;
}

static status plan_for(struct cudnn *c, bool is_forward, const attention_layout *x, attention_backward how,
                       const planned **found, message *why)
{
    for (planned *p = c->plans; p; p = p->next)
        if (p->forward == is_forward && memcmp(&p->layout, x, sizeof *x) == 0) {
            *found = p;
            return OK;
        }
    cudnn_plan plan;
    TRY(is_forward ? attention_plan_forward(&plan, &c->planner, x, why)
                   : attention_plan_backward(&plan, &c->planner, x, how, why));
    if (plan.workspace_bytes > scratch_limit(c->device) + 64 * MIB) {
        fail(why, ERR_DEVICE, "its plan wants %lld MiB of scratch", (long long)(plan.workspace_bytes / MIB));
        cudnn_plan_free(&plan);
        return ERR_DEVICE;
    }
    planned *p = memory_new(1, sizeof *p, "a plan of cuDNN");
    *p = (planned){.next = c->plans, .forward = is_forward, .layout = *x, .plan = plan};
    c->plans = p;
    reserve(c, aligned(plan.workspace_bytes) + (is_forward ? 0 : delta_bytes(x)) +
                   (!is_forward && how == BACKWARD_RACING ? sums_bytes(x) : 0));
    *found = p;
    return OK;
}

/* ---- what it can do ------------------------------------------------------------------------------------ */

/* What NVIDIA documents, and plans confirm (docs/KERNELS.md). */
static bool widths_fit(int capability, int64_t D, int64_t Dv)
{
    if (D % 8 || Dv % 8) return false;
    return capability == 90 ? D <= 256 && Dv <= 256 : (D == 192 && Dv == 128) || (D <= 128 && Dv <= 128);
}

static status judge(stream *s, struct cudnn *c, const attention_shape *x, message *why)
{
    const int capability = s->device->capability;
    if (capability != 90 && capability != 100)
        return fail(why, ERR_USAGE, "it is for sm_90 and sm_100, this is sm_%d", capability);
    if (x->G != x->H) return fail(why, ERR_USAGE, "it does not do heads that share keys");
    if (!x->aligned) return fail(why, ERR_USAGE, "rows do not start at multiples of 16 bytes");
    if (x->T < 2) return fail(why, ERR_USAGE, "it does not do sequences of one position");
    if (!widths_fit(capability, x->D, x->Dv))
        return fail(why, ERR_USAGE, "it does not do heads of %lld and %lld on sm_%d", (long long)x->D,
                    (long long)x->Dv, capability);
    const parts p = parts_of(s->device, x->B, x->T, x->H, x->D);
    if (p.how == BACKWARD_RACING && !x->named)
        return capability == 90
                   ? fail(why, ERR_USAGE,
                          "its backward pass repeats bit for bit only with %lld MiB of scratch for a head",
                          (long long)(head_bytes(BACKWARD_REPEATS, x->T, x->D) / MIB))
                   : fail(why, ERR_USAGE, "its backward pass does not repeat bit for bit on sm_%d",
                          capability);
    if (x->T % 4 && (p.heads < x->H || p.sequences < x->B))
        return fail(why, ERR_USAGE, "rows of %lld positions do not all start at multiples of 16 bytes",
                    (long long)x->T);
    if (c->opened != OK) return fail(why, ERR_USAGE, "%s", c->why.text);

    /* The last word is cuDNN's. */
    const attention_stride wide = attention_contiguous(x->T, x->H, x->D),
                           narrow = attention_contiguous(x->T, x->H, x->Dv);
    attention_layout layout = {.B = x->B,
                               .T = x->T,
                               .H = x->H,
                               .D = x->D,
                               .Dv = x->Dv,
                               .q = wide,
                               .k = wide,
                               .v = narrow,
                               .out = narrow,
                               .lse = {x->H * x->T, x->T, 1}};
    const planned *unused;
    message reason;
    status found = plan_for(c, true, &layout, p.how, &unused, &reason);
    layout.B = p.sequences, layout.H = p.heads;
    layout.dout = layout.dv = narrow, layout.dq = layout.dk = wide;
    if (found == OK) found = plan_for(c, false, &layout, p.how, &unused, &reason);
    return found == OK ? OK : fail(why, ERR_USAGE, "cuDNN refuses: %.900s", reason.text);
}

status attention_cudnn_supports_cuda_bf16 ATTENTION_SUPPORTS
{
    /* Before the list: a sequence that grows by a token at a time would make it longer with each. */
    if (shape->S != shape->T) return fail(why, ERR_USAGE, "it does not do more keys than queries");
    struct cudnn *c = cudnn_of(s);
    judged *j = c->shapes;
    while (j && !(j->shape.B == shape->B && j->shape.T == shape->T && j->shape.H == shape->H &&
                  j->shape.G == shape->G && j->shape.D == shape->D && j->shape.Dv == shape->Dv &&
                  j->shape.aligned == shape->aligned && j->shape.named == shape->named))
        j = j->next;
    if (!j) {
        j = memory_new(1, sizeof *j, "a judgement of cuDNN");
        j->shape = *shape;
        j->found = judge(s, c, shape, &j->why);
        j->next = c->shapes;
        c->shapes = j;
    }
    return j->found == OK ? OK : fail(why, j->found, "%s", j->why.text);
}

/* ---- the op -------------------------------------------------------------------------------------------- */

static attention_stride stride_of(const tensor *t)
{
    return (attention_stride){t->stride[0], t->stride[2], t->stride[1]};
}

static void *at(const tensor *t, int64_t b, int64_t h)
{
    return (char *)t->data + (b * t->stride[0] + h * t->stride[2]) * dtype_bytes(t->type);
}

static attention_layout layout_of(const tensor *out, const tensor *lse, const tensor *q, const tensor *k,
                                  const tensor *v, const tensor *first)
{
    const attention_layout x = {.B = q->dim[0],
                                .T = q->dim[1],
                                .H = q->dim[2],
                                .D = q->dim[3],
                                .Dv = v->dim[3],
                                .q = stride_of(q),
                                .k = stride_of(k),
                                .v = stride_of(v),
                                .out = stride_of(out),
                                .lse = {lse->stride[0], lse->stride[1], 1}};
    REQUIRE_SHAPE(q, BF16, x.B, x.T, x.H, x.D);
    REQUIRE_SHAPE(k, BF16, x.B, x.T, x.H, x.D);
    REQUIRE_SHAPE(v, BF16, x.B, x.T, x.H, x.Dv);
    REQUIRE_SHAPE(out, BF16, x.B, x.T, x.H, x.Dv);
    REQUIRE_SHAPE(lse, F32, x.B, x.H, x.T);
    REQUIRE_SHAPE(first, I32, x.B, x.T);
    REQUIRE(tensor_contiguous(lse) && tensor_contiguous(first), "lse or first is a strided view");
    return x;
}

/* A plan's tensors and numbers, with their addresses. */
typedef struct arguments {
    int count;
    int64_t uid[MOST_TENSORS];
    void *address[MOST_TENSORS];
} arguments;

static void argument(arguments *a, int64_t uid, void *address)
{
    REQUIRE(a->count < MOST_TENSORS, "more than %d tensors", MOST_TENSORS);
    a->uid[a->count] = uid;
    a->address[a->count++] = address;
}

/* What graphs read from host memory. */
typedef struct numbers {
    float scale, masked, one;
} numbers;

/* What both passes take: the numbers, and the tensors from (b,h) on. */
static arguments arguments_of(numbers *n, const tensor *out, const tensor *lse, const tensor *q,
                              const tensor *k, const tensor *v, const tensor *first, int64_t b, int64_t h)
{
    arguments a = {0};
    argument(&a, UID_SCALE, &n->scale);
    argument(&a, UID_MASKED, &n->masked);
    argument(&a, UID_Q, at(q, b, h));
    argument(&a, UID_K, at(k, b, h));
    argument(&a, UID_V, at(v, b, h));
    argument(&a, UID_OUT, at(out, b, h));
    argument(&a, UID_LSE, (float *)lse->data + b * lse->stride[0] + h * lse->stride[1]);
    argument(&a, UID_FIRST, (int32_t *)first->data + b * first->stride[0]);
    return a;
}

static struct cudnn *opened(stream *s)
{
    struct cudnn *c = cudnn_of(s);
    if (c->opened != OK) die(ERR_DEVICE, "device.attention=cudnn: %s", c->why.text);
    return c;
}

static const planned *must_plan(struct cudnn *c, bool is_forward, const attention_layout *x,
                                attention_backward how)
{
    const planned *p;
    message why;
    if (plan_for(c, is_forward, x, how, &p, &why) != OK)
        die(ERR_DEVICE,
            "cuDNN has no %s pass of attention for sequences of %lld and heads of %lld and %lld on %s: %s",
            is_forward ? "forward" : "backward", (long long)x->T, (long long)x->D, (long long)x->Dv,
            device_text(c->device), why.text);
    return p;
}

void attention_cudnn_forward_cuda_bf16 ATTENTION_FORWARD
{
    struct cudnn *c = opened(s);
    const attention_layout x = layout_of(out, lse, q, k, v, first);
    const planned *p = must_plan(c, true, &x, BACKWARD_REPEATS);
    numbers n = {(float)scale, ATTENTION_MASKED, 1};
    const arguments a = arguments_of(&n, out, lse, q, k, v, first, 0, 0);
    cudnn_execute(&p->plan, a.count, a.uid, a.address, c->workspace);
}

void attention_cudnn_backward_cuda_bf16 ATTENTION_BACKWARD
{
    struct cudnn *c = opened(s);
    attention_layout x = layout_of(out, lse, q, k, v, first);
    REQUIRE_SHAPE(dq, BF16, x.B, x.T, x.H, x.D);
    REQUIRE_SHAPE(dk, BF16, x.B, x.T, x.H, x.D);
    REQUIRE_SHAPE(dv, BF16, x.B, x.T, x.H, x.Dv);
    REQUIRE_SHAPE(dout, BF16, x.B, x.T, x.H, x.Dv);
    x.dq = stride_of(dq), x.dk = stride_of(dk), x.dv = stride_of(dv), x.dout = stride_of(dout);
    const parts part = parts_of(s->device, x.B, x.T, x.H, x.D);
    if (part.how == BACKWARD_RACING && !c->warned) {
        log_warning("attention's backward pass by cuDNN adds up in an order that changes: runs do not repeat "
                    "bit for bit (device.attention=flash does)");
        c->warned = true;
    }
    const int64_t B = x.B, H = x.H;
    x.B = part.sequences, x.H = part.heads;
    const planned *p = must_plan(c, false, &x, part.how);
    char *delta = (char *)c->workspace + aligned(p->plan.workspace_bytes);
    numbers n = {(float)scale, ATTENTION_MASKED, 1};
    for (int64_t b = 0; b < B; b += x.B)
        for (int64_t h = 0; h < H; h += x.H) {
            arguments a = arguments_of(&n, out, lse, q, k, v, first, b, h);
            argument(&a, UID_DOUT, at(dout, b, h));
            argument(&a, UID_DQ, at(dq, b, h));
            argument(&a, UID_DK, at(dk, b, h));
            argument(&a, UID_DV, at(dv, b, h));
            argument(&a, UID_ONE, &n.one);
            argument(&a, UID_DELTA, delta);
            if (part.how == BACKWARD_RACING) argument(&a, UID_DQ_SUM, delta + delta_bytes(&x));
            cudnn_execute(&p->plan, a.count, a.uid, a.address, c->workspace);
        }
}
