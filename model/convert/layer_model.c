/* Where the converter and the model meet. A layer is made on the host in double (mla_layer); text goes
 * through weights on a device. layer_model_publish carries the one to the other, and rounds the host's
 * numbers to what the device gets. So the host stays the truth, and nothing is read back. params.def says
 * which tensors a layer has, and their names in a file. */
#include "model/convert/layer_model.h"
#include "base/memory.h"
#include "model/block.h"
#include "model/hf/halves.h"
#include "model/hf/safetensors.h"
#include "model/loss.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void layer_model_init(layer_model *l, const dims *one_layer, const ops *k)
{
    *l = (layer_model){0};
    model_init(&l->m, one_layer, k, 1);
}

void layer_model_free(layer_model *l)
{
    for (int i = 0; i < TEXTS; i++)
        if (l->acts[i].B) activations_free(&l->acts[i]);
    if (l->m.k) model_free(&l->m);
    *l = (layer_model){0};
}

activations *layer_model_acts(layer_model *l, text_kind kind, int64_t B, int64_t T)
{
    activations *a = &l->acts[kind];
    if (a->B) return a;
    const ops *k = l->m.k;
    int32_t *zeros = memory_new(B * T, sizeof *zeros, "the positions of a chunk");
    activations_init(a, &l->m.d, k, B, T, FORWARD_ONLY, RECOMPUTE_NONE);
    k->upload_i32(&a->first, zeros, k->stream);
    free(zeros);
    /* A short chunk leaves rows that are never read, but must be numbers. */
    k->zero(&activations_layer(a, 0)->x, k->stream);
    k->zero(&a->last, k->stream);
    return a;
}

/* ---- weights, to be read and to be set -------------------- */

tensor layer_model_acquire(const layer_model *l, layer_unit unit)
{
    return units_acquire(&l->m.units, (int)unit);
}

layer_weights layer_model_weights(const layer_model *l) { return weights_layer(&l->m.table, &l->m.units, 0); }

void layer_model_release(const layer_model *l, layer_unit unit) { units_release(&l->m.units, (int)unit); }

tensor *layer_model_storage(layer_model *l, layer_unit unit) { return &l->m.w.unit[unit]; }

/* The layer in the model's own storage. */
static layer_weights stored_layer(const layer_model *l)
{
    const units stored = weights_units(&l->m.w);
    return weights_layer(&l->m.table, &stored, 0);
}

/* ---- passes of a chunk -------------------- */

void layer_model_embed(const layer_model *l, activations *a, int64_t rows)
{
    tensor out = tensor_rows(&activations_layer(a, 0)->x, 0, rows), ids = tensor_rows(&a->tokens, 0, rows);
    const tensor embed = weights_embed(&l->m.table, &l->m.units);
    l->m.k->embedding_forward(&out, &ids, &embed, l->m.k->stream);
    layer_model_release(l, UNIT_EMBEDDING);
}

void layer_model_forward(const layer_model *l, const layer_weights *w, activations *a)
{
    block_forward(&l->m, w, a, 0, &a->last);
}

void layer_model_loss_begin(const layer_model *l, activations *a) { loss_zero(&l->m, a); }

void layer_model_loss_add(const layer_model *l, activations *a, const token_batch *batch)
{
    const ops *k = l->m.k;
    const tensor norm = weights_final_norm(&l->m.table, &l->m.units);
    k->rmsnorm_forward(&a->hidden, &a->last_rstd, &a->last, &norm, l->m.d.norm_eps, k->stream);
    layer_model_release(l, UNIT_HEAD);
    loss_forward(&l->m, a, batch);
}

double layer_model_loss_sum(const layer_model *l, const activations *a) { return loss_sum(&l->m, a); }

/* ---- numbers on their way -------------------- */

static float *values_new(int64_t count)
{
    return memory_new(count, sizeof(float), "%lld weights of a layer", (long long)count);
}

static float *values_read(const ops *k, const tensor *t)
{
    float *values = values_new(tensor_numel(t));
    k->download(values, t, k->stream);
    return values;
}

static double *matrix_read(const ops *k, const tensor *t)
{
    double *m = matrix_new(1, tensor_numel(t));
    k->download_f64(m, t, k->stream);
    return m;
}

static status values_round(float *values, int64_t count, dtype type, const char *name, message *why)
{
    int64_t bad = safetensors_nonfinite(values, count);
    if (bad < 0) bad = halves_round(values, count, type);
    if (bad < 0) return OK;
    return fail(
        why, ERR_INPUT,
        "tensor '%s' of the converted model: element %lld is %g, which %s cannot hold: choose another "
        "convert.dtype",
        name, (long long)bad, (double)values[bad], dtype_name(type));
}

/* ---- the tensors of a layer -------------------- */

typedef struct layer_tensor {
    const char *field, *name; /* as in params.def */
    tensor t;
} layer_tensor;

#define P(field, name, rows, cols, present) +1
enum {
    LAYER_TENSORS =
#include "model/params.def"
};
#undef P

/* Those that the layer has. Returns how many. */
static int layer_tensors(layer_tensor out[LAYER_TENSORS], const layer_weights *w)
{
    int count = 0;
#define P(member, file_name, rows, cols, present)                                                            \
    if (tensor_present(&w->member)) out[count++] = (layer_tensor){#member, file_name, w->member};
#include "model/params.def"
#undef P
    return count;
}

static status layer_round(float *values, const layer_tensor *t, const written_layer *as, message *why)
{
    char name[PARAM_NAME_BYTES];
    if (!as) return OK;
    snprintf(name, sizeof name, "model.layers.%lld.%s", (long long)as->layer, t->name);
    return values_round(values, tensor_numel(&t->t), as->type, name, why);
}

static bool same_tensor(const layer_tensor *a, const layer_tensor *b)
{
    return strcmp(a->field, b->field) == 0 && a->t.rank == b->t.rank && a->t.dim[0] == b->t.dim[0] &&
           a->t.dim[1] == b->t.dim[1];
}

status layer_model_copy(layer_model *to, const layer_model *from, const written_layer *as, message *why)
{
    layer_tensor mine[LAYER_TENSORS], theirs[LAYER_TENSORS];
    const layer_weights target = stored_layer(to), source = layer_model_weights(from);
    const int count = layer_tensors(mine, &target), others = layer_tensors(theirs, &source);
    status s = OK;
    for (int i = 0; i < count && s == OK; i++)
        for (int n = 0; n < others && s == OK; n++) {
            if (!same_tensor(&mine[i], &theirs[n])) continue;
            float *values = values_read(from->m.k, &theirs[n].t);
            s = layer_round(values, &mine[i], as, why);
            if (s == OK) to->m.k->upload(&mine[i].t, values, to->m.k->stream);
            free(values);
        }
    layer_model_release(from, UNIT_LAYER);
    return s;
}

static status publish_tensor(const ops *k, layer_tensor *to, double *part, const comm *c,
                             const written_layer *as, message *why)
{
    const int64_t count = tensor_numel(&to->t);
    float *values = values_new(count);
    comm_broadcast(c, part, count * (int64_t)sizeof *part, 0);
    for (int64_t i = 0; i < count; i++) values[i] = (float)part[i];
    const status s = layer_round(values, to, as, why);
    for (int64_t i = 0; i < count; i++) part[i] = (double)values[i];
    if (s == OK) k->upload(&to->t, values, k->stream);
    free(values);
    return s;
}

status layer_model_publish(layer_model *to, mla_layer *l, const comm *c, const written_layer *as,
                           message *why)
{
    layer_tensor all[LAYER_TENSORS];
    const layer_weights target = stored_layer(to);
    const int count = layer_tensors(all, &target);
    int published = 0;
    for (int i = 0; i < count; i++) {
        double *part = mla_layer_part(l, all[i].field);
        if (!part) continue;
        TRY(publish_tensor(to->m.k, &all[i], part, c, as, why));
        published++;
    }
    REQUIRE(published == mla_layer_parts(l), "%d of %d parts of a layer have a place in the model", published,
            mla_layer_parts(l));
    return OK;
}

/* [weight bias] (rows,C+1); no bias is a bias of zeros. */
static double *read_augmented(const ops *k, const tensor *weight, const tensor *bias)
{
    const int64_t rows = weight->dim[0], C = weight->dim[1];
    double *w = matrix_read(k, weight), *out = matrix_new(rows, C + 1);
    for (int64_t i = 0; i < rows; i++) memcpy(out + i * (C + 1), w + i * C, sizeof *w * (size_t)C);
    free(w);
    if (tensor_present(bias)) {
        double *b = matrix_read(k, bias);
        for (int64_t i = 0; i < rows; i++) out[i * (C + 1) + C] = b[i];
        free(b);
    }
    return out;
}

void gqa_layer_read(gqa_layer *g, const layer_model *source)
{
    const layer_weights w = layer_model_weights(source);
    const ops *k = source->m.k;
    g->wq = read_augmented(k, &w.wq, &w.bq);
    g->wk = read_augmented(k, &w.wk, &w.bk);
    g->wv = read_augmented(k, &w.wv, &w.bv);
    g->wo = matrix_read(k, &w.wo);
    layer_model_release(source, UNIT_LAYER);
}

/* ---- embedding, final norm, head -------------------- */

void layer_model_untie(layer_model *l)
{
    const ops *k = l->m.k;
    const units stored = weights_units(&l->m.w);
    tensor embed = weights_embed(&l->m.table, &l->m.units), head = weights_head(&l->m.table, &stored);
    float *values = values_read(k, &embed);
    layer_model_release(l, UNIT_EMBEDDING);
    k->upload(&head, values, k->stream);
    free(values);
}

status layer_model_round_embedding_and_head(layer_model *l, dtype type, message *why)
{
    const ops *k = l->m.k;
    for (int i = 0; i < l->m.table.count; i++) {
        const param *p = &l->m.table.param[i];
        if (p->unit == UNIT_LAYER) continue;
        const tensor flat = layer_model_acquire(l, (layer_unit)p->unit), held = param_view(p, &flat);
        float *values = values_read(k, &held);
        layer_model_release(l, (layer_unit)p->unit);
        const status s = values_round(values, p->numel, type, p->name, why);
        tensor stored = weights_param(&l->m.w, p);
        if (s == OK) k->upload(&stored, values, k->stream);
        free(values);
        TRY(s);
    }
    return OK;
}
