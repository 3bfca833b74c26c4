/* What a conversion takes, from shapes alone: the sizes of what layerwise.c and the methods allocate, and the
 * operations of their passes and of the linear algebra. It errs upwards: not all that is reserved is used at
 * the same time. */
#include "model/convert/work.h"

/* Libraries, their buffers, a chunk of weights on its way to a file. */
#define PROGRAM_BYTES (INT64_C(96) << 20)

typedef struct shapes {
    const layers_job *j;
    dims from, to, rotary; /* of whole models */
    text_share text, held_out;
    int64_t w, q, kv, n, heads; /* C+1, H*D, G*D, 2*G*D-Dr, H*Dv */
    int64_t tries;              /* METHOD_TRANSMLA: FreqFolds to be tried */
} shapes;

static shapes shapes_of(const layers_job *j)
{
    shapes s = {.j = j,
                .from = *j->d,
                .to = convert_dims(j->d, j->settings),
                .rotary = convert_rotary_dims(j->d, j->settings),
                .text = text_share_of(TEXT_CALIBRATION, j->text, j->c),
                .held_out = text_share_of(TEXT_HELD_OUT, j->held_out, j->c)};
    s.w = s.from.C + 1;
    s.q = s.from.H * s.from.D;
    s.kv = s.from.G * s.from.D;
    s.n = 2 * s.kv - s.to.Dr;
    s.heads = s.to.H * s.to.Dv;
    for (int64_t f = convert_freqfold_next(j->d, j->settings, 0); f;
         f = convert_freqfold_next(j->d, j->settings, f))
        s.tries++;
    return s;
}

/* ---- time -------------------- */

/* Forward operations of `rows` tokens through all layers. */
static double forward_flops(const dims *d, int64_t rows, int64_t T)
{
    const dims one = work_one_layer(*d, false);
    return (double)rows * (double)d->L * model_flops_per_token(&one, T) /
           3; /* a step's backward is twice its forward */
}

/* METHOD_REMLA: the text once through the original, once through the result and once more through its
 * attention. METHOD_TRANSMLA: once through the original, for each try through both models, for norms through
 * four. Held-out text once through every step. */
static double flops_f32(const shapes *s)
{
    const int64_t T = s->j->text->T, rows = text_share_rows(&s->text);
    const bool remla = s->j->method == METHOD_REMLA, norms = s->j->settings->latent_norm;
    const double source = forward_flops(&s->from, rows, T), result = forward_flops(&s->to, rows, T),
                 partial = forward_flops(&s->rotary, rows, T),
                 held_out = s->held_out.ids.sequences
                                ? forward_flops(&s->to, text_share_rows(&s->held_out), s->j->held_out->T)
                                : 0;
    return remla ? source + 1.5 * result + CONVERT_STEPS * held_out
                 : source + (double)s->tries * (partial + result) + (norms ? 4 * result : 0) + 3 * held_out;
}

/* Gram matrices of inputs, eigenvectors and products of a cut, regression. */
static double flops_f64(const shapes *s)
{
    const double N = (double)text_share_rows(&s->text), w = (double)s->w, n = (double)s->n,
                 heads = (double)s->heads, inputs = 2 * N * w * w, cut = 28 * n * n * n + 2 * n * w * w,
                 L = (double)s->from.L;
    if (s->j->method == METHOD_TRANSMLA)
        return L * (inputs + (double)s->tries * (inputs + cut) + (s->j->settings->latent_norm ? inputs : 0));
    return L * (inputs + cut + 2 * N * heads * (heads + w) +
                (s->j->settings->freqfold ? 0 : rope_divide_flops(&s->from, s->to.Dr)) +
                heads * heads * (heads / 3 + 4 * w));
}

/* ---- memory -------------------- */

/* Bytes of a text on every rank, and of its rows of `width` floats on this one. */
static int64_t text_bytes(const token_batch *text, int64_t rows, int64_t width)
{
    const int64_t ids = 3 * (int64_t)sizeof(int32_t); /* tokens, targets, first */
    return ids * (text->sequences * text->T + rows) + (int64_t)sizeof(float) * rows * width;
}

/* Elements of an mla_layer. */
static int64_t layer_elements(const dims *to)
{
    const int64_t head = to->Dn + to->Dr, C = to->C;
    const int64_t queries = to->Rq ? to->Rq * (C + to->H * head) : to->H * head * C;
    return queries + (to->R + to->Dr) * C + to->H * (to->Dn + to->Dv) * to->R + C * to->H * to->Dv;
}

/* Elements beside the layer that building it takes. */
static int64_t build_elements(const shapes *s, const dims *to)
{
    return larger(to->H * (to->Dn + to->Dr) * s->w, (s->n + to->R + to->Dr) * s->w);
}

/* Elements that axes of n dimensions take: factor, weighed Gram matrix, and twice that for LAPACK. */
static int64_t axes_elements(int64_t n, int64_t rank) { return 4 * n * n + n * rank; }

/* Doubles beside those of the cut's result when a layer is cut. */
static int64_t cut_elements(const shapes *s)
{
    const dims *to = &s->to;
    const int64_t q_axes = to->Rq ? s->q * s->w + 2 * s->q * s->q + axes_elements(s->q, to->Rq) : 0,
                  axes = larger(larger(s->n * s->w, axes_elements(s->n, to->R)), q_axes),
                  rotary = layer_elements(&s->rotary) + build_elements(s, &s->rotary) + s->n * s->w;
    return s->kv * s->kv + s->n * s->w + s->n * s->n + 2 * s->n * to->R + 2 * s->q * to->Rq +
           larger(larger(axes, build_elements(s, to)), rotary);
}

/* Doubles of which only METHOD_REMLA has any. */
static int64_t remla_elements(const shapes *s)
{
    const int64_t C = s->from.C, regression = 2 * s->heads * s->heads + 3 * s->heads * C,
                  made = layer_elements(&s->to), always = 2 * s->w * s->w + s->heads * (s->heads + C),
                  cut = cut_elements(s) + s->kv * s->kv + s->q * s->from.D,
                  norms = s->j->settings->latent_norm ? made + larger(s->w * s->w + C * C, regression)
                                                      : regression;
    return always + made + larger(cut, norms);
}

/* The attention of all layers: of the best try, and of one more try or of the other kind of norm. */
static int64_t transmla_elements(const shapes *s)
{
    const int64_t models = s->tries > 1 || s->j->settings->latent_norm ? 2 : 1;
    return s->w * s->w + s->from.L * (s->kv * s->kv + models * layer_elements(&s->to)) + cut_elements(s);
}

/* Doubles in memory when the linear algebra of a layer needs most. */
static int64_t solve_elements(const shapes *s)
{
    const int64_t rows = s->text.B * s->text.ids.T * (work_widest_row(&s->from, &s->to) + s->w),
                  source = (s->q + 2 * s->kv) * s->w + s->from.C * s->q; /* gqa_layer */
    return rows + source + (s->j->method == METHOD_REMLA ? remla_elements(s) : transmla_elements(s));
}

static int64_t chunk_bytes(const ops *k, const dims *d, const text_share *text)
{
    return activations_bytes(d, k, text->B, text->ids.T, FORWARD_ONLY, RECOMPUTE_NONE);
}

/* Models of one layer, with the activations of a chunk of each text that goes through them. */
static int64_t model_memory(const shapes *s)
{
    const ops *k = s->j->k;
    const dims source = work_source_layer(s->j), target = work_one_layer(s->to, false),
               rotary = work_one_layer(s->rotary, false);
    const bool held_out = s->j->held_out->sequences > 0, partial = s->j->method == METHOD_TRANSMLA;
    int64_t bytes = model_bytes(&source, k) + model_bytes(&target, k) + chunk_bytes(k, &source, &s->text) +
                    chunk_bytes(k, &target, &s->text);
    if (partial || held_out) bytes += model_bytes(&rotary, k);
    if (partial) bytes += chunk_bytes(k, &rotary, &s->text);
    if (held_out)
        bytes += chunk_bytes(k, &source, &s->held_out) + chunk_bytes(k, &rotary, &s->held_out) +
                 chunk_bytes(k, &target, &s->held_out);
    /* Weights on their way from one model to another: floats of the largest tensor. */
    return bytes + (int64_t)sizeof(float) * s->from.C * larger(s->from.F, s->from.V);
}

/* Floats of a row of either text. */
static int64_t row_width(const shapes *s, bool held_out)
{
    const int64_t C = s->from.C;
    const bool norms = s->j->settings->latent_norm;
    if (s->j->method == METHOD_TRANSMLA) return held_out ? 3 * C : norms ? 4 * C : 2 * C;
    return held_out ? (CONVERT_STEPS - !norms) * C : 3 * C + 1 + s->heads;
}

/* ---- both -------------------- */

layers_plan layers_plan_of(const layers_job *j)
{
    const shapes s = shapes_of(j);
    return (layers_plan){
        .weight_bytes = PROGRAM_BYTES + model_memory(&s),
        .text_bytes = text_bytes(j->text, text_share_rows(&s.text), row_width(&s, false)) +
                      text_bytes(j->held_out, text_share_rows(&s.held_out), row_width(&s, true)),
        .solve_bytes = (int64_t)sizeof(double) * solve_elements(&s),
        .flops_f32 = flops_f32(&s),
        .flops_f64 = flops_f64(&s),
    };
}

int64_t layers_plan_bytes(const layers_plan *p) { return p->weight_bytes + p->text_bytes + p->solve_bytes; }
