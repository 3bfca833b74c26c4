/* The program's messages while it works. Only rank 0 prints. Lines go to one stream (standard output, or
 * standard error when standard output is reserved for JSON) and, once opened, to RUN/train.log as well. */
#ifndef REMLA_BASE_LOG_H
#define REMLA_BASE_LOG_H
#include <stdbool.h>

void log_start(int rank, bool to_stderr);
void log_file(const char *path); /* also append to this file, on rank 0; NULL closes it */
/* Lines that cannot be written are lost, with one warning where there is a file. */
void log_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...)
    __attribute__((format(printf, 1, 2))); /* "warning: ...", on standard error */
/* A line of the file alone, for what the terminal gets elsewhere; lost where it cannot be written. */
void log_file_line(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
