/* Which libraries the ops compute with, as these say themselves. Texts live as long as the program. */
#ifndef REMLA_KERNELS_VERSIONS_H
#define REMLA_KERNELS_VERSIONS_H
#include <stdint.h>

typedef struct blas_versions {
    char onednn[32];          /* "2.6.3" */
    const char *onednn_isa;   /* the instructions by which it picks its code: "avx512_core", "avx2" */
    char openblas[32];        /* "0.3.21" */
    const char *openblas_cpu; /* the processor whose code it has picked: "SkylakeX" */
} blas_versions;
void blas_versions_read(blas_versions *v);

/* The libraries of a GPU: 130401 is cuBLAS 13.4.1, 91900 is cuDNN 9.19.0. Opens them if they are not open
 * yet; 0: it is not there, or this program was built without CUDA. */
int64_t gpu_cublas_version(void);
int64_t gpu_cudnn_version(void);

#endif
