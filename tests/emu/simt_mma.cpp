// The instructions of kernels/cuda/mma.h. How operands lie over the lanes is said there.
#include "tests/emu/simt_run.h"
#include <algorithm>

namespace simt
{

enum { WARP = 32 };

static float half_of(uint32_t pair, int high)
{
    return __uint_as_float(high ? pair & 0xffff0000u : pair << 16);
}

typedef float row __attribute__((vector_size(32)));

void multiply(place at, float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2], const float (&c)[4])
{
    struct operands {
        uint32_t a[4], b[2];
        float c[4];
        place at;
    } mine;
    mine.at = at;
    std::copy(a, a + 4, mine.a);
    std::copy(b, b + 2, mine.b);
    std::copy(c, c + 4, mine.c);
    const auto combine = [](void *const(&data)[WARP], unsigned lanes) {
        if (lanes != ~0u)
            wrong(((operands *)data[__builtin_ctz(lanes)])->at, "mma: not all lanes of the warp are left");
        float left[16][16];
        row right[16], sum[16];
        for (int l = 0; l < WARP; l++) {
            const operands *o = (const operands *)data[l];
            const int m = l / 4, n = 2 * (l % 4);
            for (int high = 0; high < 2; high++) {
                for (int i = 0; i < 4; i++)
                    left[m + i % 2 * 8][n + high + i / 2 * 8] = half_of(o->a[i], high);
                for (int i = 0; i < 2; i++) right[n + high + i * 8][m] = half_of(o->b[i], high);
            }
        }
        for (int m = 0; m < 16; m += 4) { // four rows at a time: their sums do not wait for each other
            row four[4] = {};
            for (int k = 0; k < 16; k++)
                for (int i = 0; i < 4; i++) four[i] += left[m + i][k] * right[k];
            std::copy(four, four + 4, sum + m);
        }
        for (int l = 0; l < WARP; l++)
            for (int i = 0; i < 4; i++)
                ((operands *)data[l])->c[i] += sum[l / 4 + i / 2 * 8][2 * (l % 4) + i % 2];
    };
    together(~0u, combine, &mine, at);
    std::copy(mine.c, mine.c + 4, d);
}

void load_matrices(place at, bool transposed, uint32_t (&r)[4], const void *row)
{
    struct rows {
        const void *row;
        uint32_t r[4];
        bool transposed;
        place at;
    } mine = {row, {}, transposed, at};
    if ((uintptr_t)row % 16 != 0) wrong(at, "ldmatrix: the row is not aligned to 16 bytes");
    if (!in_shared(row, 16)) wrong(at, "ldmatrix: the row is not in shared memory");
    const auto combine = [](void *const(&data)[WARP], unsigned lanes) {
        if (lanes != ~0u)
            wrong(((rows *)data[__builtin_ctz(lanes)])->at, "ldmatrix: not all lanes of the warp are left");
        for (int i = 0; i < 4; i++) {
            uint16_t matrix[8][8];
            for (int j = 0; j < 8; j++) memcpy(matrix[j], ((const rows *)data[8 * i + j])->row, 16);
            for (int l = 0; l < WARP; l++) {
                rows *x = (rows *)data[l];
                const int m = l / 4, n = 2 * (l % 4);
                x->r[i] = x->transposed ? matrix[n][m] | (uint32_t)matrix[n + 1][m] << 16
                                        : matrix[m][n] | (uint32_t)matrix[m][n + 1] << 16;
            }
        }
    };
    together(~0u, combine, &mine, at);
    std::copy(mine.r, mine.r + 4, r);
}

void copy_started(place at, void *to, const void *from)
{
    if (((uintptr_t)to | (uintptr_t)from) % 16 != 0)
        wrong(at, "cp.async: an address is not aligned to 16 bytes");
    if (!in_shared(to, 16)) wrong(at, "cp.async: the destination is not in shared memory");
    if (in_shared(from, 1)) wrong(at, "cp.async: the source is shared memory");
    copy_queue &q = my_copies();
    q.copies.push_back({to, from, q.group});
}

void copies_committed() { my_copies().group++; }

bool copy_due(int newest, copy *c)
{
    copy_queue &q = my_copies();
    if (q.first == q.copies.size() || q.copies[q.first].group >= q.group - newest) return false;
    *c = q.copies[q.first++];
    if (q.first == q.copies.size()) q.copies.clear(), q.first = 0;
    return true;
}

} // namespace simt
