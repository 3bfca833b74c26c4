/* A file of JSON objects, one a line, each with a `step`, in a run's folder. It is written with write(), a
 * whole line at a time, and not through stdio. stdio drops what it could not write after having written a
 * part of it; here a line that did not fit is cut back and waits, so a reader never sees a part of one. Lines
 * that cannot be written wait in memory, with one warning, until they can. */
#ifndef REMLA_TRAIN_LINE_LOG_H
#define REMLA_TRAIN_LINE_LOG_H
#include "base/file.h"

typedef struct json_t json_t;

typedef struct line_log {
    int fd; /* -1 on ranks other than 0 */
    char path[PATH_BYTES];
    char *waiting; /* lines that are not in the file yet */
    int64_t bytes;
    bool failing; /* the last write failed, and a warning has said so */
} line_log;

/* Is told of every line that stays: the object, its step and the number of the line in the file. */
typedef void line_log_take(void *context, const json_t *line, int64_t step, int64_t number);

/* Opens RUN/NAME for appending after the lines of steps up to `step` (-1: none), and drops later lines, of
 * work that was lost. A line that is no object with a step stays, with a warning. Rank 0 only; on others, and
 * on failure, nothing is open. */
status line_log_open(line_log *l, const char *run, const char *name, int64_t step, int rank,
                     line_log_take *take, void *context, message *why);
/* Hands every line of a file that is no longer, or not here, written to `take`, and changes nothing. *broken
 * gets the number of the first line that is no object with a step, 0: none. Any process may call it. */
status line_log_read(const char *path, line_log_take *take, void *context, int64_t *broken, message *why);
/* Appends a line, with its end. Does nothing where nothing is open. */
void line_log_add(line_log *l, const char *line);
/* Makes the lines durable, as far as they can be written. */
void line_log_sync(line_log *l);
/* Continues in the file of another run folder. */
status line_log_move(line_log *l, const char *run, message *why);
void line_log_close(line_log *l);

#endif
