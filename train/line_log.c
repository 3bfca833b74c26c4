/* When a run resumes from step s, the file is read once, from start to end:
 *
 *   up to the last line of a step <= s    the lines stay, and are handed to the caller
 *   after that line                       the lines are of steps that a kill has lost. The file is cut
 *                                         before them, and they will be computed and written again */
#include "train/line_log.h"
#include "base/log.h"
#include "base/memory.h"
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILE_LIMIT = 1 << 30, WAITING_LIMIT = 1 << 26 };

/* ---- what the file holds ------------------------------------------------------------------------------- */

typedef struct reading {
    line_log_take *take;
    void *context;
    int64_t step;       /* the run resumes after it */
    int64_t line, keep; /* lines read; bytes up to the last line that stays */
    int64_t broken;     /* the first broken line among those that stay, 0: none */
} reading;

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
            r->take(r->context, line, json_integer_value(at), r->line);
            r->keep = end + 1 - text;
            if (!r->broken) r->broken = broken;
        }
        json_decref(line);
    }
}

static status read_file(const char *path, reading *r, message *why)
{
    char *text;
    int64_t bytes;
    TRY(file_read_text(path, FILE_LIMIT, &text, &bytes, why));
    read_lines(r, text, bytes);
    free(text);
    return OK;
}

status line_log_read(const char *path, line_log_take *take, void *context, int64_t *broken, message *why)
{
    reading r = {.take = take, .context = context, .step = INT64_MAX};
    const status s = read_file(path, &r, why);
    *broken = r.broken;
    return s;
}

static status read_back(line_log *l, reading *r, message *why)
{
    TRY(read_file(l->path, r, why));
    if (r->broken)
        log_warning("%s:%lld: is not an object with a step; it stays as it is, and the lines behind it count",
                    l->path, (long long)r->broken);
    if (truncate(l->path, r->keep) == 0) return OK;
    return fail(why, ERR_INPUT, "%s: cannot be cut to step %lld: %s", l->path, (long long)r->step,
                strerror(errno));
}

/* A new file's name is made durable: line_log_sync makes sure of its bytes alone. */
static status open_file(line_log *l, const char *run, message *why)
{
    const bool made = !file_exists(l->path);
    l->fd = open(l->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (l->fd < 0) return fail(why, ERR_INPUT, "%s: cannot be opened: %s", l->path, strerror(errno));
    return made ? folder_sync(run, why) : OK;
}

status line_log_open(line_log *l, const char *run, const char *name, int64_t step, int rank,
                     line_log_take *take, void *context, message *why)
{
    reading r = {.take = take, .context = context, .step = step};
    *l = (line_log){.fd = -1};
    path_join(l->path, run, name);
    if (rank != 0) return OK;
    status s = file_exists(l->path) ? read_back(l, &r, why) : OK;
    if (s == OK) s = open_file(l, run, why);
    if (s != OK) line_log_close(l);
    return s;
}

/* ---- new lines ----------------------------------------------------------------------------------------- */

/* Writes the waiting lines. On failure truncates the file to its old size, so that no partial line stays. */
static bool write_waiting(line_log *l)
{
    const off_t before = lseek(l->fd, 0, SEEK_END);
    int64_t done = 0;
    while (done < l->bytes) {
        const ssize_t put = write(l->fd, l->waiting + done, (size_t)(l->bytes - done));
        if (put < 0 && errno == EINTR) continue;
        if (put <= 0) break;
        done += put;
    }
    if (done == l->bytes) {
        l->bytes = 0;
        return true;
    }
    const int error = errno;
    if (done && before >= 0 && ftruncate(l->fd, before) != 0) l->bytes = 0; /* no line comes twice */
    errno = error;
    return false;
}

/* Hands each line to the system at once, so that a kill loses at most the line being written. */
void line_log_add(line_log *l, const char *line)
{
    if (l->fd < 0) return;
    const int64_t length = (int64_t)strlen(line);
    if (length && l->bytes + length <= WAITING_LIMIT) {
        l->waiting = memory_check(realloc(l->waiting, (size_t)(l->bytes + length)), "lines of metrics");
        memcpy(l->waiting + l->bytes, line, (size_t)length);
        l->bytes += length;
    }
    const bool written = write_waiting(l);
    if (!written && !l->failing)
        log_warning("%s cannot be written: %s; its lines wait in memory", l->path, strerror(errno));
    if (written && l->failing) log_line("%s is written again", l->path);
    l->failing = !written;
}

void line_log_sync(line_log *l)
{
    if (l->fd < 0) return;
    line_log_add(l, ""); /* tries again to write waiting lines */
    if (!l->failing && fsync(l->fd) != 0)
        log_warning("%s cannot be made durable: %s", l->path, strerror(errno));
}

status line_log_move(line_log *l, const char *run, message *why)
{
    if (l->fd < 0) return OK;
    char name[PATH_BYTES];
    snprintf(name, sizeof name, "%s", path_base(l->path));
    close(l->fd);
    path_join(l->path, run, name);
    return open_file(l, run, why);
}

void line_log_close(line_log *l)
{
    if (l->fd >= 0) {
        if (l->bytes) write_waiting(l);
        close(l->fd);
    }
    free(l->waiting);
    *l = (line_log){.fd = -1};
}
