/* Figures of devices. Nothing of remla has been timed on a GPU: shares of peak and bandwidths are what others
 * have measured, and what follows from it for this program's kernels. A plan prints those it has used. */
#include "train/plan_machine.h"
#include "base/machine.h"
#include "base/memory_available.h"
#include <string.h>

#define GIB INT64_C(1073741824)
#define MB  INT64_C(1000000)

/* Memory: what CUDA reports (79.1 GiB for both). Libraries: 0.8 GB of context with the kernels' code, 0.7 of
 * cuDNN and cuBLAS with their workspaces; NCCL 1 GB with eight ranks.
 * Peak: dense bf16 on tensor cores and f32 beside them, of NVIDIA's data sheets (SXM).
 * Share: estimates, kernel by kernel. H100: products at two thirds of peak, attention by cuDNN. A100:
 * products at four fifths, attention by the project's own kernels. Bandwidth inside a host: what NCCL's rings
 * reach over NVLink (450 and 300 GB/s each way by the data sheet). Across: with a port of 400 Gb/s (200 for
 * the A100) for each GPU a ring reaches 46 to 48 GB/s a port (nccl-tests, issue 290), and DGX A100 has
 * measured 192 GB/s (nccl, issue 1576); a host with fewer ports has less in proportion. To the host: PCIe 5
 * x16 and 4 x16. Seconds of a call and of the steps of a ring: NCCL's own figures, by which it picks its
 * algorithms (ring, Simple; src/graph/tuning.cc). */
static const plan_machine machines[] = {
    {.name = "h100",
     .gpu = true,
     .bytes = 79 * GIB + GIB / 10,
     .library = 1500 * MB,
     .library_ranks = 1000 * MB,
     .peak = 989.4e12,
     .peak_f32 = 66.9e12,
     .share = 0.50,
     .host_ranks = 8,
     .inside = 330e9,
     .across = 330e9,
     .host = 50e9,
     .call = 8.4e-6,
     .step_inside = 3.4e-6,
     .step_across = 14e-6},
    {.name = "a100",
     .gpu = true,
     .bytes = 79 * GIB + GIB / 10,
     .library = 1500 * MB,
     .library_ranks = 1000 * MB,
     .peak = 312e12,
     .peak_f32 = 19.5e12,
     .share = 0.55,
     .host_ranks = 8,
     .inside = 230e9,
     .across = 190e9,
     .host = 24e9,
     .call = 8.4e-6,
     .step_inside = 3.4e-6,
     .step_across = 14e-6},
};
enum { MACHINES = sizeof machines / sizeof *machines };

/* Program and libraries: measured, with a tiny model 25 MB alone and 34 over MPI, with one of 167
 * million parameters 7 MB more, which oneDNN and OpenBLAS work in. The share is that of bench/results; the
 * bandwidth is a round number. */
static const plan_machine cpu = {
    .name = "cpu", .library = 30 * MB, .library_ranks = 12 * MB, .share = 0.75, .inside = 1e9, .across = 1e9};

static void share_machine(plan_machine *m, int ranks)
{
    const int64_t available = memory_available_bytes();
    *m = cpu;
    m->bytes = available == INT64_MAX ? available : available / ranks;
    m->peak = m->peak_f32 = machine_peak_flops() / ranks;
    m->host_ranks = ranks;
}

status plan_machine_find(plan_machine *m, const char *name, int ranks, message *why)
{
    if (!strcmp(name, cpu.name)) {
        share_machine(m, ranks);
        return OK;
    }
    for (int i = 0; i < MACHINES; i++) {
        if (strcmp(name, machines[i].name) != 0) continue;
        *m = machines[i];
        return OK;
    }
    return fail(why, ERR_USAGE, "there is no device %.100s to plan for: there are h100, a100 and cpu", name);
}
