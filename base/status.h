/* Errors, in two layers (docs/ARCHITECTURE.md). Faults in what the user gave (options, files) are reported: a
 * function returns a `status` and fills the caller's `message`. Our own bugs and broken machines stop the
 * whole job: REQUIRE and die, which name rank, place and values. */
#ifndef REMLA_BASE_STATUS_H
#define REMLA_BASE_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

/* Name, exit code of the program, meaning. 2, 3, 5 and 7: do not restart; 4, 85 and 86: restart; 6: restart
 * when the data are repaired. Of several ranks' codes the largest counts. */
#define STATUS_LIST(X)                                                                                       \
    X(OK, 0, "done")                                                                                         \
    X(ERR_USAGE, 2, "bad command line or option")                                                            \
    X(ERR_INPUT, 3, "a file is missing, malformed or cannot be written")                                     \
    X(ERR_DEVICE, 4, "fault of the machine: memory, device, network")                                        \
    X(ERR_BUG, 5, "internal inconsistency: a bug in remla")                                                  \
    X(ERR_DATA, 6, "training data cannot be read; the checkpoint is written")                                \
    X(DIVERGED, 7, "the loss is no longer finite")                                                           \
    X(STOPPED, 85, "stopped by a signal after writing a checkpoint; start again to go on")                   \
    X(UNSAVED, 86, "the last checkpoint cannot be written; start again to go on from the one before it")

typedef enum status {
#define X(name, code, text) name = code,
    STATUS_LIST(X)
#undef X
} status;

/* One sentence for the user: what, where, found, expected. Owned by the caller. */
typedef struct message {
    char text[1024];
} message;

/* Writes the sentence into `why` and returns `code`, so that a failing line reads `return fail(why,
 * ERR_INPUT, "...")`. */
status fail(message *why, status code, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Stops the whole job (every rank) with `code` after printing "remla: sentence" on standard error; in a job
 * of several ranks "remla: rank R on HOST, PLACE: sentence". When several threads die at once, one speaks. */
void die(status code, const char *format, ...) __attribute__((noreturn, format(printf, 2, 3)));

/* Called by die instead of exit, so that the other ranks stop too; base/comm_mpi.c sets it to MPI_Abort.
 * `host` is copied. */
void die_hook(int rank, const char *host, void (*abort_job)(int code));

/* Notes where the job is ("step 12"), for the sentences of die in a job of several ranks. "": nowhere. */
void die_place(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Returns from the calling function if `call` fails. */
#define TRY(call)                                                                                            \
    do {                                                                                                     \
        const status try_status_ = (call);                                                                   \
        if (try_status_ != OK) return try_status_;                                                           \
    } while (0)

/* A condition that only a bug of ours can break. The text says what was expected. */
#define REQUIRE(condition, ...)                                                                              \
    do {                                                                                                     \
        if (!(condition)) require_failed(__FILE__, __LINE__, __func__, #condition, __VA_ARGS__);             \
    } while (0)
void require_failed(const char *file, int line, const char *function, const char *condition,
                    const char *format, ...) __attribute__((noreturn, format(printf, 5, 6)));

#ifdef __cplusplus
}
#endif
#endif
