/* The low rank of a layer: x = [rest of the rotated keys; values], n = 2*G*D-Dr numbers of a token, becomes
 * a latent of R. Both methods choose its axes from one Gram matrix, sum x x^T over the tokens of the text.
 * The text need not be read for it: x = J [h;1] with the joint projection J, so it is J S J^T, with S the
 * Gram matrix of the attention's inputs. */
#include "model/convert/pieces.h"
#include <stdlib.h>

void layer_cut_begin(layer_cut *c, const dims *from, const dims *to, const gqa_layer *g, const double *u,
                     const double *inputs)
{
    const int64_t n = 2 * from->G * from->D - to->Dr, queries = from->H * from->D,
                  q_rank = layer_query_rank(to);
    *c = (layer_cut){.from = from, .to = to, .g = g, .u = u};
    c->joint = gqa_layer_joint(from, to, g, u, inputs);
    c->gram = matrix_gram(c->joint, inputs, n, from->C + 1);
    c->down = matrix_new(to->R, n);
    c->up = matrix_new(n, to->R);
    if (!to->Rq) return;
    c->q_down = matrix_new(q_rank, queries);
    c->q_up = matrix_new(queries, q_rank);
}

void layer_cut_end(layer_cut *c, mla_layer *out)
{
    const layer_basis basis = {
        .u = c->u, .joint = c->joint, .down = c->down, .up = c->up, .q_down = c->q_down, .q_up = c->q_up};
    mla_layer_build(out, c->from, c->to, c->g, &basis);
    double *const all[] = {c->joint, c->gram, c->down, c->up, c->q_down, c->q_up};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
    *c = (layer_cut){0};
}

void mla_layer_build_rotary(mla_layer *out, const dims *from, const dims *to, const gqa_layer *g,
                            const double *u)
{
    double *joint = gqa_layer_joint(from, to, g, u, NULL);
    mla_layer_build(out, from, to, g, &(layer_basis){.u = u, .joint = joint});
    free(joint);
}
