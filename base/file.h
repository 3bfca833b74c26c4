/* Files (base/file.c): reading with sentences, writing that survives a crash; folders (base/folder.c); paths
 * (base/path.c). Paths in messages are as the caller gave them. */
#ifndef REMLA_BASE_FILE_H
#define REMLA_BASE_FILE_H
#include "base/status.h"
#include <stdbool.h>
#include <stdint.h>

enum { PATH_BYTES = 1024 };

/* Joins with a slash into `out` (PATH_BYTES). A path that is too long stops the job. Returns `out`. */
char *path_join(char *out, const char *folder, const char *name);
/* Prints a path into `out` (PATH_BYTES). ERR_INPUT when it is too long; `out` then has its beginning. For
 * paths that a user has given, and what is made of them. */
status path_print(char *out, message *why, const char *format, ...) __attribute__((format(printf, 3, 4)));
void path_strip(char *path);             /* removes slashes at the end; the root keeps its own */
const char *path_base(const char *path); /* the part after the last slash; borrowed */
/* Writes the folder that `path` lies in to `out` (PATH_BYTES); slashes at the end of path do not count. */
void path_parent(char *out, const char *path);
bool file_exists(const char *path);
bool folder_exists(const char *path);
int64_t file_bytes(const char *path); /* -1 when it is not there */

/* Reads a whole file of at most `limit` bytes, and zero-terminates it. The caller frees *text. */
status file_read_text(const char *path, int64_t limit, char **text, int64_t *bytes, message *why);

/* Reads exactly `bytes` at `offset`; a short file is an ERR_INPUT that says so. */
status file_open(const char *path, int *fd, int64_t *bytes, message *why);
status file_read_at(int fd, const char *path, void *data, int64_t bytes, int64_t offset, message *why);

/* A file being written, hashed (XXH3-64) on the way. Until file_finish it is called PATH.part and locked
 * (flock), so that another process that wants to write PATH meanwhile gets ERR_INPUT, where the file system
 * has locks. An old file at PATH is replaced whole, by renaming, or not at all. */
typedef struct file_writer {
    int fd; /* -1: none is open */
    char path[PATH_BYTES];
    int64_t bytes;
    struct XXH3_state_s *hash; /* base/hash.h */
} file_writer;
/* Creates the file and reserves `expected` bytes (0: unknown), so that a full disk shows before anything is
 * written. */
status file_create(file_writer *w, const char *path, int64_t expected, message *why);
status file_append(file_writer *w, const void *data, int64_t bytes, message *why);
/* Replaces bytes that were appended before. The hash of file_finish does not see it. */
status file_patch(file_writer *w, int64_t offset, const void *data, int64_t bytes, message *why);
/* Makes bytes and name durable (fsync) and closes. The hash (NULL: not wanted) is that of what was given, not
 * of what was read back. On any failure of a writer function PATH.part is closed and removed. */
status file_finish(file_writer *w, uint64_t *hash, message *why);
/* Does the same for files of one folder that belong together: they get their names one right after another,
 * when all bytes are durable. *named: how many have theirs; after a failure it may be only some. */
status file_finish_all(file_writer *const *w, int count, int *named, message *why);
void file_abandon(file_writer *w); /* closes and removes an unfinished file */
/* When the disk last answered a call of any writer, by clock_seconds(); from any thread. */
double file_answered(void);
/* Creates, appends and finishes in one call; for small files. */
status file_write(const char *path, const void *data, int64_t bytes, uint64_t *hash, message *why);
status file_hash(const char *path, uint64_t *hash, int64_t *bytes, message *why);
/* Copies a file, durably. */
status file_copy(const char *from, const char *to, uint64_t *hash, int64_t *bytes, message *why);

status folder_make(const char *path, message *why);   /* with parents; existing is fine */
status folder_sync(const char *path, message *why);   /* makes names in it durable */
status folder_remove(const char *path, message *why); /* recursively */
/* ERR_INPUT unless the path is missing or an empty folder: nothing is ever overwritten. */
status folder_check_vacant(const char *path, message *why);
/* Locks FOLDER/lock, which says that a live job writes there, until *fd is closed. While another job holds
 * it, logs that and waits up to `seconds` for its end; then ERR_INPUT, and *fd is -1. `option` is the option
 * that names the folder, for the message. */
status folder_lock(const char *folder, const char *option, int seconds, int *fd, message *why);
/* Tells whether `path` still leads to the open file or folder. */
bool path_leads_to(const char *path, int fd);
/* Writes the current absolute path of an open folder to `out` (PATH_BYTES); false when it has been removed.
 */
bool folder_path(int fd, char *out);
/* Renames a finished folder to its final name and makes that durable: from then on the folder exists.
 * Replaces an empty folder of that name. After a failure it has its temporary name. */
status folder_commit(const char *temporary, const char *final, message *why);

/* The files that a list of paths and shell patterns names, sorted per pattern. A name that exists as it is
 * written is not taken for a pattern. A pattern or path without a match is an ERR_INPUT naming it. The caller
 * frees with path_list_free. */
typedef struct path_list {
    char **path;
    int count;
} path_list;
status path_list_expand(path_list *out, const char *const *patterns, int count, message *why);
void path_list_add(path_list *list, const char *path); /* copies it */
void path_list_free(path_list *list);

#endif
