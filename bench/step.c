/* bench/step --shape SHAPE --layers L --batch B --seq-len T --recompute none|light|layer --steps N --json
 * [device.kind=cuda ...]: training steps of an MLA model with random weights and tokens: forward, backward
 * and AdamW, as `remla train` runs them on one rank. The CPU's peak is measured by a loop of multiply-adds in
 * the same run. Shapes: a (140M: hidden 576, 30 layers, 9 heads (nope 64, rope 32, v 64), rank 128 with
 * latent norm, MLP 1536, vocabulary 49152, tied), llama2-7b (as TransMLA converts it); --layers takes that
 * many of them. */
#include "base/clock.h"
#include "base/comm.h"
#include "base/device.h"
#include "base/memory.h"
#include "bench/median.h"
#include "bench/random_model.h"
#include "bench/shapes.h"
#include "base/machine.h"
#include "model/loss.h"
#include "optim/optimizer.h"
#include "eval/compute.h"
#include "train/option_words.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const dims shape_a = {.kind = ATTENTION_MLA,
                             .L = 30,
                             .V = 49152,
                             .C = 576,
                             .F = 1536,
                             .H = 9,
                             .Dn = 64,
                             .Dr = 32,
                             .Dv = 64,
                             .R = 128,
                             .latent_norm = true,
                             .tied = true,
                             .norm_eps = 1e-5,
                             .rope = {.theta = 10000}};

typedef struct settings {
    dims shape;
    int64_t batch, seq_len, steps;
    bool json;
    options o; /* device.*, train.recompute */
} settings;

static int64_t number(const char *flag, const char *text)
{
    char *end;
    const long long n = text ? strtoll(text, &end, 10) : 0;
    if (!text || *end || n < 1 || n > 1000000)
        die(ERR_USAGE, "%s wants a number from 1 to 1000000, not \"%s\"", flag, text ? text : "");
    return n;
}

static void recompute_set(options *o, const char *word)
{
    char assignment[100];
    message why;
    snprintf(assignment, sizeof assignment, "train.recompute=%s", word);
    if (options_set(o, assignment, &why) != OK) die(ERR_USAGE, "%s", why.text);
}

static settings settings_of(int argc, char **argv)
{
    settings s = {.shape = shape_a, .batch = 4, .seq_len = 256, .steps = 5};
    message why;
    options_init(&s.o);
    for (int i = 1; i < argc; i++) {
        const char *next = i + 1 < argc ? argv[i + 1] : NULL;
        if (!strcmp(argv[i], "--json"))
            s.json = true;
        else if (!strcmp(argv[i], "--shape") && next && !strcmp(next, "llama2-7b"))
            s.shape = llama2_7b, i++;
        else if (!strcmp(argv[i], "--shape") && next && !strcmp(next, "a"))
            s.shape = shape_a, i++;
        else if (!strcmp(argv[i], "--layers"))
            s.shape.L = number(argv[i++], next);
        else if (!strcmp(argv[i], "--batch"))
            s.batch = number(argv[i++], next);
        else if (!strcmp(argv[i], "--seq-len"))
            s.seq_len = number(argv[i++], next);
        else if (!strcmp(argv[i], "--recompute") && next)
            recompute_set(&s.o, argv[++i]);
        else if (!strcmp(argv[i], "--steps"))
            s.steps = number(argv[i++], next);
        else if (strchr(argv[i], '=') == NULL)
            die(ERR_USAGE,
                "unknown argument %s; usage: step [--shape a|llama2-7b] [--layers L] [--batch B] "
                "[--seq-len T] [--recompute none|light|layer] [--steps N] [--json] [section.key=value ...]",
                argv[i]);
        else if (options_set(&s.o, argv[i], &why) != OK)
            die(ERR_USAGE, "%s", why.text);
    }
    return s;
}

static void batch_random(token_batch *b, int64_t V)
{
    uint64_t state = 2;
    for (int64_t n = 0; n < b->sequences * b->T; n++) {
        b->tokens[n] = (int32_t)(random_next(&state) % (uint64_t)V);
        b->targets[n] = (int32_t)(random_next(&state) % (uint64_t)V);
    }
}

/* Weights that are random, gradients, and the optimizer's state. */
static void parameters_setup(shards *s, optimizer *o, compute *on, arena *memory, model *m)
{
    const comm *const tensors = compute_ranks(on, comm_self());
    const shards_settings set = {.stage = 1, .how = {.sent = F32}, .micro_batches = 1};
    shards_reserve(s, m->k, tensors, &m->table, &set, &memory[0]);
    *o = (optimizer){.beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .decay = 0.01};
    optimizer_reserve(o, comm_self(), s, &memory[1]);
    m->units = shards_weights(s);
    for (int u = 0; u < m->table.num_units; u++) {
        float *full = random_unit(&m->table, u, shards_padded(s, u));
        optimizer_set(o, OPTIM_MASTER, u, full); /* one rank's part is all of it */
        free(full);
    }
    optimizer_masters_set(o);
}

static double step(const model *m, activations *a, shards *s, optimizer *o, const token_batch *batch,
                   int64_t number_of_step)
{
    const double start = clock_seconds(), mean = 1.0 / (double)(a->B * a->T);
    const units sums = shards_gradients(s, 0);
    optimizer_begin(o);
    tensor loss = optimizer_loss(o, 0);
    model_train(m, a, &sums, batch, &loss);
    optimizer_clip(o, mean, 1);
    optimizer_update(o, 1e-4, number_of_step);
    optimizer_loss_sum(o); /* waits for a device */
    return clock_seconds() - start;
}

int main(int argc, char **argv)
{
    settings s = settings_of(argc, argv);
    message why;
    const status started = machine_start(0, 1, &why);
    if (started != OK) die(started, "%s", why.text);

    const compute_settings wanted = compute_settings_of(&s.o);
    compute on;
    const ops *k;
    const status opened = compute_start(&on, &wanted, &s.shape, s.batch, s.seq_len, comm_self(), &k, &why);
    if (opened != OK) die(opened, "%s", why.text);

    model m;
    activations acts;
    model_init_bare(&m, &s.shape, k);
    activations_init(&acts, &s.shape, k, s.batch, s.seq_len, FORWARD_AND_BACKWARD,
                     recompute_of(s.o.train_recompute));
    double *seconds = memory_new(s.steps, sizeof *seconds, "times of steps");
    token_batch batch;
    token_batch_init(&batch, s.batch, s.seq_len);
    batch_random(&batch, s.shape.V);
    shards parameters;
    optimizer o;
    arena memory[] = {{.name = "weights and gradients", .device = on.device},
                      {.name = "optimizer", .device = on.device}};
    parameters_setup(&parameters, &o, &on, memory, &m);

    /* The first step touches all memory, and the library compiles its code: it is not timed. */
    step(&m, &acts, &parameters, &o, &batch, 1);
    for (int64_t i = 0; i < s.steps; i++) seconds[i] = step(&m, &acts, &parameters, &o, &batch, i + 2);
    const double peak = compute_peak_flops(&on);
    const double typical = median(seconds, s.steps), tokens = (double)(s.batch * s.seq_len),
                 flops = model_flops_per_token(&s.shape, s.seq_len) * tokens / typical;
    const double rss = (double)memory_peak_bytes() / 1048576.0, kept = (double)acts.memory.size / 1048576.0;
    if (s.json)
        printf("{\"tok_s\": %.6g, \"peak_rss_mib\": %.6g, \"activations_mib\": %.6g, \"gflops\": %.6g, "
               "\"peak_gflops\": %.6g, "
               "\"share_of_peak\": %.4g}\n",
               tokens / typical, rss, kept, flops / 1e9, peak / 1e9, flops / peak);
    else
        printf("%s\n%lldx%lld: %.0f tok/s, %.0f MiB (activations %.0f), %.0f of %.0f GFLOP/s = %.1f %% of "
               "peak (median of %lld "
               "steps)\n",
               on.device ? device_text(on.device) : machine_text(), (long long)s.batch, (long long)s.seq_len,
               tokens / typical, rss, kept, flops / 1e9, peak / 1e9, 100 * flops / peak, (long long)s.steps);
    optimizer_free(&o);
    shards_free(&parameters);
    arena_release(&memory[0]);
    arena_release(&memory[1]);
    activations_free(&acts);
    model_free(&m);
    compute_close(&on);
    options_free(&s.o);
    token_batch_free(&batch);
    free(seconds);
    return 0;
}
