/* The whole model: memory lay-out, then embedding, layers, final norm, head and loss, forward and backward.
 */
#include "model/model.h"
#include "base/status.h"
#include "model/parts.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* At most this many logits exist at a time: 128 MiB as float. With fewer rows the head's products get slower;
 * a device, on which every chunk reads and writes the gradient of the whole head, gets this many rows at
 * least. */
enum { LOGIT_ELEMENTS = 1 << 25, DEVICE_ROWS = 1024 };

tensor heads_of(const model *m, const tensor *t, int64_t heads)
{
    tensor view = *t;
    view.rank = 4;
    view.dim[0] = m->B, view.dim[1] = m->T, view.dim[2] = heads, view.dim[3] = t->dim[1] / heads;
    view.stride[0] = m->T * t->stride[0], view.stride[1] = t->stride[0], view.stride[2] = view.dim[3],
    view.stride[3] = 1;
    return view;
}

/* ---- lay-out ------------------------------------------------------------------------------------------- */

static layer_acts acts_layout(const model *m, arena *a)
{
    const dims *d = &m->d;
    const dtype act = m->k->act, real = m->k->real;
    const int64_t N = m->B * m->T;
    const bool mla = d->kind == ATTENTION_MLA;
    layer_acts l = {
        .x = arena_tensor(a, act, "x", N, d->C),
        .attn_rstd = arena_tensor(a, real, "attn_rstd", N),
        .q = arena_tensor(a, act, "q", N, mla ? d->H * (d->Dn + d->Dr) : d->H * d->D),
        .heads = arena_tensor(a, act, "heads", N, d->H * (mla ? d->Dv : d->D)),
        .lse = arena_tensor(a, real, "lse", m->B, d->H, m->T),
        .mid = arena_tensor(a, act, "mid", N, d->C),
        .mlp_rstd = arena_tensor(a, real, "mlp_rstd", N),
        .gate = arena_tensor(a, act, "gate", N, d->F),
        .up = arena_tensor(a, act, "up", N, d->F),
    };
    if (mla) {
        if (d->Rq) {
            l.q_latent = arena_tensor(a, act, "q_latent", N, d->Rq);
            l.q_rstd = arena_tensor(a, real, "q_rstd", N);
        }
        l.kv_a = arena_tensor(a, act, "kv_a", N, d->R + d->Dr);
        l.kv_rstd = arena_tensor(a, real, "kv_rstd", N);
    } else {
        l.k = arena_tensor(a, act, "k", N, d->G * d->D);
        l.v = arena_tensor(a, act, "v", N, d->G * d->D);
    }
    return l;
}

static void scratch_layout(model *m, arena *a)
{
    const dims *d = &m->d;
    const dtype act = m->k->act;
    const int64_t N = m->B * m->T;
    const bool mla = d->kind == ATTENTION_MLA, train = m->use == MODEL_TRAIN;
    layer_scratch *s = &m->s;
    memset(s, 0, sizeof *s);
    s->h = arena_tensor(a, act, "h", N, d->C);
    s->delta = arena_tensor(a, act, "delta", N, d->C);
    s->act = arena_tensor(a, act, "act", N, d->F);
    if (mla) {
        if (d->Rq) s->q_normed = arena_tensor(a, act, "q_normed", N, d->Rq);
        s->kv_normed = arena_tensor(a, act, "kv_normed", N, d->R);
        s->kv = arena_tensor(a, act, "kv", N, d->H * (d->Dn + d->Dv));
        s->k = arena_tensor(a, act, "k", N, d->H * (d->Dn + d->Dr));
    }
    if (!train) return;
    s->dh = arena_tensor(a, act, "dh", N, d->C);
    s->dheads = arena_tensor(a, act, "dheads", N, d->H * (mla ? d->Dv : d->D));
    s->dact = arena_tensor(a, act, "dact", N, d->F);
    s->dup = arena_tensor(a, act, "dup", N, d->F);
    s->dq = arena_tensor(a, act, "dq", N, mla ? d->H * (d->Dn + d->Dr) : d->H * d->D);
    if (mla) {
        if (d->Rq) {
            s->dq_latent = arena_tensor(a, act, "dq_latent", N, d->Rq);
            s->dq_normed = arena_tensor(a, act, "dq_normed", N, d->Rq);
        }
        s->dkv_a = arena_tensor(a, act, "dkv_a", N, d->R + d->Dr);
        s->dkv_normed = arena_tensor(a, act, "dkv_normed", N, d->R);
        s->dkv = arena_tensor(a, act, "dkv", N, d->H * (d->Dn + d->Dv));
        s->dk = arena_tensor(a, act, "dk", N, d->H * (d->Dn + d->Dr));
    } else {
        s->dk = arena_tensor(a, act, "dk", N, d->G * d->D);
        s->dv = arena_tensor(a, act, "dv", N, d->G * d->D);
    }
}

static int64_t rotary_width(const dims *d) { return d->kind == ATTENTION_MLA ? d->Dr : d->D; }

/* Rows of a chunk of the head: as many as fit, in chunks of equal size. */
static int64_t logit_rows(const model *m, int64_t N)
{
    const int64_t least = m->k->device ? DEVICE_ROWS : 1, fit = LOGIT_ELEMENTS / m->d.V,
                  most = fit > least ? fit : least, chunks = (N + most - 1) / most;
    return (N + chunks - 1) / chunks;
}

static void step_layout(model *m, arena *a)
{
    const dims *d = &m->d;
    const dtype act = m->k->act, real = m->k->real;
    const int64_t N = m->B * m->T;
    m->tokens = arena_tensor(a, I32, "tokens", N);
    m->targets = arena_tensor(a, I32, "targets", N);
    m->first = arena_tensor(a, I32, "first", m->B, m->T);
    m->cosine = arena_tensor(a, real, "cosine", m->T, rotary_width(d) / 2);
    m->sine = arena_tensor(a, real, "sine", m->T, rotary_width(d) / 2);
    const int64_t kept = m->use == MODEL_TRAIN ? d->L : 1;
    for (int64_t l = 0; l < kept; l++) m->acts[l] = acts_layout(m, a);
    m->last = arena_tensor(a, act, "last", N, d->C);
    m->last_rstd = arena_tensor(a, real, "last_rstd", N);
    m->hidden = arena_tensor(a, act, "hidden", N, d->C);
    m->loss = arena_tensor(a, real, "loss", N);
    m->loss_sum = arena_tensor(a, F64, "loss_sum", 1);
    m->logits = arena_tensor(a, real, "logits", logit_rows(m, N), d->V);
    if (m->use == MODEL_TRAIN) m->dx = arena_tensor(a, act, "dx", N, d->C);
    scratch_layout(m, a);
}

static void weights_layout(model *m, int64_t pad, arena *a)
{
    weights_init(&m->w, &m->d, &m->table, m->k->act, pad, a);
    if (m->use == MODEL_TRAIN) weights_init(&m->g, &m->d, &m->table, m->k->real, pad, a);
}

/* What the two arenas must hold. */
typedef struct model_memory {
    int64_t weights_bytes, step_bytes; /* weights with gradients; activations with scratch */
} model_memory;

static model_memory measure(model *m, const dims *d, const ops *k, int64_t B, int64_t T, model_use use,
                            int64_t pad)
{
    *m = (model){.d = *d,
                 .k = k,
                 .B = B,
                 .T = T,
                 .use = use,
                 .weights_arena = {.name = "weights", .device = k->device},
                 .step_arena = {.name = "step", .device = k->device}};
    param_table_init(&m->table, d);
    m->acts = calloc((size_t)d->L, sizeof *m->acts);
    if (!m->acts) die(ERR_DEVICE, "no memory for %lld layers", (long long)d->L);
    arena weights_size = {.name = "weights"}, step_size = {.name = "step"};
    weights_layout(m, pad, &weights_size);
    weights_free(&m->w);
    if (use == MODEL_TRAIN) weights_free(&m->g);
    step_layout(m, &step_size);
    return (model_memory){.weights_bytes = weights_size.used, .step_bytes = step_size.used};
}

static model_memory measure_only(const dims *d, const ops *k, int64_t B, int64_t T, model_use use)
{
    model m;
    const model_memory bytes = measure(&m, d, k, B, T, use, 1);
    param_table_free(&m.table);
    free(m.acts);
    return bytes;
}

int64_t model_bytes(const dims *d, const ops *k, int64_t B, int64_t T, model_use use)
{
    const model_memory bytes = measure_only(d, k, B, T, use);
    return bytes.weights_bytes + bytes.step_bytes;
}

int64_t model_sharing_bytes(const dims *d, const ops *k, int64_t B, int64_t T)
{
    return measure_only(d, k, B, T, MODEL_EVALUATE).step_bytes;
}

static void rope_tables(model *m)
{
    const int64_t half = rotary_width(&m->d) / 2;
    double *frequency = malloc(sizeof(double) * (size_t)half);
    float *table = malloc(sizeof(float) * (size_t)(2 * m->T * half));
    if (!frequency || !table) die(ERR_DEVICE, "no memory for %lld angles", (long long)(m->T * half));
    rope_frequencies(&m->d.rope, 2 * half, frequency);
    float *cosine = table, *sine = table + m->T * half;
    for (int64_t t = 0; t < m->T; t++)
        for (int64_t i = 0; i < half; i++) {
            cosine[t * half + i] = (float)cos((double)t * frequency[i]);
            sine[t * half + i] = (float)sin((double)t * frequency[i]);
        }
    m->k->upload(&m->cosine, cosine, m->k->stream);
    m->k->upload(&m->sine, sine, m->k->stream);
    free(frequency);
    free(table);
}

void model_init(model *m, const dims *d, const ops *k, int64_t B, int64_t T, model_use use, int64_t pad)
{
    const model_memory bytes = measure(m, d, k, B, T, use, pad);
    arena_reserve(&m->weights_arena, bytes.weights_bytes);
    arena_reserve(&m->step_arena, bytes.step_bytes);
    weights_layout(m, pad, &m->weights_arena);
    step_layout(m, &m->step_arena);
    for (int u = 0; u < m->w.num_units; u++) {
        k->zero(&m->w.unit[u], k->stream);
        if (use == MODEL_TRAIN) k->zero(&m->g.unit[u], k->stream);
    }
    rope_tables(m);
}

void model_init_sharing(model *m, const model *owner, int64_t B, int64_t T)
{
    const model_memory bytes = measure(m, &owner->d, owner->k, B, T, MODEL_EVALUATE, 1);
    arena_reserve(&m->step_arena, bytes.step_bytes);
    weights_share(&m->w, &owner->w);
    step_layout(m, &m->step_arena);
    rope_tables(m);
}

void model_free(model *m)
{
    weights_free(&m->w);
    if (m->use == MODEL_TRAIN) weights_free(&m->g);
    param_table_free(&m->table);
    free(m->acts);
    arena_release(&m->weights_arena);
    arena_release(&m->step_arena);
    *m = (model){0};
}

/* ---- forward and backward ------------------------------------------------------------------------------ */

/* Embedding and layers, up to the hidden state that the head reads. */
static void forward(model *m, const model_batch *batch)
{
    const ops *k = m->k;
    k->upload_i32(&m->tokens, batch->tokens, k->stream);
    k->upload_i32(&m->targets, batch->targets, k->stream);
    k->upload_i32(&m->first, batch->first, k->stream);

    k->embedding_forward(&m->acts[0].x, &m->tokens, &m->w.embed, k->stream);
    for (int l = 0; l < m->d.L; l++) {
        const bool keep = m->use == MODEL_TRAIN, final = l + 1 == m->d.L;
        layer_acts *a = &m->acts[keep ? l : 0];
        /* Without backward one set of activations serves all layers, and a layer may overwrite its own input.
         */
        block_forward(m, l, a, final ? &m->last : keep ? &m->acts[l + 1].x : &a->x);
    }
    k->rmsnorm_forward(&m->hidden, &m->last_rstd, &m->last, &m->w.final_norm, m->d.norm_eps, k->stream);
}

void model_zero_loss(model *m) { m->k->zero(&m->loss_sum, m->k->stream); }

double model_loss(const model *m)
{
    double sum;
    m->k->download_f64(&sum, &m->loss_sum, m->k->stream);
    return sum;
}

double model_evaluate(model *m, const model_batch *batch)
{
    forward(m, batch);
    m->k->head_loss_forward(&m->loss, &m->hidden, &m->w.head, &m->targets, &m->logits, m->k->stream);
    model_zero_loss(m);
    m->k->sum(&m->loss_sum, &m->loss, m->k->stream);
    return model_loss(m);
}

static void unit_done(const model *m, int unit)
{
    if (m->unit_done) m->unit_done(m->unit_context, unit);
}

void model_train(model *m, const model_batch *batch)
{
    REQUIRE(m->use == MODEL_TRAIN, "the model was laid out for evaluation");
    const ops *k = m->k;
    forward(m, batch);

    /* The gradient of the hidden state goes where the first layer's normed input will be: s.dh is free until
     * then. */
    k->head_loss_backward(&m->s.dh, &m->g.head, &m->loss, &m->hidden, &m->w.head, &m->targets, &m->logits,
                          k->stream);
    k->rmsnorm_backward(&m->dx, &m->g.final_norm, &m->s.dh, &m->last, &m->w.final_norm, &m->last_rstd,
                        k->stream);
    unit_done(m, (int)m->d.L + 1);
    for (int l = (int)m->d.L - 1; l >= 0; l--) {
        block_backward(m, l, &m->acts[l]);
        unit_done(m, l + 1);
    }
    k->embedding_backward(&m->g.embed, &m->dx, &m->tokens, k->stream);
    unit_done(m, 0);
    k->sum(&m->loss_sum, &m->loss, k->stream);
}

double model_flops_per_token(const dims *d, int64_t T)
{
    const bool mla = d->kind == ATTENTION_MLA;
    double products = 0; /* weights that multiply an activation */
#define MLA mla
#define P(field, name, rows, cols, present)                                                                  \
    if (present) products += (double)(rows) * (double)(cols);
#include "model/params.def"
#undef P
#undef MLA
    const double qk = (double)(mla ? d->Dn + d->Dr : d->D), v = (double)(mla ? d->Dv : d->D);
    const double attention = 6.0 * (double)d->H * (qk + v) * (double)(T + 1) / 2;
    return (double)d->L * (6 * products + attention) + 6 * (double)d->V * (double)d->C;
}
