/* Opens shared libraries when they are first needed, so that a program built for them starts on machines
 * without them. A table of functions is written as a list:
 *
 *     #include <nccl.h>
 *     #define NCCL_CALLS(F) F(ncclGetUniqueId) F(ncclCommAbort)
 *     LIBRARY(nccl, "NCCL", NCCL_CALLS, "libnccl.so.2");
 *
 *     TRY(library_open(&nccl_library, why));
 *     nccl.ncclGetUniqueId(&id);
 *
 * The list is the header's names, so the compiler checks every call against the header's types. */
#ifndef REMLA_BASE_LIBRARY_H
#define REMLA_BASE_LIBRARY_H
#include "base/status.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct library {
    const char *what;          /* "NCCL", for sentences */
    const char *const *file;   /* names to try, best first; NULL after the last */
    const char *const *symbol; /* all must be there; NULL after the last */
    void *table;               /* as many function pointers, in that order */
    void *handle;              /* set by library_open */
} library;

#define LIBRARY(name_, what_, calls_, ...)                                                                   \
    static struct {                                                                                          \
        calls_(LIBRARY_FIELD)                                                                                \
    } name_;                                                                                                 \
    static const char *const name_##_files[] = {__VA_ARGS__, 0};                                             \
    static const char *const name_##_symbols[] = {calls_(LIBRARY_SYMBOL) 0};                                 \
    static library name_##_library = {                                                                       \
        .what = (what_), .file = name_##_files, .symbol = name_##_symbols, .table = &name_, .handle = 0}
#define LIBRARY_FIELD(function)  __typeof__(function) *function;
#define LIBRARY_SYMBOL(function) #function,

/* Opens the first file that the loader finds and fills the table. ERR_DEVICE: no file is found, or a symbol
 * is missing; the sentence names them. After a success it returns at once. Any thread may call it. The
 * library stays open until the process ends. */
status library_open(library *l, message *why);

#ifdef __cplusplus
}
#endif
#endif
