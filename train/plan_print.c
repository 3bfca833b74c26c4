/* Prints a plan: numbers in GB (1e9 bytes), as disks and GPUs are sold, and what stands behind each time. */
#include "train/plan_print.h"
#include "base/clock.h"
#include "base/json_text.h"
#include "base/log.h"
#include <jansson.h>
#include <stdio.h>

#define GB 1e9

/* ---- for people ---------------------------------------------------------------------------------------- */

static void print_row(const char *name, int64_t bytes, const char *what)
{
    log_line("       %-13s %9.3f  %s", name, (double)bytes / GB, what);
}

static void print_memory(const plan *p, const plan_run *r)
{
    const plan_bytes *b = &p->bytes;
    log_line("memory GB of each rank");
    print_row("weights", b->weights, "that passes read");
    print_row("gradients", b->gradients, "sums over micro-batches");
    print_row("states", b->states, r->machine.gpu ? "moments and masters" : "moments");
    print_row("activations", b->activations, "that layers keep for backward");
    print_row("scratch", b->scratch, "of a layer, logits, the batch");
    print_row("communication", b->communication, "units that are whole only in use");
    print_row("library", b->library, "driver and libraries");
    print_row("peak", p->peak_bytes, p->peak_at);
    if (p->host_bytes) print_row("on the host", p->host_bytes, "moments and masters");
}

static void print_fit(const plan *p, const plan_run *r)
{
    const double left = (double)(r->machine.bytes - p->peak_bytes) / GB;
    if (r->machine.bytes == INT64_MAX)
        log_line("fits   not known: this machine does not say how much memory is free");
    else if (p->fits)
        log_line("fits   yes: %.1f of %.1f GB are left", left, (double)r->machine.bytes / GB);
    else
        log_line("fits   no: a rank has %.1f GB, %.1f too few", (double)r->machine.bytes / GB, -left);
    for (int i = 0; i < p->advices; i++) log_line("       it would with %s", p->advice[i]);
    if (!p->fits && !p->advices) log_line("       no setting helps: it takes more ranks, or a smaller model");
}

static void print_time(const plan *p, const plan_run *r)
{
    const plan_machine *m = &r->machine;
    const plan_seconds *s = &p->seconds;
    const double step = plan_step_seconds(p);
    char time[24];
    if (r->steps < 0)
        log_line("steps  not known: set train.steps, or let data.train name shards that are there");
    else
        log_line("steps  %lld of %lld tokens, %.4g tokens in all", (long long)r->steps,
                 (long long)r->o->train_batch_tokens, (double)r->steps * (double)r->o->train_batch_tokens);
    log_line("time   %.3g s a step: %.4g TFLOP at %.0f %% of %.4g TFLOP/s a rank take %.3g%s", step,
             p->flops_per_step / 1e12, 100 * m->share, plan_peak_flops(r) / 1e12, s->compute,
             r->o->train_recompute == OPTION_train_recompute_layer ? ", the layers' forward twice" : "");
    if (r->ranks > 1)
        log_line("       exchange %.3g s, of which %.3g hide beside computing: %.4g GB that a rank sends at "
                 "%.0f GB/s",
                 s->communication, s->hidden, p->bytes_sent / GB, plan_bandwidth(r) / GB);
    if (s->offload > 0)
        log_line("       states to the host and back %.3g s at %.0f GB/s", s->offload, m->host / GB);
    if (r->steps >= 0)
        log_line("       %s in all, without validation and checkpoints",
                 clock_duration_text(step * (double)r->steps, time));
}

static void print_disk(const plan *p, const plan_run *r)
{
    const plan_machine *m = &r->machine;
    log_line("disk   %.4g GB a checkpoint, %.4g GB for the %d that there are at a time",
             (double)p->checkpoint_bytes / GB, (double)p->total_bytes / GB, p->checkpoints);
    log_line("       %.4g GB of the host's memory on each rank for the copy of one while it is written",
             (double)p->copy_bytes / GB);
    if (m->gpu && !p->host_bytes)
        log_line("       training stands still for %.2g s of each, while it is copied at %.0f GB/s",
                 (double)p->copy_bytes / m->host, m->host / GB);
}

void plan_print(const plan *p, const plan_run *r)
{
    print_memory(p, r);
    if (r->o->optim_offload && !r->machine.gpu)
        log_line("       optim.offload: states are in the host's memory anyway");
    print_fit(p, r);
    print_time(p, r);
    print_disk(p, r);
}

void plan_print_run(const plan *p, const plan_run *r)
{
    print_memory(p, r);
    if (r->ranks > 1)
        log_line("ranks  parallel.zero=%lld: each sends %.4g GB a step", (long long)r->o->parallel_zero,
                 p->bytes_sent / GB);
    print_disk(p, r);
}

/* ---- for programs -------------------------------------------------------------------------------------- */

static json_t *bytes_json(const plan_bytes *b)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "weights", (json_int_t)b->weights, "gradients",
                     (json_int_t)b->gradients, "states", (json_int_t)b->states, "activations",
                     (json_int_t)b->activations, "scratch", (json_int_t)b->scratch, "communication",
                     (json_int_t)b->communication, "library", (json_int_t)b->library);
}

static json_t *advice_json(const plan *p)
{
    json_t *list = json_array();
    for (int i = 0; i < p->advices; i++) json_array_append_new(list, json_string(p->advice[i]));
    return list;
}

/* null where the number is not known. */
static json_t *whole(int64_t number, bool known) { return known ? json_integer(number) : json_null(); }
static json_t *real(double number, bool known) { return known ? json_real(number) : json_null(); }

void plan_print_json(const plan *p, const plan_run *r)
{
    const plan_seconds *s = &p->seconds;
    const bool steps = r->steps >= 0;
    json_t *json = json_pack(
        "{s:i, s:s, s:I, s:o, s:I, s:s, s:o, s:b, s:I, s:I, s:{s:I, s:I}, s:I, s:o, s:o, s:o, s:f, s:f, s:f, "
        "s:{s:f, s:f, s:f, s:f}, s:o}",
        "ranks", r->ranks, "device", r->machine.name, "zero", (json_int_t)r->o->parallel_zero, "bytes",
        bytes_json(&p->bytes), "peak_bytes", (json_int_t)p->peak_bytes, "peak_at", p->peak_at, "device_bytes",
        whole(r->machine.bytes, r->machine.bytes != INT64_MAX), "fits", p->fits, "host_bytes",
        (json_int_t)p->host_bytes, "copy_bytes", (json_int_t)p->copy_bytes, "disk", "checkpoint_bytes",
        (json_int_t)p->checkpoint_bytes, "total_bytes", (json_int_t)p->total_bytes, "parameters",
        (json_int_t)p->parameters, "tokens", whole(r->steps * r->o->train_batch_tokens, steps), "steps",
        whole(r->steps, steps), "hours", real(plan_step_seconds(p) * (double)r->steps / 3600, steps),
        "flops_per_step", p->flops_per_step, "share_of_peak", r->machine.share, "bytes_sent_per_step",
        p->bytes_sent, "seconds", "compute", s->compute, "communication", s->communication, "hidden",
        s->hidden, "offload", s->offload, "advice", advice_json(p));
    json_text_print(json, JSON_REAL_PRECISION(9));
}
