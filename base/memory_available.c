/* Available memory is the least of several limits: MemAvailable of /proc/meminfo, and for every control group
 * of this process and every parent of that group its limit minus its usage. Page cache that the kernel would
 * drop (inactive_file) does not count as used. */
#include "base/memory_available.h"
#include "base/file.h"
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Reads the number behind `key` at the start of a line of a kernel table; an empty key means the first line.
 * -1: there is none ("max", no such file). */
static int64_t number_in(const char *folder, const char *name, const char *key)
{
    char path[PATH_BYTES], line[512];
    int64_t found = -1;
    FILE *file = fopen(path_join(path, folder, name), "r");
    if (!file) return -1;
    const size_t length = strlen(key);
    while (found < 0 && fgets(line, sizeof line, file))
        if (strncmp(line, key, length) == 0 && sscanf(line + length, "%" SCNd64, &found) != 1) found = -1;
    fclose(file);
    return found;
}

/* The files of the two versions of control groups. */
typedef struct group_files {
    const char *below; /* the folder of the memory controller below /sys/fs/cgroup */
    const char *limit, *usage, *cache;
} group_files;

static const group_files unified = {"", "memory.max", "memory.current", "inactive_file "};
static const group_files memory_controller = {"/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
                                              "total_inactive_file "};

/* Returns the memory still available to one group. */
static int64_t group_available(const char *folder, const group_files *f)
{
    const int64_t limit = number_in(folder, f->limit, ""), usage = number_in(folder, f->usage, ""),
                  cache = number_in(folder, "memory.stat", f->cache);
    if (limit < 0 || usage < 0) return INT64_MAX;
    const int64_t used = usage - (cache > 0 ? cache : 0);
    return limit > used ? limit - used : 0;
}

/* Returns the memory still available to the group at `path`: the least over it and its parents. A container
 * may not see the folders of its path, but sees its own group at the top. */
static int64_t path_available(const char *groups, const group_files *f, char *path)
{
    int64_t available = INT64_MAX;
    for (;;) {
        char folder[PATH_BYTES];
        if (snprintf(folder, sizeof folder, "%s%s%s", groups, f->below, path) < (int)sizeof folder) {
            const int64_t here = group_available(folder, f);
            if (here < available) available = here;
        }
        char *slash = strrchr(path, '/');
        if (!slash) return available;
        *slash = 0;
    }
}

/* Tells whether `word` is in a list with commas between. */
static bool listed(const char *list, const char *word)
{
    const size_t length = strlen(word);
    for (const char *at = list; at; at = strchr(at, ','), at += at != NULL)
        if (strncmp(at, word, length) == 0 && (at[length] == ',' || at[length] == 0)) return true;
    return false;
}

/* Lines of /proc/self/cgroup are NUMBER:CONTROLLERS:PATH, without controllers for version 2. */
static int64_t groups_available(const char *proc, const char *groups)
{
    char name[PATH_BYTES], line[PATH_BYTES];
    int64_t available = INT64_MAX;
    FILE *file = fopen(path_join(name, proc, "self/cgroup"), "r");
    if (!file) return available;
    while (fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':'), *path = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!path) continue;
        *controllers++ = *path++ = 0;
        const group_files *f = !*controllers                   ? &unified
                               : listed(controllers, "memory") ? &memory_controller
                                                               : NULL;
        const int64_t here = f ? path_available(groups, f, path) : INT64_MAX;
        if (here < available) available = here;
    }
    fclose(file);
    return available;
}

int64_t memory_available_at(const char *proc, const char *groups)
{
    const int64_t kib = number_in(proc, "meminfo", "MemAvailable:"), limit = groups_available(proc, groups);
    return kib >= 0 && kib * 1024 < limit ? kib * 1024 : limit;
}

int64_t memory_available_bytes(void) { return memory_available_at("/proc", "/sys/fs/cgroup"); }
