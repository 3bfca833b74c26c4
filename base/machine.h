/* The machine that the kernels run on. */
#ifndef REMLA_BASE_MACHINE_H
#define REMLA_BASE_MACHINE_H
#include "base/status.h"

/* Gives this process its share of the cores: those it may run on, divided by the ranks on this host (a
 * launcher that binds ranks to different cores has divided already). OMP_NUM_THREADS, when set, is obeyed.
 * Denormals are flushed to zero on every thread. ERR_INPUT when the CPU does not have the instructions that
 * this program was compiled for. */
status machine_start(int local_rank, int local_size, message *why);
int machine_threads(void);

/* "AMD EPYC: 2 threads on 2 cores, avx512f avx512_bf16" - the line that every command prints at start.
 * Borrowed. */
const char *machine_text(void);

/* The processor's name. Borrowed. */
const char *machine_cpu(void);

/* Returns the rate of fused multiply-adds in registers, all threads, in FLOP/s: the "peak" of which the log
 * prints a share. Measured once, for about 50 ms; the best of several tries. */
double machine_peak_flops(void);

#endif
