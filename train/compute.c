#include "train/compute.h"
#include "base/device.h"
#include "base/log.h"
#include "base/machine.h"

enum { KIND_CPU, KIND_CUDA, KIND_AUTO }; /* the words of device.kind */

static attention_shape shape_of(const dims *d, int64_t B, int64_t T)
{
    const bool mla = d->kind == ATTENTION_MLA;
    /* Values lie behind Dn elements of a head of kv_b's output; everything else starts where heads start. */
    const bool aligned = mla ? d->Dn % 8 == 0 && d->Dv % 8 == 0 && d->Dr % 8 == 0 : d->D % 8 == 0;
    return (attention_shape){.B = B,
                             .T = T,
                             .H = d->H,
                             .G = mla ? d->H : d->G,
                             .D = mla ? d->Dn + d->Dr : d->D,
                             .Dv = mla ? d->Dv : d->D,
                             .aligned = aligned};
}

static status cuda_open(compute *x, const options *o, const attention_shape *shape, const comm *c,
                        message *why)
{
    static const attention_choice choices[] = {ATTENTION_AUTO, ATTENTION_CUDNN, ATTENTION_FLASH,
                                               ATTENTION_UNFUSED}; /* the words of device.attention */
    const dtype act = o->device_storage == 0 ? BF16 : F32;
    attention_choice picked;
    message how;
    const status s = attention_pick(choices[o->device_attention], x->device, act, shape, &picked, &how);
    TRY(comm_agree(c, s == OK ? OK : fail(why, s, "%s", how.text), why));
    log_line("device %s | %s", device_text(x->device), dtype_name(act));
    log_line("%s", how.text);
    x->k = x->cuda = ops_cuda(x->device, act, picked);
    return OK;
}

status compute_open(compute *x, const options *o, const dims *d, int64_t B, int64_t T, const comm *c,
                    message *why)
{
    *x = (compute){.k = ops_cpu_f32()};
    if (o->device_kind == KIND_CPU) return OK;
    message missing;
    status s = comm_agree(c, device_open(&x->device, c->local_rank, &missing), &missing);
    if (s == OK) {
        const attention_shape shape = shape_of(d, B, T);
        s = cuda_open(x, o, &shape, c, why);
        if (s != OK) compute_close(x);
        return s;
    }
    compute_close(x); /* another rank has none */
    x->k = ops_cpu_f32();
    if (o->device_kind == KIND_CUDA) return fail(why, s, "device.kind=cuda: %.900s", missing.text);
    if (s != ERR_USAGE)
        log_line("device the CPU: %s", missing.text); /* a build for CPUs has no need to say so */
    return OK;
}

const comm *compute_ranks(compute *x, const comm *c)
{
    if (!x->device) return c;
    x->ranks = comm_nccl_start(x->device, c);
    return x->ranks;
}

double compute_peak_flops(const compute *x)
{
    return x->device ? device_peak_flops(x->device, x->k->act == BF16) : machine_peak_flops();
}

void compute_close(compute *x)
{
    if (x->ranks) comm_stop(x->ranks);
    if (x->cuda) ops_cuda_free(x->cuda);
    device_close(x->device);
    *x = (compute){0};
}
