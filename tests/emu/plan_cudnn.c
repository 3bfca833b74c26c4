/* Makes plans of remla's attention graphs with the real cuDNN, for devices that are not there: cuDNN takes a
 * device's properties as JSON, chooses an engine, compiles its kernel and says how much workspace it wants.
 * It asks for a driver to load the kernel into, and is given fakedriver.c.
 *
 *     plan_cudnn            the graphs that remla relies on, as a table; exit 1 when one has no plan
 *     plan_cudnn all        more lengths, and the backward pass that is used only on request
 *
 * Exits with 77 where cuDNN is missing or not of the version that the table of docs/KERNELS.md was made with:
 * the keys of the JSON are documented nowhere. */
#include "kernels/cuda/attention/attention_graph.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PINNED = 91900, SKIPPED = 77, MIB = 1 << 20 };

/* What such cards are taken to report, as far as cuDNN asks: not read from a card. */
static const struct imagined {
    int capability;
    const char *properties;
} devices[] = {
    {90, "\"deviceName\":\"NVIDIA H100 80GB HBM3\",\"deviceVer\":900,\"multiProcessorCount\":132,"
         "\"smClockRateKHz\":1980000,\"memClockRateKHz\":2619000,\"l2CacheSize\":52428800,"
         "\"totalGlobalMem\":85029158912"},
    {100, "\"deviceName\":\"NVIDIA B200\",\"deviceVer\":1000,\"multiProcessorCount\":148,"
          "\"smClockRateKHz\":1965000,\"memClockRateKHz\":3996000,\"l2CacheSize\":132644864,"
          "\"totalGlobalMem\":191000000000"},
};
static const char common[] =
    "\"maxGridSize\":[2147483647,65535,65535],\"maxBlockSize\":[1024,1024,64],\"regsPerBlock\":65536,"
    "\"warpSize\":32,\"maxSharedMemoryPerBlock\":49152,\"maxSharedMemoryPerBlockOptin\":232448,"
    "\"reservedSharedMemoryPerBlock\":1024,\"maxRegistersPerSM\":65536,\"maxCtasPerSM\":32,"
    "\"maxThreadsPerBlock\":1024,\"maxThreadsPerSM\":2048,\"pciDeviceId\":0,\"isTccDriver\":0,"
    "\"supportCoopLaunch\":1,\"cudaDeviceId\":0,\"driverVer\":13000";

/* As model/mla.c lays them out: values are the end of the rows that hold a head's key and value. */
static attention_layout layout_of(int64_t B, int64_t T, int64_t H, int64_t D, int64_t Dv)
{
    const int64_t together = 128 + Dv;
    return (attention_layout){.B = B,
                              .T = T,
                              .H = H,
                              .D = D,
                              .Dv = Dv,
                              .q = attention_contiguous(T, H, D),
                              .k = attention_contiguous(T, H, D),
                              .v = attention_contiguous(T, H, together),
                              .out = attention_contiguous(T, H, Dv),
                              .lse = {H * T, T, 1},
                              .dout = attention_contiguous(T, H, Dv),
                              .dq = attention_contiguous(T, H, D),
                              .dk = attention_contiguous(T, H, D),
                              .dv = attention_contiguous(T, H, together)};
}

static int failures;

/* A plan that wants more than `most` keeps scores in memory that it should not. */
static void report(int capability, const attention_layout *x, const char *pass, status s, cudnn_plan *plan,
                   int64_t most, const message *why)
{
    printf("| sm_%d | %lld/%lld | %lld | %s | ", capability, (long long)x->D, (long long)x->Dv,
           (long long)x->T, pass);
    if (s == OK) {
        const bool fits = plan->workspace_bytes <= most;
        printf("%lld | %.1f MiB%s |\n", (long long)plan->engine, (double)plan->workspace_bytes / MIB,
               fits ? "" : ": too much");
        failures += !fits;
        cudnn_plan_free(plan);
    } else {
        printf("none: %s | |\n", why->text);
        failures++;
    }
    fflush(stdout);
}

static void plan(const struct imagined *device, int64_t T, int64_t D, int64_t Dv, bool all)
{
    char json[2048];
    snprintf(json, sizeof json, "{%s,%s}", common, device->properties);
    const attention_layout x = layout_of(1, T, 16, D, Dv);
    const int64_t whole = (T + 63) / 64 * 64;
    cudnn_planner p;
    cudnn_plan made;
    message why;
    if (cudnn_planner_imagine(&p, json, &why) != OK) {
        fprintf(stderr, "%s\n", why.text);
        exit(1);
    }
    status s = attention_plan_forward(&made, &p, &x, &why);
    report(device->capability, &x, "forward", s, &made, MIB, &why);
    if (device->capability == 90) {
        s = attention_plan_backward(&made, &p, &x, BACKWARD_REPEATS, &why);
        report(device->capability, &x, "backward", s, &made, whole * whole * 2 * x.H + MIB, &why);
    }
    if (device->capability != 90 || all) {
        s = attention_plan_backward(&made, &p, &x, BACKWARD_RACING, &why);
        report(device->capability, &x, "backward, racing", s, &made, MIB, &why);
    }
    cudnn_planner_close(&p);
}

int main(int count, char **words)
{
    static const int64_t widths[][2] = {{192, 128}, {128, 64}, {96, 64}, {128, 128}};
    const bool all = count > 1 && strcmp(words[1], "all") == 0;
    message why;
    if (cudnn_open(&why) != OK) {
        printf("skipped: %s\n", why.text);
        return SKIPPED;
    }
    if (cudnn_version() != PINNED) {
        printf("skipped: this is cuDNN %lld, the table of docs/KERNELS.md was made with %d\n",
               (long long)cudnn_version(), PINNED);
        return SKIPPED;
    }
    printf("| device | D/Dv | T | pass | engine | workspace, 16 heads |\n"
           "| --- | --- | --- | --- | --- | --- |\n");
    for (size_t d = 0; d < sizeof devices / sizeof *devices; d++)
        for (size_t w = 0; w < sizeof widths / sizeof *widths; w++) {
            plan(&devices[d], 4096, widths[w][0], widths[w][1], all);
            if (all || w == 0) plan(&devices[d], 1000, widths[w][0], widths[w][1], all);
        }
    return failures != 0;
}
