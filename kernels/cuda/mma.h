/* Private to kernels/: the instructions of sm_80 for tiles that C++ has no name for: products of matrices by
 * a warp, the loads that lay out their operands, and copies to shared memory that go on while the thread
 * does. All lanes of a warp take part in mma_ and ldmatrix_. Lane l holds, with row l/4 and column 2*(l%4):
 *
 *     a[0..3]  16 x 16, row-major: pairs of columns at
 *              (row, column), (row+8, column), (row, column+8), (row+8, column+8)
 *     b[0..1]  16 x 8: pairs of rows at (2*(l%4), l/4), (2*(l%4)+8, l/4)
 *     c[0..3]  16 x 8, float: (row, column), (row, column+1), (row+8, column), (row+8, column+1)
 *
 * ldmatrix reads four 8 x 8 matrices of 16-bit elements: lane 8*i+r passes the address of row r of matrix i,
 * aligned to 16 bytes, and gets in r[i] the pair of columns at (row, column) of matrix i; _trans: of its
 * transpose. */
#ifndef REMLA_KERNELS_CUDA_MMA_H
#define REMLA_KERNELS_CUDA_MMA_H
#include "base/cuda/simt.h"
#ifdef __CUDACC__
#include <stdint.h>

static __device__ __forceinline__ uint32_t shared_address(const void *p)
{
    return (uint32_t)__cvta_generic_to_shared(p);
}

/* d = a b + c, of bf16, added up in float. */
static __device__ __forceinline__ void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4],
                                                    const uint32_t (&b)[2], const float (&c)[4])
{
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
                 "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%10,%11,%12,%13};"
                 : "=f"(d[0]), "=f"(d[1]), "=f"(d[2]), "=f"(d[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]), "f"(c[0]), "f"(c[1]),
                   "f"(c[2]), "f"(c[3]));
}

static __device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

static __device__ __forceinline__ void ldmatrix_x4_trans(uint32_t (&r)[4], const void *row)
{
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(row))
                 : "memory");
}

/* Starts a copy of 16 bytes, aligned to 16, from global to shared memory, past the first-level cache. */
static __device__ __forceinline__ void cp_async16(void *to, const void *from)
{
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(shared_address(to)), "l"(from) : "memory");
}
/* Makes a group of the copies that this thread has started since its last commit. */
static __device__ __forceinline__ void cp_async_commit()
{
    asm volatile("cp.async.commit_group;" ::: "memory");
}
/* Waits until all groups of this thread but the N newest have arrived; a barrier then tells the others. */
template <int N> static __device__ __forceinline__ void cp_async_wait()
{
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}
#endif
#endif
