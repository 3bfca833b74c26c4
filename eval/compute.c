/* Opens the device once, and makes a table of ops for each shape. Code below does not ask what it computes
 * on. */
#include "eval/compute.h"
#include "base/device.h"
#include "base/log.h"
#include "base/machine.h"
#include "base/memory.h"
#include <stdlib.h>

static attention_shape shape_of(const dims *d, int64_t B, int64_t T)
{
    const bool mla = d->kind == ATTENTION_MLA;
    /* Values lie behind Dn elements of a head of kv_b's output; everything else starts where heads start. */
    const bool aligned = mla ? d->Dn % 8 == 0 && d->Dv % 8 == 0 && d->Dr % 8 == 0 : d->D % 8 == 0;
    return (attention_shape){.B = B,
                             .T = T,
                             .S = T,
                             .H = d->H,
                             .G = mla ? d->H : d->G,
                             .D = mla ? d->Dn + d->Dr : d->D,
                             .Dv = mla ? d->Dv : d->D,
                             .aligned = aligned};
}

status compute_ops(compute *x, const dims *d, int64_t B, int64_t T, const comm *c, const ops **k,
                   message *why)
{
    *k = ops_cpu_f32();
    if (!x->device) return OK;
    const attention_shape shape = shape_of(d, B, T);
    attention_choice picked;
    message reason;
    const status s = attention_pick(x->attention, x->device, x->act, &shape, &picked, &reason);
    TRY_ALL(c, s == OK ? OK : fail(why, s, "%s", reason.text), why);
    log_line("%s", reason.text);
    x->table = memory_check(realloc(x->table, sizeof *x->table * (size_t)(x->tables + 1)), "%d tables of ops",
                            x->tables + 1);
    *k = x->table[x->tables++] = ops_cuda(x->device, x->act, picked);
    return OK;
}

status compute_open(compute *x, const compute_settings *wanted, const comm *c, message *why)
{
    *x = (compute){.act = F32};
    if (wanted->kind == COMPUTE_CPU) return OK;
    message missing;
    status s = comm_agree(c, device_open(&x->device, c->local_rank, &missing), &missing);
    if (s == OK) {
        x->act = wanted->act;
        x->attention = wanted->attention;
        log_line("device %s | %s", device_text(x->device), dtype_name(x->act));
        return OK;
    }
    device_close(x->device); /* another rank has none */
    x->device = NULL;
    if (wanted->kind == COMPUTE_CUDA) return fail(why, s, "device.kind=cuda: %.900s", missing.text);
    if (s != ERR_USAGE)
        log_line("device the CPU: %s", missing.text); /* a build for CPUs has no need to say so */
    return OK;
}

status compute_start(compute *x, const compute_settings *wanted, const dims *d, int64_t B, int64_t T,
                     const comm *c, const ops **k, message *why)
{
    TRY(compute_open(x, wanted, c, why));
    return compute_ops(x, d, B, T, c, k, why);
}

const comm *compute_ranks(compute *x, const comm *c)
{
    if (!x->device) return c;
    x->ranks = comm_nccl_start(x->device, c);
    return x->ranks;
}

double compute_peak_flops(const compute *x)
{
    return x->device ? device_peak_flops(x->device, x->act == BF16) : machine_peak_flops();
}

void compute_close(compute *x)
{
    if (x->ranks) comm_stop(x->ranks);
    for (int i = 0; i < x->tables; i++) ops_cuda_free(x->table[i]);
    free(x->table);
    device_close(x->device);
    *x = (compute){0};
}
