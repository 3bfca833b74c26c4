/* Converts between float and 16-bit floats on the host, by bits, so that no compiler flag changes a result:
 *
 *     float   s eeeeeeee mmmmmmmmmmmmmmmmmmmmmmm
 *     bf16    s eeeeeeee mmmmmmm                     the upper half of the float, rounded
 *     f16     s eeeee mmmmmmmmmm                     _Float16, smaller range: 65504 at most
 *
 * Numbers beyond the range would become infinite; the functions report the first such element. */
#include "model/hf/halves.h"
#include <string.h>

enum { CHUNK = 1 << 12 };

void halves_widen(float *out, const uint16_t *half, int64_t count, dtype type)
{
    if (type == F16) {
        for (int64_t i = 0; i < count; i++) {
            _Float16 value;
            memcpy(&value, &half[i], sizeof value);
            out[i] = (float)value;
        }
    } else {
        for (int64_t i = 0; i < count; i++) {
            const uint32_t bits = (uint32_t)half[i] << 16;
            memcpy(&out[i], &bits, sizeof bits);
        }
    }
}

static uint16_t to_f16(float x)
{
    const _Float16 value = (_Float16)x; /* rounds to nearest even, in hardware or in libgcc */
    uint16_t half;
    memcpy(&half, &value, sizeof half);
    return half;
}

static uint16_t to_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

int64_t halves_narrow(uint16_t *half, const float *data, int64_t count, dtype type)
{
    const uint16_t infinite = type == F16 ? 0x7c00 : 0x7f80;
    int64_t bad = -1;
    for (int64_t i = count - 1; i >= 0; i--) {
        half[i] = type == F16 ? to_f16(data[i]) : to_bf16(data[i]);
        if ((half[i] & 0x7fff) == infinite) bad = i;
    }
    return bad;
}

int64_t halves_round(float *data, int64_t count, dtype type)
{
    if (type == F32) return -1;
    uint16_t half[CHUNK];
    for (int64_t done = 0; done < count; done += CHUNK) {
        const int64_t part = count - done < CHUNK ? count - done : CHUNK;
        const int64_t large = halves_narrow(half, data + done, part, type);
        if (large >= 0) return done + large;
        halves_widen(data + done, half, part, type);
    }
    return -1;
}
