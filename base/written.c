/* Lists of written files, for a manifest. Names are kept without their folder, which is renamed later. */
#include "base/written.h"
#include "base/array.h"
#include "base/file.h"
#include "base/memory.h"
#include <stdlib.h>
#include <string.h>

void written_add(written_files *list, const char *path, int64_t bytes, uint64_t hash)
{
    if (!list) return;
    list->file = array_reserve(list->file, &list->capacity, list->count + 1, sizeof *list->file);
    char *name = memory_check(strdup(path_base(path)), "the name of %s", path);
    list->file[list->count++] = (written_file){name, bytes, hash};
}

status written_text(written_files *list, const char *path, const char *text, message *why)
{
    uint64_t hash;
    const int64_t bytes = (int64_t)strlen(text);
    TRY(file_write(path, text, bytes, &hash, why));
    written_add(list, path, bytes, hash);
    return OK;
}

status written_copies(written_files *list, const char *from, const char *to, const char *const *names,
                      int count, message *why)
{
    for (int i = 0; i < count; i++) {
        char source[PATH_BYTES], copy[PATH_BYTES];
        uint64_t hash;
        int64_t bytes;
        if (!file_exists(path_join(source, from, names[i]))) continue;
        TRY(file_copy(source, path_join(copy, to, names[i]), &hash, &bytes, why));
        written_add(list, copy, bytes, hash);
    }
    return folder_sync(to, why);
}

void written_free(written_files *list)
{
    for (int64_t i = 0; i < list->count; i++) free(list->file[i].name);
    free(list->file);
    *list = (written_files){0};
}
