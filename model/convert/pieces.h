/* Private to model/convert/: the mathematics of a layer, on host arrays of double; no model, no device.
 * Projections are augmented: (rows,C+1), the last column is the bias, so that W [h;1] is the output, and
 * the Gram matrix of outputs is W S W^T with S the sum over tokens of [h;1][h;1]^T. */
#ifndef REMLA_MODEL_CONVERT_PIECES_H
#define REMLA_MODEL_CONVERT_PIECES_H
#include "model/convert/convert.h"
#include "model/convert/matrix.h"

/* ---- layer.c ---- */

/* The projections of one layer of the source. */
typedef struct gqa_layer {
    double *wq, *wk, *wv; /* (H*D,C+1), (G*D,C+1), (G*D,C+1) */
    double *wo;           /* (C,H*D) */
} gqa_layer;
void gqa_layer_free(gqa_layer *g);

/* Turns the projections into a layer of MLA. NULL stands for the identity. */
typedef struct layer_basis {
    const double *u;     /* (G*D,G*D) orthogonal: rotated keys are u k, the rotary key in pairs comes first */
    const double *joint; /* gqa_layer_joint with this u */
    const double *down;  /* (R,2*G*D-Dr) the latent from [rest of the rotated keys; values] */
    const double *up;    /* (2*G*D-Dr,R) and back */
    const double *q_down; /* (layer_query_rank,H*D) the latent of the queries; unused when Rq is 0 */
    const double *q_up;   /* (H*D,layer_query_rank) and back */
} layer_basis;

/* Holds what conversion makes of one MLA layer, as in model/params.def, without augmentation: the projections
 * of attention and the weights of the latent norms. A weight that the model does not have is NULL. */
typedef struct mla_layer {
    double *wq, *bq, *wq_a, *bq_a, *q_a_norm, *wq_b, *bq_b, *wkv_a, *bkv_a, *kv_a_norm, *wkv_b, *wo, *bo;
} mla_layer;
double *mla_layer_part(const mla_layer *l,
                       const char *field); /* by its name in params.def; NULL: not there */
int mla_layer_parts(const mla_layer *l);   /* how many are there */
mla_layer mla_layer_copy(const mla_layer *l, const dims *d);
void mla_layer_free(mla_layer *l); /* and sets all to NULL */
/* Dimensions of the queries' latent that carry queries: all, or all but the last, the constant channel that
 * carries their bias. */
static inline int64_t layer_query_rank(const dims *d) { return d->Rq - (d->q_a_bias ? 1 : 0); }
/* The layer with this basis; its norms' weights are 1. */
void mla_layer_build(mla_layer *out, const dims *from, const dims *to, const gqa_layer *g,
                     const layer_basis *b);
/* Gives the two factors of every product the same size, without changing what they make: the rows that make a
 * latent dimension and the columns that read it, the rotary rows of keys and of queries. Adam moves all
 * elements alike, and would otherwise tear up the smaller factor. */
void mla_layer_balance(mla_layer *l, const dims *d);

/* [rest of the rotated keys; values] from [h;1]: (2*G*D-Dr,C+1). Where the result has a bias on o_proj that
 * one takes the values' bias, and keys lose their mean over the tokens of `inputs` (C+1,C+1), the Gram matrix
 * of the attention's inputs: what is the same for every key without a position adds the same number to all
 * logits of a query, which softmax does not see. `inputs` is not read otherwise. */
double *gqa_layer_joint(const dims *from, const dims *to, const gqa_layer *g, const double *u,
                        const double *inputs);
/* E[q q^T] times the number of tokens for every query head, (H,D,D), from s (C+1,C+1) of the attention
 * inputs. */
double *gqa_layer_query_grams(const dims *d, const gqa_layer *g, const double *s);

/* ---- cut.c ---- */

/* A layer on its way to R dimensions. The axes are the method's choice; all else is the same for every
 * method. */
typedef struct layer_cut {
    const dims *from, *to;
    const gqa_layer *g;
    const double *u;
    double *joint;         /* gqa_layer_joint */
    double *gram;          /* (2*G*D-Dr,2*G*D-Dr) Gram matrix of what it makes */
    double *down, *up;     /* as in layer_basis, zero: to be filled */
    double *q_down, *q_up; /* the same, NULL when Rq is 0 */
} layer_cut;
/* inputs: as in gqa_layer_joint. The shapes, g and u are borrowed. */
void layer_cut_begin(layer_cut *c, const dims *from, const dims *to, const gqa_layer *g, const double *u,
                     const double *inputs);
void layer_cut_end(layer_cut *c, mla_layer *out);
/* The layer of which only the rotary part is converted; to: convert_rotary_dims. o_proj is the original's. */
void mla_layer_build_rotary(mla_layer *out, const dims *from, const dims *to, const gqa_layer *g,
                            const double *u);

/* ---- partial_rope.c ---- */

/* The rotation u of layer_basis for a division of the frequencies, from the Gram matrix (G*D,G*D) of the keys
 * before it. */
double *rope_rotation(const dims *d, int64_t rope, const rope_division *division, const double *key_gram);
/* Sets of `freqfold` frequencies each. The caller ends with rope_division_free. */
rope_division rope_uniform(const dims *d, int64_t freqfold);
void rope_division_free(rope_division *division);
/* Returns the index of feature a of a set among the G*D elements of a key: that of its real part, the
 * imaginary one is D/2 further. */
static inline int64_t rope_feature(const dims *d, rope_set set, int64_t a)
{
    return a / set.count * d->D + set.from + a % set.count;
}
/* Returns how many components of a set keep their rotation. */
static inline int64_t rope_kept(const dims *d, int64_t rope, rope_set set)
{
    return set.count / (d->D / rope);
}
/* The Gram matrix (G*count,G*count) of a set's features, real and imaginary parts added, from that of all
 * elements (G*D,G*D). */
void rope_set_gram(double *out, const dims *d, rope_set set, const double *gram);

/* ---- freqfold.c ---- */

/* (D/2,D/2): mean over distances t of Re conj(exp(j theta_a t) - 1) (exp(j theta_b t) - 1). Of the model, not
 * of a layer. */
double *rope_rotation_gram(const dims *d);
/* Sets of frequencies as wide as suits the logits. rotation: rope_rotation_gram; queries:
 * gqa_layer_query_grams. The caller ends with rope_division_free. */
rope_division rope_divide(const dims *d, int64_t rope, const double *rotation, const double *key_gram,
                          const double *queries);
/* Operations that it takes, about. */
double rope_divide_flops(const dims *d, int64_t rope);

/* ---- lowrank.c ---- */

/* Principal axes of keys and values together. joint: (n,n) Gram matrix of [rest of the rotated keys;
 * values], n = 2*G*D-rope. down (rank,n) and up (n,rank) are written. */
void lowrank_joint_axes(const dims *d, int64_t rope, int64_t rank, convert_balance balance,
                        const double *joint, double *down, double *up);
/* Those of all heads' queries, biases included: down (rank,H*D) and up (H*D,rank) are written. s: as in
 * gqa_layer_query_grams. */
void lowrank_query_axes(const dims *d, int64_t rank, const gqa_layer *g, const double *s, double *down,
                        double *up);
/* The first `rank` principal axes, (rank,n), of a Gram matrix (n,n), which is overwritten. */
double *lowrank_principal_axes(int64_t n, int64_t rank, double *gram);

/* ---- metric.c ---- */

/* down (rank,n) and up (n,rank) as lowrank_joint_axes, in the metric of the attention: queries
 * (gqa_layer_query_grams), joint (n,n) of [rest of the keys; values]. */
void metric_axes(const dims *d, int64_t rope, int64_t rank, const gqa_layer *g, const double *u,
                 const double *queries, const double *joint, double *down, double *up);
/* The same for queries without their bias: down (rank,H*D), up (H*D,rank). */
void metric_query_axes(const dims *d, int64_t rank, const gqa_layer *g, const double *s, double *down,
                       double *up);
/* Shares of the energy (sum of squares over the calibration tokens, not centred) of all keys, rotary part
 * included, and of all values. What is lost is the energy of the difference between [rest of the keys;
 * values] and what `up` makes of the latent, so the shares are at most 1. With the axes of metric_axes that
 * difference is not correlated with what is kept, and the shares are at least 0. `used`: the first dimensions
 * of the latent that carry something; all but the last beside a constant channel. rope_energy: of the rotary
 * part, which is kept as a whole. */
typedef struct energy_shares {
    double keys, values;
} energy_shares;
energy_shares energy_shares_of(const dims *d, int64_t rope, int64_t rank, int64_t used, const double *joint,
                               const double *down, const double *up, double rope_energy);

/* ---- latent_norm.c ---- */

typedef enum latent_kind { LATENT_KV, LATENT_Q, LATENT_KINDS } latent_kind;
/* A model has the first of these kinds: 1, or 2 when its queries have a latent. */
static inline int latent_count(const dims *d) { return d->Rq ? 2 : 1; }

/* Sums over tokens of a latent x, |x| its length, r its rms; y is what of it carries something: all of it, or
 * all but the constant channel. */
typedef struct latent_sums {
    double energy;             /* |x|^2 of all dimensions but the last */
    double over, over_squared; /* |y|^2/r, |y|^2/r^2 */
    double square;             /* r^2 */
    double tokens;
} latent_sums;
/* Adds latents (rows,width). */
void latent_sums_add(latent_sums *s, const double *latents, int64_t rows, int64_t width, bool constant_last);

/* Below, d is the layer's shape, sums (LATENT_KINDS) are of its latents. */

/* Sets the norms' weights to the number that changes the latents of the sums least; that of a constant
 * channel so that it leaves the norm as large as the others on average. */
void latent_norms_set(mla_layer *l, const dims *d, const latent_sums *sums, bool constant_last);
/* Makes latents, whose norms' weights are set, of a root mean square of 1 where it is less: so large that it
 * does not matter which eps a reader puts into the norm (transformers: 1e-6, vLLM and SGLang: rms_norm_eps).
 */
void latent_norms_enlarge(mla_layer *l, const dims *d, const latent_sums *sums);
/* Gives up the last dimension of the latents for a number that is about constant; where it carries the
 * queries' bias it is that already, and becomes larger. inputs: Gram matrix of attention inputs (C+1,C+1)
 * with first tokens weighted by FIRST_WEIGHT; sums of the latents before. Returns the relative standard
 * deviation of that number, 0 where a bias makes it exact. */
double latent_constant_channel_set(mla_layer *l, const dims *d, const double *inputs,
                                   const latent_sums *sums);

/* The first token of a window is rare, but every other one attends to it: in the constant channel it counts
 * for this many. */
#define FIRST_WEIGHT 16.0

#endif
