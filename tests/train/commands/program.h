/* The program as a user calls it, and what it has printed. */
#ifndef REMLA_TESTS_PROGRAM_H
#define REMLA_TESTS_PROGRAM_H
#include "tests/support/scratch.h"
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <cmocka.h>

static char out[65536], err[65536];

static inline void slurp(const char *name, char *text, size_t size)
{
    FILE *file = fopen(scratch_path(name), "r");
    assert_non_null(file);
    text[fread(text, 1, size - 1, file)] = 0;
    fclose(file);
}

/* Runs `BEFORE remla ARGUMENTS` by the shell; fills `out` and `err`; returns the exit code. */
static inline int program_run(const char *before, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline int program_run(const char *before, const char *format, ...)
{
    char arguments[8192], command[16384];
    va_list list;
    va_start(list, format);
    vsnprintf(arguments, sizeof arguments, format, list);
    va_end(list);
    snprintf(command, sizeof command, "%s '%s' %s >%s 2>%s", before, getenv("REMLA"), arguments,
             scratch_path("out"), scratch_path("err"));
    const int result = system(command);
    assert_true(WIFEXITED(result));
    slurp("out", out, sizeof out);
    slurp("err", err, sizeof err);
    return WEXITSTATUS(result);
}

#endif
