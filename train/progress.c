/* Reports a run to its user. FLOPs are counted by the model (model_flops_per_token), the peak is measured
 * or known by what computes (compute_peak_flops); their quotient over the step's seconds is the share of
 * peak. */
#include "train/progress.h"
#include "base/clock.h"
#include "base/device.h"
#include "base/log.h"
#include "base/memory.h"
#include "train/plan_print.h"
#include <string.h>

static void log_source(const training *t, int i)
{
    const dataset *d = &t->data.source[i];
    const double share = (double)t->data.blend.weight[i] / (double)t->data.blend.period;
    log_line("data   %s%s: %lld samples, %.2f %% of each step: %.2f passes", d->shard[0].path,
             d->shards > 1 ? " ..." : "", (long long)d->samples, 100 * share,
             share * (double)(t->steps * t->sequences) / (double)d->samples);
}

/* The name under which there are figures for what it computes on; those of an H100 for a GPU without. */
static const char *planned_device(const compute *x)
{
    if (!x->device) return "cpu";
    return strstr(device_text(x->device), "A100") ? "a100" : "h100";
}

/* What it was planned to take: what was laid out is as large, to the byte. */
static void log_plan(const training *t)
{
    plan_run r = {.o = t->o,
                  .d = &t->m.d,
                  .ranks = t->c->size,
                  .steps = t->steps,
                  .questions = benchmarks_decoder(&t->questions)};
    plan p;
    message ignored; /* there are these */
    plan_machine_find(&r.machine, planned_device(&t->backend), t->c->local_size, &ignored);
    /* What this rank holds already is not free any more, and counts as its own. */
    if (!t->backend.device && r.machine.bytes != INT64_MAX) r.machine.bytes += memory_peak_bytes();
    plan_make(&p, &r);
    plan_print_run(&p, &r);
    if (!t->backend.device && !p.fits)
        log_warning("memory: a rank needs %.2f GB and can get %.2f%s%s", (double)p.peak_bytes / 1e9,
                    (double)r.machine.bytes / 1e9, p.advices ? "; it would fit with " : "",
                    p.advices ? p.advice[0] : "");
}

void progress_start(progress *p, const training *t)
{
    const int64_t T = t->acts.T, tokens = t->sequences * T;
    double peak = compute_peak_flops(&t->backend);
    comm_wait(t->c, comm_sum_f64(t->c, &peak, 1));
    *p = (progress){.peak_flops = peak, .flops_per_step = model_flops_per_token(&t->m.d, T) * (double)tokens};
    log_line("model  %s: %.1fM parameters, %lld layers, %s", t->o->model_path,
             (double)param_table_numel(&t->m.table) / 1e6, (long long)t->m.d.L,
             t->m.d.kind == ATTENTION_MLA ? "MLA" : "GQA");
    log_line("data   %lld samples of %lld tokens a step, %lld steps", (long long)t->sequences, (long long)T,
             (long long)t->steps);
    for (int i = 0; i < t->data.sources; i++) log_source(t, i);
    log_plan(t);
    log_line("peak   %.0f GFLOP/s of all ranks", peak / 1e9);
    progress_pause(p);
}

void progress_pause(progress *p) { p->since = clock_seconds(); }

void progress_step(progress *p, const training *t, const step_result *r, metrics *log)
{
    const double seconds = clock_seconds() - p->since;
    /* The first step touches all memory for the first time, so its time is not that of the others. */
    p->steps++;
    p->step_seconds = p->steps <= 2 ? seconds : 0.9 * p->step_seconds + 0.1 * seconds;
    const double tok_s = (double)(t->sequences * t->acts.T) / seconds;
    char left[24];
    log_line("step %lld/%lld | loss %.4f | norm %.3f | lr %.3g | %.0f tok/s | %.1f%% of peak | %lld MiB | "
             "eta %s%s",
             (long long)t->state.step, (long long)t->steps, r->loss, r->grad_norm, r->rate, tok_s,
             100 * p->flops_per_step / seconds / p->peak_flops, (long long)(memory_peak_bytes() >> 20),
             clock_duration_text(p->step_seconds * (double)(t->steps - t->state.step), left),
             r->skipped ? " | not finite: update skipped" : "");
    const step_metrics row = {.step = t->state.step,
                              .tokens = t->state.tokens,
                              .loss = r->loss,
                              .grad_norm = r->grad_norm,
                              .rate = r->rate,
                              .tok_s = tok_s,
                              .seconds = seconds,
                              .data_wait = r->data_wait};
    metrics_step(log, &row);
}
