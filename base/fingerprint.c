/* A loop that the compiler vectorises: nothing in it depends on the element before. */
#include "base/fingerprint.h"
#include "base/splitmix.h"
#include <string.h>

uint64_t fingerprint_f32(const float *x, int64_t count, int64_t first)
{
    uint64_t sum = 0;
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, x + i, sizeof bits);
        sum += splitmix(bits, (uint64_t)(first + i));
    }
    return sum;
}
