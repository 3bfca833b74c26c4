#include "optim/schedule.h"
#include <math.h>

double schedule_rate(const schedule *s, int64_t step)
{
    if (step < s->warmup) return s->rate * (double)step / (double)s->warmup;
    if (step >= s->steps) step = s->steps;
    const int64_t length = s->steps - s->warmup;
    const double progress = length > 0 ? (double)(step - s->warmup) / (double)length : 0; /* warm-up to the very end stays at the peak */
    const double range = s->rate - s->min_rate;
    switch (s->kind) {
    case SCHEDULE_COSINE: return s->min_rate + 0.5 * range * (1 + cos(3.14159265358979323846 * progress));
    case SCHEDULE_LINEAR: return s->rate - range * progress;
    case SCHEDULE_ONE_MINUS_SQRT: return s->rate - range * sqrt(progress);
    case SCHEDULE_CONSTANT: break;
    }
    return s->rate;
}
