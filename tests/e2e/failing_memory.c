/* Preloaded by out_of_memory.sh: one allocation gets no memory. Counted are those that are made by files
 * (program, libraries) whose path contains a word of FAIL_IN. The FAIL_ATth of them fails, from 1 on. At the
 * end their number goes into the file FAIL_COUNT, if that is set. */
#include <dlfcn.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void *__libc_malloc(size_t bytes);
void *__libc_calloc(size_t count, size_t bytes);
void *__libc_realloc(void *old, size_t bytes);

static atomic_long counted;

static bool is_counted(const char *file)
{
    const char *word = getenv("FAIL_IN");
    for (size_t length; word && *word; word += length + (word[length] == ' ')) {
        length = strcspn(word, " ");
        if (length && memmem(file, strlen(file), word, length)) return true;
    }
    return false;
}

static bool fails(const void *caller)
{
    Dl_info from;
    if (!dladdr(caller, &from) || !from.dli_fname || !is_counted(from.dli_fname)) return false;
    const char *at = getenv("FAIL_AT");
    if (atomic_fetch_add(&counted, 1) + 1 != (at ? strtol(at, NULL, 10) : 0)) return false;
    errno = ENOMEM;
    return true;
}

void *malloc(size_t bytes) { return fails(__builtin_return_address(0)) ? NULL : __libc_malloc(bytes); }

void *calloc(size_t count, size_t bytes)
{
    return fails(__builtin_return_address(0)) ? NULL : __libc_calloc(count, bytes);
}

void *realloc(void *old, size_t bytes)
{
    return fails(__builtin_return_address(0)) ? NULL : __libc_realloc(old, bytes);
}

__attribute__((destructor)) static void report(void)
{
    const long total = counted;
    const char *path = getenv("FAIL_COUNT");
    FILE *out = path ? fopen(path, "w") : NULL;
    if (!out) return;
    fprintf(out, "%ld\n", total);
    fclose(out);
}
