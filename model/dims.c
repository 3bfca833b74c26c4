/* What follows from the shape alone: rotary frequencies, the size of a cache, the longest sequence. */
#include "model/dims.h"
#include <math.h>

/* Llama 3: wavelengths above original/low are stretched by `factor`, those below original/high are left
 * alone, and between the two the frequency goes linearly from the one to the other. */
static double llama3_scaled(const rope_settings *r, double frequency)
{
    const double wavelength = 2 * M_PI / frequency, original = r->original_max_position;
    if (wavelength > original / r->low_freq_factor) return frequency / r->factor;
    if (wavelength < original / r->high_freq_factor) return frequency;
    const double keep =
        (original / wavelength - r->low_freq_factor) / (r->high_freq_factor - r->low_freq_factor);
    return (1 - keep) * frequency / r->factor + keep * frequency;
}

void rope_frequencies(const rope_settings *r, int64_t width, double *inverse_frequency)
{
    for (int64_t i = 0; i < width / 2; i++) {
        const double frequency = 1.0 / pow(r->theta, (double)(2 * i) / (double)width);
        inverse_frequency[i] = r->llama3 ? llama3_scaled(r, frequency) : frequency;
    }
}

int64_t kv_bytes_per_token(const dims *d)
{
    const int64_t elements = d->kind == ATTENTION_MLA ? d->R + d->Dr : 2 * d->G * d->D;
    return 2 * elements * d->L;
}

status dims_check_length(const dims *d, const char *key, int64_t T, message *why)
{
    if (!d->window || T <= d->window) return OK;
    return fail(why, ERR_USAGE,
                "%s=%lld is longer than the model's sliding_window of %lld: windows with a sliding mask are "
                "not supported",
                key, (long long)T, (long long)d->window);
}
