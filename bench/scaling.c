/* scaling CSV STEM: what a step of the models of configs/ takes on 8 to 1024 H100, by the plan
 * (train/plan.h): bytes and time of the exchange in stages 0 to 3, over two networks. For every stage the
 * fastest of the settings that fit counts. Prints the tables of docs/SCALING.md, writes all numbers into CSV
 * and draws STEM-MODEL.svg. Run it in the root of the sources (bench/scaling.sh does). Nothing here is
 * measured. */
#include "base/chart.h"
#include "model/hf/config.h"
#include "model/model.h"
#include "train/plan.h"
#include "train/training.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { STAGES = 4, SIZES = 8, NETWORKS = 2, FEWEST = 8, HOST = 8 };

static const struct subject {
    const char *name, *stem, *config, *shape;
} subjects[] = {{"LLaMA-2-7B", "7b", "configs/llama2-7b_8xh100.yaml", "configs/models/llama2-7b-mla"},
                {"LLaMA-2-13B", "13b", "configs/llama2-13b_8xh100.yaml", "configs/models/llama2-13b-mla"},
                {"Qwen2.5-72B", "72b", "configs/qwen2.5-72b_64xh100.yaml", "configs/models/qwen2.5-72b-mla"}};
enum { SUBJECTS = sizeof subjects / sizeof *subjects };
typedef struct subject subject;

/* Ports of a host, of as many that a device has one of its own. */
static const struct {
    const char *name;
    int ports;
} networks[NETWORKS] = {{"a port of 400 Gb/s for each GPU", HOST}, {"one port a host", 1}};

/* The best way that fits; micro_batch 0: none does. */
typedef struct row {
    int64_t micro_batch;
    bool again; /* train.recompute=layer */
    int64_t step_tokens;
    plan p;
} row;

static void good(status s, const message *why)
{
    if (s != OK) die(s, "%s", why->text);
}

static void set(options *o, const char *name, int64_t value)
{
    message why;
    char text[80];
    snprintf(text, sizeof text, "%s=%lld", name, (long long)value);
    good(options_set(o, text, &why), &why);
}

static double step_seconds(const row *r) { return plan_step_seconds(&r->p); }
static double shown(const row *r) { return r->p.seconds.communication - r->p.seconds.hidden; }
static double speed(const row *r, int ranks) { return (double)r->step_tokens / step_seconds(r) / ranks; }

/* Of two that are equal within a thousandth, the one that sends less. */
static bool better(const row *a, const row *b)
{
    const double change = step_seconds(a) / step_seconds(b);
    return !b->micro_batch || change < 0.999 || (change < 1.001 && a->p.bytes_sent < 0.99 * b->p.bytes_sent);
}

/* Tries one setting for `best`. */
static void try_setting(row *best, plan_run *r, options *o, int64_t micro_batch, bool again)
{
    row tried = {.micro_batch = micro_batch, .again = again, .step_tokens = o->train_batch_tokens};
    set(o, "train.micro_batch", micro_batch);
    o->train_recompute = again ? OPTION_train_recompute_layer : OPTION_train_recompute_light;
    message why;
    good(training_check(o, r->ranks, &why), &why);
    plan_make(&tried.p, r);
    if (tried.p.fits && better(&tried, best)) *best = tried;
}

/* A step is as large as the config says, and never less than a sequence for each rank. */
static row best_of(const subject *s, const dims *d, int ranks, int stage, int network)
{
    row best = {0};
    options o;
    message why;
    plan_run r = {.o = &o, .d = d, .ranks = ranks, .steps = -1};
    options_init(&o);
    good(options_read_yaml(&o, s->config, &why), &why);
    good(plan_machine_find(&r.machine, "h100", ranks, &why), &why);
    r.machine.across *= (double)networks[network].ports / HOST;
    if (o.train_batch_tokens < ranks * o.train_seq_len)
        set(&o, "train.batch_tokens", ranks * o.train_seq_len);
    set(&o, "parallel.zero", stage);
    const int64_t mine = o.train_batch_tokens / o.train_seq_len / ranks;
    for (int again = 0; again <= 1; again++)
        for (int64_t m = 1; m <= mine && m <= 8; m *= 2) try_setting(&best, &r, &o, m, again);
    options_free(&o);
    return best;
}

/* ---- tables -------------------------------------------------------------------------------------------- */

typedef row rows[SIZES][STAGES];

static void print_head(const char *title, const char *column)
{
    printf("\n%s\n\n| GPUs | %s |", title, column);
    for (int stage = 0; stage < STAGES; stage++) printf(" stage %d |", stage);
    printf("\n| --- | --- | --- | --- | --- | --- |\n");
}

/* Of the settings that fit, those without a layer that is computed again compute for the shortest time. */
static double computing(const row stages[STAGES])
{
    double least = (double)INFINITY;
    for (int stage = 0; stage < STAGES; stage++)
        if (stages[stage].micro_batch) least = fmin(least, stages[stage].p.seconds.compute);
    return least;
}

static int64_t step_tokens(const row stages[STAGES])
{
    int64_t tokens = 0;
    for (int stage = 0; stage < STAGES; stage++)
        if (stages[stage].micro_batch) tokens = stages[stage].step_tokens;
    return tokens;
}

static void print_exchange(const subject *s, rows all)
{
    char title[160];
    snprintf(title, sizeof title,
             "%s: GB that a GPU sends in a step, and ms that they take (of these, not hidden)", s->name);
    print_head(title, "computing, ms");
    for (int i = 0; i < SIZES; i++) {
        if (!step_tokens(all[i])) continue;
        printf("| %d | %.0f |", FEWEST << i, 1e3 * computing(all[i]));
        for (int stage = 0; stage < STAGES; stage++) {
            const row *r = &all[i][stage];
            if (r->micro_batch)
                printf(" %.4g GB, %.0f (%.0f) |", r->p.bytes_sent / 1e9, 1e3 * r->p.seconds.communication,
                       1e3 * shown(r));
            else
                printf(" |");
        }
        printf("\n");
    }
}

static void print_speed(const subject *s, const char *network, rows all)
{
    char title[160];
    snprintf(title, sizeof title,
             "%s, %s: tokens/s of a GPU (`train.micro_batch`; + where layers are computed again)", s->name,
             network);
    print_head(title, "tokens of a step");
    for (int i = 0; i < SIZES; i++) {
        if (!step_tokens(all[i])) continue;
        printf("| %d | %lld |", FEWEST << i, (long long)step_tokens(all[i]));
        for (int stage = 0; stage < STAGES; stage++) {
            const row *r = &all[i][stage];
            if (r->micro_batch)
                printf(" %.0f (%lld%s) |", speed(r, FEWEST << i), (long long)r->micro_batch,
                       r->again ? "+" : "");
            else
                printf(" |");
        }
        printf("\n");
    }
}

static void write_rows(FILE *csv, const subject *s, int network, rows all)
{
    for (int i = 0; i < SIZES; i++)
        for (int stage = 0; stage < STAGES; stage++) {
            const row *r = &all[i][stage];
            if (!r->micro_batch) continue;
            fprintf(csv, "%s,%d,%d,%d,%lld,%s,%lld,%.4g,%.6g,%.6g,%.6g,%.6g,%.5g\n", s->name,
                    networks[network].ports, FEWEST << i, stage, (long long)r->micro_batch,
                    r->again ? "layer" : "light", (long long)r->step_tokens, (double)r->p.peak_bytes / 1e9,
                    r->p.bytes_sent / 1e9, r->p.seconds.compute, r->p.seconds.communication, shown(r),
                    speed(r, FEWEST << i));
        }
}

static void draw(const subject *s, const char *stem, rows all)
{
    static const char *const names[STAGES] = {"stage 0", "stage 1", "stage 2", "stage 3"};
    double x[SIZES], y[STAGES][SIZES];
    chart_line line[STAGES];
    char title[120], path[PATH_BYTES];
    message why;
    int lines = 0;
    for (int stage = 0; stage < STAGES; stage++) {
        bool any = false;
        for (int i = 0; i < SIZES; i++) {
            const row *r = &all[i][stage];
            x[i] = log2(FEWEST << i);
            y[stage][i] = r->micro_batch ? speed(r, FEWEST << i) : (double)NAN;
            any |= r->micro_batch > 0;
        }
        if (any) line[lines++] = (chart_line){names[stage], y[stage]};
    }
    snprintf(title, sizeof title, "%s: tokens/s of a GPU, as planned; %s", s->name, networks[1].name);
    const chart c = {.title = title,
                     .x_name = "GPUs, as a power of 2: 3 is 8, 10 is 1024",
                     .x = x,
                     .points = SIZES,
                     .line = line,
                     .lines = lines};
    snprintf(path, sizeof path, "%s-%s.svg", stem, s->stem);
    good(chart_write(&c, path, &why), &why);
}

/* ---- tensor parallelism -------------------------------------------------------------------------------- */

static int64_t layer_numel(const dims *d)
{
    param_table table;
    param_table_init(&table, d);
    const int64_t numel = table.unit_numel[1];
    param_table_free(&table);
    return numel;
}

/* A layer and a micro-batch of one sequence. Stage 3 gathers the layer's bf16 weights twice and reduces its
 * gradient. Cut by 8, a layer sums rows of the residual stream four times, twice in each pass, over the GPUs
 * of a host; what is sent for such a sum is twice 7/8 of it. */
static void print_tensor_parallel(const subject *s, const dims *d)
{
    message why;
    options o;
    plan_machine m;
    options_init(&o);
    good(options_read_yaml(&o, s->config, &why), &why);
    good(plan_machine_find(&m, "h100", HOST, &why), &why);
    const double T = (double)o.train_seq_len, C = (double)d->C, n = (double)layer_numel(d),
                 flops = model_layer_flops_per_token(d, o.train_seq_len) * T,
                 gradient = o.parallel_reduce_type == OPTION_parallel_reduce_type_bf16 ? 2 : 4,
                 cut = n * (2 * 2 + gradient), sums = 4 * 2 * 7. / 8 * T * C * 2,
                 once = flops / (m.peak * m.share);
    printf("| %s | %.0f | %.2f | %.0f | %.0f | %.1f | %.2f | %.1f |\n", s->name, 1e3 * once, cut / 1e9,
           1e3 * cut / m.across, 1e3 * cut / (m.across / HOST), 1e3 * once / HOST, sums / 1e9,
           1e3 * sums / m.inside);
    options_free(&o);
}

int main(int argc, char **argv)
{
    FILE *csv = argc == 3 ? fopen(argv[1], "w") : NULL;
    if (!csv) die(ERR_USAGE, "usage: scaling CSV STEM");
    static dims shape[SUBJECTS];
    static rows all[NETWORKS];
    message why;
    fprintf(csv,
            "model,ports,gpus,stage,micro_batch,recompute,step_tokens,peak_gb,sent_gb,compute_s,exchange_s,"
            "not_hidden_s,tok_s_gpu\n");
    for (int i = 0; i < SUBJECTS; i++) {
        const subject *s = &subjects[i];
        model_config config;
        good(config_read(&config, s->shape, &why), &why);
        shape[i] = config.d;
        for (int n = 0; n < NETWORKS; n++) {
            for (int size = 0; size < SIZES; size++)
                for (int stage = 0; stage < STAGES; stage++)
                    all[n][size][stage] = best_of(s, &config.d, FEWEST << size, stage, n);
            write_rows(csv, s, n, all[n]);
        }
        print_exchange(s, all[0]);
        for (int n = 0; n < NETWORKS; n++) print_speed(s, networks[n].name, all[n]);
        draw(s, argv[2], all[1]);
        config_free(&config);
    }
    printf("\n| one layer, 4096 tokens | computing, ms | stage 3 sends, GB | ms, 8 ports | ms, 1 port | cut "
           "by 8: computing, "
           "ms | sends, GB | ms |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for (int i = 0; i < SUBJECTS; i++) print_tensor_parallel(&subjects[i], &shape[i]);
    return fclose(csv) ? 3 : 0;
}
