/* metrics.jsonl is written with write(), a whole line at a time, and not through stdio. stdio drops what it
 * could not write after having written a part of it; here a line that did not fit is cut back and waits, so a
 * reader never sees a part of one.
 *
 * When a run resumes from step s, the file is read once, from start to end:
 *
 *   up to the last line of a step <= s    the lines stay; their losses go to the loss watch, their
 *                                         validations to m->val
 *   after that line                       the lines are of steps that a kill has lost. The file is cut
 *                                         before them, and they will be computed and written again
 */
#include "train/metrics.h"
#include "base/log.h"
#include "base/memory.h"
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { METRICS_LIMIT = 1 << 30, LINE_BYTES = 512, WAITING_LIMIT = 1 << 26 };

static void remember_validation(metrics *m, int64_t step, double loss)
{
    m->val = memory_check(realloc(m->val, sizeof *m->val * (size_t)(m->vals + 1)), "validations");
    m->val[m->vals++] = (validation){step, loss};
}

/* ---- what the file holds ------------------------------------------------------------------------------- */

typedef struct reading {
    metrics *m;
    loss_watch *watch;
    int64_t step;              /* the run resumes after it */
    int64_t line, keep;        /* lines read; bytes up to the last line that stays */
    int64_t broken;            /* the first broken line among those that stay, 0: none */
    int64_t before;            /* the training step read last, -1: none */
    int64_t missing, gap_line; /* steps without a line; the line before which the first of them are missing */
    int64_t gap_from, gap_to;
} reading;

static void gap(reading *r, int64_t from, int64_t to)
{
    if (!r->missing) {
        r->gap_from = from;
        r->gap_to = to;
        r->gap_line = r->line;
    }
    r->missing += to - from + 1;
}

/* JSON has no word for NaN or infinity: null stands for them. */
static double number_of(const json_t *value)
{
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

static void take(reading *r, const json_t *line, int64_t step)
{
    const json_t *loss = json_object_get(line, "loss"), *held_out = json_object_get(line, "val_loss");
    if (json_is_number(held_out)) remember_validation(r->m, step, json_number_value(held_out));
    if (!loss) return;
    loss_watch_add(r->watch, number_of(loss), !isfinite(number_of(json_object_get(line, "grad_norm"))));
    if (r->before >= 0 && step > r->before + 1) gap(r, r->before + 1, step - 1);
    r->before = step;
}

static void read_lines(reading *r, const char *text, int64_t bytes)
{
    int64_t broken = 0; /* the first broken line since the last line that stays */
    /* A last line without an end was being written when the run was killed. It is dropped. */
    for (const char *from = text, *end; (end = memchr(from, '\n', (size_t)(text + bytes - from)));
         from = end + 1) {
        json_t *line = json_loadb(from, (size_t)(end - from), JSON_REJECT_DUPLICATES, NULL);
        const json_t *at = json_object_get(line, "step");
        r->line++;
        if (!json_is_integer(at)) {
            if (!broken) broken = r->line;
        } else if (json_integer_value(at) <= r->step) {
            take(r, line, json_integer_value(at));
            r->keep = end + 1 - text;
            if (!r->broken) r->broken = broken;
        }
        json_decref(line);
    }
}

static void warn(const reading *r)
{
    const char *path = r->m->path;
    if (r->broken)
        log_warning("%s:%lld: is not an object with a step; it stays as it is, and the lines behind it count",
                    path, (long long)r->broken);
    if (r->missing)
        log_warning("%s:%lld: steps %lld to %lld are missing before this line, %lld in all", path,
                    (long long)r->gap_line, (long long)r->gap_from, (long long)r->gap_to,
                    (long long)r->missing);
}

static status read_back(metrics *m, int64_t step, loss_watch *watch, message *why)
{
    char *text;
    int64_t bytes;
    reading r = {.m = m, .watch = watch, .step = step, .before = -1};
    TRY(file_read_text(m->path, METRICS_LIMIT, &text, &bytes, why));
    read_lines(&r, text, bytes);
    free(text);
    if (r.before >= 0 && r.before < step) {
        r.line++;
        gap(&r, r.before + 1, step);
    }
    warn(&r);
    if (truncate(m->path, r.keep) == 0) return OK;
    return fail(why, ERR_INPUT, "%s: cannot be cut to step %lld: %s", m->path, (long long)step,
                strerror(errno));
}

static status open_file(metrics *m, message *why)
{
    m->fd = open(m->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (m->fd >= 0) return OK;
    return fail(why, ERR_INPUT, "%s: cannot be opened: %s", m->path, strerror(errno));
}

status metrics_open(metrics *m, const char *run, int64_t step, int rank, loss_watch *watch, message *why)
{
    *m = (metrics){.fd = -1};
    path_join(m->path, run, "metrics.jsonl");
    if (rank != 0) return OK;
    status s = file_exists(m->path) ? read_back(m, step, watch, why) : OK;
    if (s == OK) s = open_file(m, why);
    if (s != OK) metrics_close(m);
    return s;
}

/* ---- new lines ----------------------------------------------------------------------------------------- */

/* Writes the waiting lines. On failure cuts the file back to where it was, so that no part of a line stays.
 */
static bool write_waiting(metrics *m)
{
    const off_t before = lseek(m->fd, 0, SEEK_END);
    int64_t done = 0;
    while (done < m->bytes) {
        const ssize_t put = write(m->fd, m->waiting + done, (size_t)(m->bytes - done));
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) break;
        done += put;
    }
    if (done == m->bytes) {
        m->bytes = 0;
        return true;
    }
    const int error = errno;
    if (done && before >= 0 && ftruncate(m->fd, before) != 0) m->bytes = 0; /* no line comes twice */
    errno = error;
    return false;
}

/* Hands each line to the system at once, so that a kill loses at most the line being written. */
static void add_line(metrics *m, const char *line)
{
    const int64_t length = (int64_t)strlen(line);
    if (length && m->bytes + length <= WAITING_LIMIT) {
        m->waiting = memory_check(realloc(m->waiting, (size_t)(m->bytes + length)), "lines of metrics");
        memcpy(m->waiting + m->bytes, line, (size_t)length);
        m->bytes += length;
    }
    const bool written = write_waiting(m);
    if (!written && !m->failing)
        log_warning("%s cannot be written: %s; its lines wait in memory", m->path, strerror(errno));
    if (written && m->failing) log_line("%s is written again", m->path);
    m->failing = !written;
}

static const char *number(double value, char *buffer, size_t size)
{
    if (isfinite(value))
        snprintf(buffer, size, "%.17g", value);
    else
        snprintf(buffer, size, "null");
    return buffer;
}

void metrics_step(metrics *m, const step_metrics *s)
{
    if (m->fd < 0) return;
    char loss[40], norm[40], rate[40], line[LINE_BYTES];
    snprintf(line, sizeof line,
             "{\"step\": %lld, \"loss\": %s, \"grad_norm\": %s, \"lr\": %s, \"tokens\": %lld, \"tok_s\": "
             "%.9g, \"seconds\": %.9g, \"data_wait\": %.9g, \"mem\": %.9g}\n",
             (long long)s->step, number(s->loss, loss, sizeof loss), number(s->grad_norm, norm, sizeof norm),
             number(s->rate, rate, sizeof rate), (long long)s->tokens, s->tok_s, s->seconds, s->data_wait,
             (double)memory_peak_bytes() / 1048576.0);
    add_line(m, line);
}

void metrics_validation(metrics *m, int64_t step, const evaluation *e)
{
    if (m->fd < 0) return;
    char loss[40], ppl[40], line[LINE_BYTES];
    snprintf(line, sizeof line, "{\"step\": %lld, \"val_loss\": %s, \"val_ppl\": %s, \"val_tokens\": %lld}\n",
             (long long)step, number(e->loss, loss, sizeof loss), number(e->ppl, ppl, sizeof ppl),
             (long long)e->tokens);
    add_line(m, line);
    remember_validation(m, step, e->loss);
}

void metrics_sync(metrics *m)
{
    if (m->fd < 0) return;
    add_line(m, ""); /* tries again to write waiting lines */
    if (!m->failing && fsync(m->fd) != 0)
        log_warning("%s cannot be made durable: %s", m->path, strerror(errno));
}

status metrics_move(metrics *m, const char *run, message *why)
{
    if (m->fd < 0) return OK;
    close(m->fd);
    path_join(m->path, run, "metrics.jsonl");
    return open_file(m, why);
}

void metrics_close(metrics *m)
{
    if (m->fd >= 0) {
        if (m->bytes) write_waiting(m);
        close(m->fd);
    }
    free(m->waiting);
    free(m->val);
    *m = (metrics){.fd = -1};
}
