/* Paths as text, what they lead to, and the files that patterns of the shell name. */
#include "base/file.h"
#include "base/memory.h"
#include <errno.h>
#include <glob.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- text --------------------------------------------------------------------------------------------- */

char *path_join(char *out, const char *folder, const char *name)
{
    const int length = snprintf(out, PATH_BYTES, "%s/%s", folder, name);
    if (length >= PATH_BYTES)
        die(ERR_INPUT, "%s/%s: this path is too long, at most %d bytes are possible", folder, name,
            PATH_BYTES - 1);
    return out;
}

status path_print(char *out, message *why, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int length = vsnprintf(out, PATH_BYTES, format, args);
    va_end(args);
    if (length < PATH_BYTES) return OK;
    return fail(why, ERR_INPUT, "%.200s...: this path is too long, at most %d bytes are possible", out,
                PATH_BYTES - 1);
}

void path_strip(char *path)
{
    for (size_t length = strlen(path); length > 1 && path[length - 1] == '/';) path[--length] = 0;
}

const char *path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

void path_parent(char *out, const char *path)
{
    snprintf(out, PATH_BYTES, "%s", path);
    path_strip(out);
    char *slash = strrchr(out, '/');
    if (!slash)
        strcpy(out, ".");
    else
        slash[slash == out] = 0; /* the slash itself goes, unless it is the root */
}

/* ---- what they lead to -------------------------------------------------------------------------------- */

bool file_exists(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISREG(s.st_mode);
}

bool folder_exists(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

bool path_leads_to(const char *path, int fd)
{
    struct stat named, opened;
    return stat(path, &named) == 0 && fstat(fd, &opened) == 0 && named.st_dev == opened.st_dev &&
           named.st_ino == opened.st_ino;
}

int64_t file_bytes(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISREG(s.st_mode) ? (int64_t)s.st_size : -1;
}

/* ---- patterns ----------------------------------------------------------------------------------------- */

void path_list_add(path_list *list, const char *path)
{
    list->path = memory_check(realloc(list->path, sizeof *list->path * (size_t)(list->count + 1)),
                              "%d names of files", list->count + 1);
    list->path[list->count++] = memory_check(strdup(path), "the name of %s", path);
}

status path_list_expand(path_list *out, const char *const *patterns, int count, message *why)
{
    *out = (path_list){0};
    for (int i = 0; i < count; i++) {
        if (file_exists(patterns[i])) {
            path_list_add(out, patterns[i]);
            continue;
        }
        glob_t found;
        const int error = glob(patterns[i], 0, NULL, &found);
        if (error == GLOB_NOSPACE) memory_failed("the files of %s", patterns[i]);
        if (error) {
            path_list_free(out);
            return fail(why, ERR_INPUT, "%s: %s", patterns[i],
                        error == GLOB_NOMATCH ? "no file matches" : "cannot be searched");
        }
        for (size_t j = 0; j < found.gl_pathc; j++) path_list_add(out, found.gl_pathv[j]);
        globfree(&found);
    }
    return OK;
}

void path_list_free(path_list *list)
{
    for (int i = 0; i < list->count; i++) free(list->path[i]);
    free(list->path);
    *list = (path_list){0};
}
