// kernels/cuda/mma.h on the host. Copies are made when they are waited for: until then the destination reads
// as NaN.
#ifndef REMLA_TESTS_EMU_MMA_H
#define REMLA_TESTS_EMU_MMA_H
#include "tests/emu/simt.h"

namespace simt
{
void multiply(place at, float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const float (&c)[4]);
void load_matrices(place at, bool transposed, uint32_t (&r)[4], const void *row);

struct copy {
    void *to;
    const void *from;
    int group;
};
void copy_started(place at, void *to, const void *from);
void copies_committed();
bool copy_due(int newest, copy *c); // takes the oldest copy that is not of the `newest` groups

// The copies themselves are made here, in the kernel's own file, where sanitizers see them.
struct alignas(16) chunk {
    uint32_t word[4];
};
inline void start_copy(place at, void *to, const void *from)
{
    copy_started(at, to, from);
    *(chunk *)to = {{~0u, ~0u, ~0u, ~0u}};
}
template <int NEWEST> void wait_for_copies()
{
    for (copy c; copy_due(NEWEST, &c);) *(chunk *)c.to = *(const chunk *)c.from;
}
inline void load_rows(place at, bool transposed, uint32_t (&r)[4], const void *row)
{
    const volatile uint32_t *word = (const volatile uint32_t *)row;
    for (int i = 0; i < 4; i++) (void)word[i];
    load_matrices(at, transposed, r, row);
}
} // namespace simt

#define mma_m16n8k16(...)      simt::multiply(SIMT_PLACE, __VA_ARGS__)
#define ldmatrix_x4(...)       simt::load_rows(SIMT_PLACE, false, __VA_ARGS__)
#define ldmatrix_x4_trans(...) simt::load_rows(SIMT_PLACE, true, __VA_ARGS__)
#define cp_async16(...)        simt::start_copy(SIMT_PLACE, __VA_ARGS__)
#define cp_async_commit()      simt::copies_committed()
#define cp_async_wait          simt::wait_for_copies

#endif
