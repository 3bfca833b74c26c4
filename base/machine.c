/* The machine that the kernels run on: how many cores this process may use, which instructions the CPU has,
 * and its peak rate, measured. */
#include "base/machine.h"
#include <omp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#ifdef __SSE__
#include <immintrin.h>
#endif

static char cpu[128] = "unknown CPU";
static char text[256] = "unknown machine";

/* Counts the cores that a process may run on (process 0: this one); 0 when unknown. */
static int cores_allowed(pid_t process)
{
    /* Large enough for 8192 cores: the kernel refuses a set that is too small for the machine. */
    cpu_set_t sets[8];
    memset(sets, 0, sizeof sets);
    return sched_getaffinity(process, sizeof sets, sets) == 0 ? CPU_COUNT_S(sizeof sets, sets) : 0;
}

/* Returns an even share of the launcher's cores, but never more than this rank is bound to. That is right
 * whether ranks are unbound, bound to cores of their own, or bound several together to a socket. The parent
 * process shows the launcher's cores, which in a container or a batch job are fewer than the machine's. */
static int cores_share(int local_rank, int local_size)
{
    const int own = cores_allowed(0), parent = cores_allowed(getppid());
    const int all = parent > own ? parent : own;
    int share = all / local_size + (local_rank < all % local_size);
    if (share > own) share = own;
    return share > 1 ? share : 1;
}

static void read_cpu_name(void)
{
    FILE *file = fopen("/proc/cpuinfo", "r");
    if (!file) return;
    char line[256];
    while (fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon) continue;
        line[strcspn(line, "\n")] = 0;
        snprintf(cpu, sizeof cpu, "%s", colon[1] == ' ' ? colon + 2 : colon + 1);
        break;
    }
    fclose(file);
}

#ifdef __x86_64__
/* Returns the first instruction set that this program was compiled for and the CPU does not have, or NULL. */
static const char *missing_instructions(void)
{
#ifdef __AVX2__
    if (!__builtin_cpu_supports("avx2")) return "avx2";
#endif
#ifdef __FMA__
    if (!__builtin_cpu_supports("fma")) return "fma";
#endif
#ifdef __AVX512F__
    if (!__builtin_cpu_supports("avx512f")) return "avx512f";
#endif
#ifdef __AVX512VL__
    if (!__builtin_cpu_supports("avx512vl")) return "avx512vl";
#endif
#ifdef __AVX512BW__
    if (!__builtin_cpu_supports("avx512bw")) return "avx512bw";
#endif
#ifdef __AVX512DQ__
    if (!__builtin_cpu_supports("avx512dq")) return "avx512dq";
#endif
#ifdef __AVX512BF16__
    if (!__builtin_cpu_supports("avx512bf16")) return "avx512_bf16";
#endif
    return NULL;
}

static const char *cpu_features(void)
{
    if (!__builtin_cpu_supports("avx512f")) return __builtin_cpu_supports("avx2") ? "avx2" : "sse2";
    return __builtin_cpu_supports("avx512bf16") ? "avx512f avx512_bf16" : "avx512f";
}
#else
static const char *missing_instructions(void) { return NULL; }
static const char *cpu_features(void) { return "no vector instructions known"; }
#endif

/* Denormals cost a hundred times as much as normal numbers and are negligible in a model. Threads that start
 * later inherit the mode. */
static void flush_denormals(void)
{
#ifdef __SSE__
#pragma omp parallel
    _mm_setcsr(_mm_getcsr() | 0x8040); /* flush to zero, denormals are zero */
#endif
}

status machine_start(int local_rank, int local_size, message *why)
{
    read_cpu_name();
    const char *missing = missing_instructions();
    if (missing)
        return fail(why, ERR_INPUT,
                    "this program was compiled for %s, which the CPU here (%s) does not have; build it with "
                    "-DREMLA_MARCH=x86-64-v3 or on this machine",
                    missing, cpu);
    if (!getenv("OMP_NUM_THREADS")) omp_set_num_threads(cores_share(local_rank, local_size));
    flush_denormals();
    snprintf(text, sizeof text, "%s: %d threads on %ld cores, %s", cpu, machine_threads(),
             sysconf(_SC_NPROCESSORS_ONLN), cpu_features());
    return OK;
}

int machine_threads(void) { return omp_get_max_threads(); }

const char *machine_text(void) { return text; }
const char *machine_cpu(void) { return cpu; }

/* Two fused multiply-adds may start in a cycle and each takes four or five, so that ten independent sums keep
 * the units busy; twelve sums and two factors still fit the 16 registers of AVX2. */
enum { PEAK_SUMS = 12, PEAK_TURNS = 1 << 17, PEAK_TRIES = 80 };
#ifdef __AVX512F__
typedef float lanes __attribute__((vector_size(64)));
#else
typedef float lanes __attribute__((vector_size(32)));
#endif

/* Tells the compiler that `x` has just been read and changed: work on it can neither be dropped nor moved
 * past here. */
#define OPAQUE(x) __asm__ volatile("" : "+m"(x) : : "memory")

static void multiply_add(void)
{
    lanes sum[PEAK_SUMS] = {{0}}, factor = {0}, addend = {0};
    factor += 0.999f;
    addend += 0.001f;
    OPAQUE(sum);
    OPAQUE(factor);
    OPAQUE(addend);
    for (int turn = 0; turn < PEAK_TURNS; turn++) {
#pragma GCC unroll 12
        for (int i = 0; i < PEAK_SUMS; i++) sum[i] = sum[i] * factor + addend;
    }
    OPAQUE(sum);
}

/* Threads start each try together, so that two on one core share its units; each is timed by its own clock,
 * so that a busy machine spoils single tries only. */
double machine_peak_flops(void)
{
    static double peak;
    if (peak > 0) return peak;
    const double flops = 2.0 * (sizeof(lanes) / sizeof(float)) * PEAK_SUMS * PEAK_TURNS;
    double sum = 0;
#pragma omp parallel reduction(+ : sum)
    {
        double best = 0;
        for (int try = 0; try < PEAK_TRIES; try++) {
#pragma omp barrier
            const double start = omp_get_wtime();
            multiply_add();
            const double rate = flops / (omp_get_wtime() - start);
            if (rate > best) best = rate;
        }
        sum += best;
    }
    peak = sum;
    return peak;
}
