/* What a conversion by layers takes, from shapes alone. */
#include "model/convert_parts.h"
#include "model/convert_streams.h"

dims one_layer(dims d, bool ends)
{
    d.L = 1;
    if (!ends) d.V = 1, d.tied = true;
    return d;
}

/* Forward operations of one token through a layer. */
static double layer_flops(const dims *d, int64_t T)
{
    const dims one = one_layer(*d, false);
    return model_flops_per_token(&one, T) / 3; /* a step's backward is twice its forward */
}

layers_plan layers_plan_of(const layers_job *j)
{
    const ops *k = ops_cpu_f32();
    const dims *from = j->d, to = convert_dims(from, j->how), source = one_layer(*from, true),
               target = one_layer(to, false);
    text_share text, held_out = {.T = j->text->T};
    text_share_init(&text, j->text, j->c);
    if (j->held_out->windows) text_share_init(&held_out, j->held_out, j->c);

    const int64_t C = from->C, heads = to.H * to.Dv, n = 2 * from->G * from->D - to.Dr, w = C + 1;
    layers_plan p = {.weight_bytes = model_bytes(&source, k, text.B, text.T, MODEL_EVALUATE) +
                                     model_bytes(&target, k, text.B, text.T, MODEL_EVALUATE)};
    if (j->held_out->windows)
        p.weight_bytes +=
            (CONVERT_STEPS - 1) * model_bytes(&target, k, held_out.B, held_out.T, MODEL_EVALUATE) +
            model_bytes(&source, k, held_out.B, held_out.T, MODEL_EVALUATE);
    p.text_bytes = 4 * (text.rows * (3 * C + heads) + held_out.rows * C * CONVERT_STEPS);
    p.solve_bytes = 8 * (2 * w * w + text.B * text.T * 2 * (C + heads) +             /* inputs, chunk */
                         3 * heads * (heads + C) +                                   /* regression */
                         2 * (from->H + from->G) * from->D * w + n * w + 6 * n * n + /* low rank */
                         (to.Rq ? 4 * from->H * from->D * from->H * from->D : 0));
    /* The text once through the original, once through the result and once more through its attention;
     * held-out text once through every step. */
    p.flops_f32 =
        (double)from->L *
        ((double)text.rows * (layer_flops(from, text.T) + 1.5 * layer_flops(&to, text.T)) +
         (j->held_out->windows ? CONVERT_STEPS * (double)held_out.rows * layer_flops(&to, held_out.T) : 0));
    const double N = (double)text.rows, columns = (double)n, width = (double)heads;
    p.flops_f64 =
        (double)from->L *
        (2 * N * (double)w * (double)w + 2 * N * width * (width + (double)C) +    /* Gram matrices */
         28 * columns * columns * columns + 2 * columns * (double)w * (double)w + /* eigenvectors, products */
         (j->how->freqfold ? 0 : rope_divide_flops(from, to.Dr)) +
         width * width * (width / 3 + 4 * (double)C)); /* regression */
    text_share_free(&text);
    if (j->held_out->windows) text_share_free(&held_out);
    return p;
}
