/* The files that were written into a folder, with the hashes of the bytes that were given. A manifest made of
 * it certifies what was in memory; one made by reading the files back would certify whatever the disk made of
 * them. */
#ifndef REMLA_BASE_WRITTEN_H
#define REMLA_BASE_WRITTEN_H
#include "base/status.h"
#include <stdint.h>

typedef struct written_file {
    char *name; /* in its folder; owned */
    int64_t bytes;
    uint64_t hash; /* XXH3-64 */
} written_file;

/* {0} is the empty list. */
typedef struct written_files {
    written_file *file;
    int64_t count, capacity;
} written_files;

/* Adds the file by the last part of its path. `list` may be NULL: then nothing is done. */
void written_add(written_files *list, const char *path, int64_t bytes, uint64_t hash);
/* Writes a small text file (file_write), then adds it. */
status written_text(written_files *list, const char *path, const char *text, message *why);
/* Copies those of the named files that the folder `from` has into the folder `to`, durably, and adds them. */
status written_copies(written_files *list, const char *from, const char *to, const char *const *names,
                      int count, message *why);
void written_free(written_files *list);

#endif
