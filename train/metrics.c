#include "train/metrics.h"
#include "base/file.h"
#include "base/log.h"
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { METRICS_LIMIT = 1 << 30 };

/* The number of bytes of `text` in lines that belong to steps up to `step`. A last line without an end was
 * being written when the run was killed; it goes too. */
static int64_t bytes_to_keep(const char *text, int64_t bytes, int64_t step)
{
    int64_t keep = 0;
    while (keep < bytes) {
        const char *end = memchr(text + keep, '\n', (size_t)(bytes - keep));
        if (!end) break;
        json_t *line = json_loadb(text + keep, (size_t)(end - text - keep), 0, NULL);
        const json_t *at = json_object_get(line, "step");
        const bool belongs = json_is_integer(at) && json_integer_value(at) <= step;
        json_decref(line);
        if (!belongs) break;
        keep = end + 1 - text;
    }
    return keep;
}

status metrics_open(metrics *m, const char *run, int64_t step, int rank, message *why)
{
    *m = (metrics){0};
    path_join(m->path, run, "metrics.jsonl");
    if (rank != 0) return OK;
    if (file_exists(m->path)) {
        char *text;
        int64_t bytes;
        TRY(file_read_text(m->path, METRICS_LIMIT, &text, &bytes, why));
        const int64_t keep = bytes_to_keep(text, bytes, step);
        free(text);
        if (truncate(m->path, keep) != 0)
            return fail(why, ERR_INPUT, "%s: cannot be cut to step %lld: %s", m->path, (long long)step,
                        strerror(errno));
    }
    m->out = fopen(m->path, "a");
    if (!m->out) return fail(why, ERR_INPUT, "%s: cannot be opened: %s", m->path, strerror(errno));
    return OK;
}

static const char *number(double value, char *buffer, size_t size)
{
    if (isfinite(value))
        snprintf(buffer, size, "%.17g", value);
    else
        snprintf(buffer, size, "null");
    return buffer;
}

/* Each line is handed to the system at once, so that a kill loses at most the line being written. */
static status line_done(metrics *m, int printed, message *why)
{
    if (printed < 0 || fflush(m->out) != 0)
        return fail(why, ERR_INPUT, "%s: cannot be written: %s", m->path, strerror(errno));
    return OK;
}

status metrics_step(metrics *m, const step_metrics *s, message *why)
{
    if (!m->out) return OK;
    char loss[40], norm[40], rate[40];
    const int printed = fprintf(
        m->out,
        "{\"step\": %lld, \"loss\": %s, \"grad_norm\": %s, \"lr\": %s, \"tokens\": %lld, \"tok_s\": "
        "%.9g, \"seconds\": %.9g, \"data_wait\": %.9g, \"mem\": %.9g}\n",
        (long long)s->step, number(s->loss, loss, sizeof loss), number(s->grad_norm, norm, sizeof norm),
        number(s->rate, rate, sizeof rate), (long long)s->tokens, s->tok_s, s->seconds, s->data_wait,
        (double)memory_peak_bytes() / 1048576.0);
    return line_done(m, printed, why);
}

status metrics_validation(metrics *m, int64_t step, const evaluation *e, message *why)
{
    if (!m->out) return OK;
    char loss[40], ppl[40];
    const int printed =
        fprintf(m->out, "{\"step\": %lld, \"val_loss\": %s, \"val_ppl\": %s, \"val_tokens\": %lld}\n",
                (long long)step, number(e->loss, loss, sizeof loss), number(e->ppl, ppl, sizeof ppl),
                (long long)e->tokens);
    return line_done(m, printed, why);
}

void metrics_close(metrics *m)
{
    if (m->out) fclose(m->out);
    m->out = NULL;
}
