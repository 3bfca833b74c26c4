/* Private to model/convert*.c: the pieces of conversion. Matrices are row-major host arrays of double.
 * Projections are augmented: (rows,C+1), the last column is the bias, so that W [h;1] is the output, and
 * the Gram matrix of outputs is W S W^T with S the sum over tokens of [h;1][h;1]^T. */
#ifndef REMLA_MODEL_CONVERT_PARTS_H
#define REMLA_MODEL_CONVERT_PARTS_H
#include "model/convert.h"

double *matrix_new(int64_t rows, int64_t columns); /* zeroed; stops the job when memory is short; free() it */
double *matrix_read(const ops *k, const tensor *t);
void matrix_write(const ops *k, tensor *t, const double *values); /* rounded to float */
/* w (rows,columns) S w^T, (rows,rows), from S (columns,columns). */
double *gram_of(const double *w, const double *s, int64_t rows, int64_t columns);

/* ---- convert_calibrate.c ---- */

/* Runs the text through `m`; `tap` (may be NULL) sees activations of real rows only, whole windows, m->T
 * rows each. Returns the mean loss. `stage` names the pass on the terminal. */
double calibrate(model *m, const calibration *text, const char *stage, model_tap *tap, void *context);

/* A model_tap with a `gram_set` as context: sums [h;1][h;1]^T over attention inputs, per layer. First
 * tokens of windows count `first_weight` times. */
typedef struct gram_set {
    const ops *k;
    int64_t L, T;
    double first_weight;
    double **s;               /* per layer (C+1,C+1) */
    double *rows, *augmented; /* of a batch: (N,C), (N,C+1) */
} gram_set;
void gram_set_init(gram_set *g, const model *m, double first_weight);
void gram_set_free(gram_set *g);
void gram_tap(void *context, int layer, tap_point point, const tensor *x);

/* ---- convert_layer.c ---- */

/* The projections of one layer of the source. */
typedef struct gqa_layer {
    double *wq, *wk, *wv; /* (H*D,C+1), (G*D,C+1), (G*D,C+1) */
} gqa_layer;
void gqa_layer_read(gqa_layer *g, const model *source, int64_t layer);
void gqa_layer_free(gqa_layer *g);

/* What turns it into a layer of MLA. NULL stands for the identity. */
typedef struct layer_basis {
    const double *u;    /* (G*D,G*D) orthogonal: rotated keys are u k, the rotary key in pairs comes first */
    const double *down; /* (R,2*G*D-Dr) the latent from [rest of the rotated keys; values] */
    const double *up;   /* (2*G*D-Dr,R) and back */
    const double *q;    /* (Rq,H*D) axes of the queries; unused when Rq is 0 */
} layer_basis;

/* The projections of one MLA layer, as in model/params.def, without augmentation; what the model does not
 * have is NULL. */
typedef struct mla_layer {
    double *wq, *bq, *wq_a, *wq_b, *bq_b, *wkv_a, *bkv_a, *wkv_b;
} mla_layer;
void mla_layer_build(mla_layer *out, const dims *from, const dims *to, const gqa_layer *g,
                     const layer_basis *b);
void mla_layer_write(const mla_layer *l, model *m, int64_t layer);
void mla_layer_free(mla_layer *l);

/* [rest of the rotated keys; values] from [h;1]: (2*G*D-Dr,C+1). */
double *joint_projection(const dims *from, int64_t rope, const gqa_layer *g, const double *u);

/* ---- convert_rope.c ---- */

/* The rotation u of layer_basis for `freqfold`, from the Gram matrix of the unrotated keys. */
double *rope_rotation(const dims *d, int64_t rope, int64_t freqfold, const double *key_gram);

/* ---- convert_lowrank.c ---- */

/* Principal axes of keys and values together. joint: (n,n) Gram matrix of [rest of the rotated keys;
 * values], n = 2*G*D-rope. down (rank,n) and up (n,rank) are written. */
void joint_axes(const dims *d, int64_t rope, int64_t rank, convert_balance balance, const double *joint,
                double *down, double *up);
/* The first `rank` principal axes, (rank,n), of a Gram matrix (n,n), which is overwritten. */
double *principal_axes(int64_t n, int64_t rank, double *gram);

/* ---- convert_norm.c ---- */

/* Gives m, a converted model laid out with latent norms that are still switched off (m->d.latent_norm
 * false), the latent norms that change it least, and switches them on. Returns the loss with them. */
double latent_norms_insert(model *m, const calibration *text);

#endif
