/* Says what a conversion takes before it starts, and refuses one that does not fit. Memory is computed from
 * shapes (model/convert/cost.c); time from operations and this machine's peak. */
#include "train/conversion/plan.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory_available.h"
#include "base/machine.h"

/* Shares of the peak that single and double precision reach here; doubles are half as many to a register. */
#define SHARE_F32 0.6
#define SHARE_F64 0.2

#define GIB ((double)(1 << 30))

static void print_plan(const layers_job *job, const layers_plan *p, int64_t available)
{
    const double peak = machine_peak_flops();
    char time[24];
    log_line("text   %lld windows of %lld tokens to calibrate on, %lld held out",
             (long long)job->text->sequences, (long long)job->text->T, (long long)job->held_out->sequences);
    log_line(
        "memory %.2f GiB a rank: program, layers, embedding and head %.2f, rows of the text %.2f, linear "
        "algebra %.2f",
        (double)layers_plan_bytes(p) / GIB, (double)p->weight_bytes / GIB, (double)p->text_bytes / GIB,
        (double)p->solve_bytes / GIB);
    if (available != INT64_MAX) log_line("       %.2f GiB are free here", (double)available / GIB);
    log_line("time   about %s on these %d threads a rank",
             clock_duration_text(p->flops_f32 / (SHARE_F32 * peak) + p->flops_f64 / (SHARE_F64 * peak), time),
             machine_threads());
}

static status check_memory(const layers_job *job, const layers_plan *p, int64_t available, message *why)
{
    const int here = job->c->local_size;
    if (layers_plan_bytes(p) <= available / here) return OK;
    const bool text = layers_plan_bytes(p) - p->text_bytes <= available / here;
    return fail(
        why, ERR_USAGE,
        "this conversion needs %.2f GiB of memory on each of %d ranks of this machine, which has %.2f "
        "GiB free: %s",
        (double)layers_plan_bytes(p) / GIB, here, (double)available / GIB,
        !text ? "that is too much for this model with any text: use a larger machine, or fewer ranks on it"
        : job->held_out->sequences
            ? "lower calib.tokens or val.tokens, which are all of the text where they are not set"
            : "lower calib.tokens, which is all of the text where it is not set");
}

status conversion_plan(const layers_job *job, bool plan_only, message *why)
{
    const layers_plan p = layers_plan_of(job);
    const int64_t available = memory_available_bytes();
    print_plan(job, &p, available);
    return comm_agree(job->c, plan_only ? OK : check_memory(job, &p, available, why), why);
}
