/* Files, with one sentence for everything that can go wrong with them. */
#include "base/file.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

enum { CHUNK = 1 << 20, MAX_CALL = 1 << 30 };

char *path_join(char *out, const char *folder, const char *name)
{
    const int length = snprintf(out, PATH_BYTES, "%s/%s", folder, name);
    REQUIRE(length < PATH_BYTES, "path of %d bytes: %s", length, name);
    return out;
}

const char *path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

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

int64_t file_bytes(const char *path)
{
    struct stat s;
    return stat(path, &s) == 0 && S_ISREG(s.st_mode) ? (int64_t)s.st_size : -1;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

status file_open(const char *path, int *fd, int64_t *bytes, message *why)
{
    struct stat s;
    *fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0) return fail(why, ERR_INPUT, "%s: cannot be opened: %s", path, strerror(errno));
    if (fstat(*fd, &s) == 0 && S_ISREG(s.st_mode)) {
        *bytes = (int64_t)s.st_size;
        return OK;
    }
    close(*fd);
    return fail(why, ERR_INPUT, "%s: is not a regular file", path);
}

status file_read_at(int fd, const char *path, void *data, int64_t bytes, int64_t offset, message *why)
{
    for (int64_t done = 0; done < bytes;) {
        const int64_t want = bytes - done < MAX_CALL ? bytes - done : MAX_CALL;
        const ssize_t got = pread(fd, (char *)data + done, (size_t)want, offset + done);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return fail(why, ERR_INPUT, "%s: cannot be read at byte %lld: %s", path, (long long)(offset + done), strerror(errno));
        if (got == 0)
            return fail(why, ERR_INPUT, "%s: ends at byte %lld, %lld more were expected", path, (long long)(offset + done), (long long)(bytes - done));
        done += got;
    }
    return OK;
}

status file_read_text(const char *path, int64_t limit, char **text, int64_t *bytes, message *why)
{
    int fd;
    *text = NULL;
    TRY(file_open(path, &fd, bytes, why));
    status s = OK;
    if (*bytes > limit) s = fail(why, ERR_INPUT, "%s: has %lld bytes, at most %lld were expected", path, (long long)*bytes, (long long)limit);
    if (s == OK && !(*text = malloc((size_t)*bytes + 1))) die(ERR_DEVICE, "no memory for %s", path);
    if (s == OK) s = file_read_at(fd, path, *text, *bytes, 0, why);
    if (s == OK) {
        (*text)[*bytes] = 0;
    } else {
        free(*text);
        *text = NULL;
    }
    close(fd);
    return s;
}

status file_hash(const char *path, uint64_t *hash, int64_t *bytes, message *why)
{
    int fd;
    TRY(file_open(path, &fd, bytes, why));
    XXH3_state_t *state = XXH3_createState();
    char *chunk = malloc(CHUNK);
    if (!state || !chunk) die(ERR_DEVICE, "no memory to hash %s", path);
    XXH3_64bits_reset(state);
    status s = OK;
    for (int64_t done = 0; done < *bytes && s == OK; done += CHUNK) {
        const int64_t n = *bytes - done < CHUNK ? *bytes - done : CHUNK;
        s = file_read_at(fd, path, chunk, n, done, why);
        if (s == OK) XXH3_64bits_update(state, chunk, (size_t)n);
    }
    *hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    free(chunk);
    close(fd);
    return s;
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

void file_abandon(file_writer *w)
{
    if (w->fd >= 0) {
        close(w->fd);
        unlink(w->path);
    }
    if (w->hash) XXH3_freeState(w->hash);
    *w = (file_writer){.fd = -1};
}

/* The sentence, then nothing of the file is left. */
static status broken(file_writer *w, int error, const char *what, message *why)
{
    const status s = fail(why, ERR_INPUT, "%s: cannot be %s after %lld bytes: %s", w->path, what, (long long)w->bytes, strerror(error));
    file_abandon(w);
    return s;
}

status file_create(file_writer *w, const char *path, int64_t expected, message *why)
{
    *w = (file_writer){.fd = -1};
    snprintf(w->path, sizeof w->path, "%s", path);
    w->fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (w->fd < 0) return fail(why, ERR_INPUT, "%s: cannot be created: %s", path, strerror(errno));
    w->hash = XXH3_createState();
    if (!w->hash) die(ERR_DEVICE, "no memory to write %s", path);
    XXH3_64bits_reset(w->hash);
    if (expected > 0) {
        /* File systems that cannot reserve say EOPNOTSUPP or EINVAL: then a full disk shows while writing. */
        const int error = posix_fallocate(w->fd, 0, expected);
        if (error && error != EOPNOTSUPP && error != EINVAL) return broken(w, error, "given its size", why);
    }
    return OK;
}

status file_append(file_writer *w, const void *data, int64_t bytes, message *why)
{
    for (int64_t done = 0; done < bytes;) {
        const int64_t want = bytes - done < MAX_CALL ? bytes - done : MAX_CALL;
        const ssize_t put = write(w->fd, (const char *)data + done, (size_t)want);
        if (put < 0 && errno == EINTR) continue;
        if (put < 0) return broken(w, errno, "written", why);
        done += put;
        w->bytes += put;
    }
    XXH3_64bits_update(w->hash, data, (size_t)bytes);
    return OK;
}

status file_finish(file_writer *w, uint64_t *hash, message *why)
{
    if (ftruncate(w->fd, w->bytes) != 0) return broken(w, errno, "cut to its size", why);
    if (fsync(w->fd) != 0) return broken(w, errno, "made durable", why);
    const int fd = w->fd;
    w->fd = -1; /* closed whatever close says */
    if (close(fd) != 0) {
        const int error = errno;
        unlink(w->path);
        return broken(w, error, "closed", why);
    }
    if (hash) *hash = XXH3_64bits_digest(w->hash);
    XXH3_freeState(w->hash);
    w->hash = NULL;
    return OK;
}

status file_write(const char *path, const void *data, int64_t bytes, uint64_t *hash, message *why)
{
    file_writer w;
    TRY(file_create(&w, path, bytes, why));
    TRY(file_append(&w, data, bytes, why));
    return file_finish(&w, hash, why);
}

status file_copy(const char *from, const char *to, uint64_t *hash, int64_t *bytes, message *why)
{
    int fd;
    file_writer w;
    TRY(file_open(from, &fd, bytes, why));
    char *chunk = malloc(CHUNK);
    if (!chunk) die(ERR_DEVICE, "no memory to copy %s", from);
    status s = file_create(&w, to, *bytes, why);
    for (int64_t done = 0; done < *bytes && s == OK; done += CHUNK) {
        const int64_t n = *bytes - done < CHUNK ? *bytes - done : CHUNK;
        s = file_read_at(fd, from, chunk, n, done, why);
        if (s != OK)
            file_abandon(&w);
        else
            s = file_append(&w, chunk, n, why);
    }
    if (s == OK) s = file_finish(&w, hash, why);
    free(chunk);
    close(fd);
    return s;
}

/* ---- folders ---------------------------------------------------------------------------------------------------- */

status folder_make(const char *path, message *why)
{
    char part[PATH_BYTES];
    snprintf(part, sizeof part, "%s", path);
    for (char *p = part + 1;; p++) {
        if (*p && *p != '/') continue;
        const char end = *p;
        *p = 0;
        if (mkdir(part, 0755) != 0 && errno != EEXIST) return fail(why, ERR_INPUT, "%s: cannot be made: %s", part, strerror(errno));
        *p = end;
        if (!end) break;
    }
    return folder_exists(path) ? OK : fail(why, ERR_INPUT, "%s: exists and is not a folder", path);
}

status folder_sync(const char *path, message *why)
{
    const int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return fail(why, ERR_INPUT, "%s: cannot be opened: %s", path, strerror(errno));
    /* Some file systems cannot sync folders and say EINVAL. */
    const int failed = fsync(fd) != 0 && errno != EINVAL ? errno : 0;
    close(fd);
    return failed ? fail(why, ERR_INPUT, "%s: cannot be made durable: %s", path, strerror(failed)) : OK;
}

status folder_remove(const char *path, message *why)
{
    struct stat s;
    if (lstat(path, &s) != 0) return errno == ENOENT ? OK : fail(why, ERR_INPUT, "%s: %s", path, strerror(errno));
    if (!S_ISDIR(s.st_mode)) return unlink(path) == 0 ? OK : fail(why, ERR_INPUT, "%s: cannot be removed: %s", path, strerror(errno));
    DIR *dir = opendir(path);
    if (!dir) return fail(why, ERR_INPUT, "%s: cannot be listed: %s", path, strerror(errno));
    status result = OK;
    for (struct dirent *entry; result == OK && (entry = readdir(dir));) {
        char child[PATH_BYTES];
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) result = folder_remove(path_join(child, path, entry->d_name), why);
    }
    closedir(dir);
    if (result == OK && rmdir(path) != 0) result = fail(why, ERR_INPUT, "%s: cannot be removed: %s", path, strerror(errno));
    return result;
}

status folder_commit(const char *temporary, const char *final, message *why)
{
    char parent[PATH_BYTES];
    TRY(folder_sync(temporary, why));
    if (rename(temporary, final) != 0) return fail(why, ERR_INPUT, "%s: cannot be renamed to %s: %s", temporary, final, strerror(errno));
    snprintf(parent, sizeof parent, "%s", final);
    char *slash = strrchr(parent, '/');
    if (slash == parent)
        slash[1] = 0;
    else if (slash)
        *slash = 0;
    return folder_sync(slash ? parent : ".", why);
}

/* ---- patterns ---------------------------------------------------------------------------------------------------- */

status path_list_expand(path_list *out, const char *const *patterns, int count, message *why)
{
    *out = (path_list){0};
    for (int i = 0; i < count; i++) {
        glob_t found;
        const int error = glob(patterns[i], 0, NULL, &found);
        if (error) {
            path_list_free(out);
            return fail(why, ERR_INPUT, error == GLOB_NOMATCH ? "%s: no file matches" : "%s: cannot be searched", patterns[i]);
        }
        out->path = realloc(out->path, sizeof *out->path * (size_t)(out->count + (int)found.gl_pathc));
        if (!out->path) die(ERR_DEVICE, "no memory for the files of %s", patterns[i]);
        for (size_t j = 0; j < found.gl_pathc; j++) out->path[out->count++] = strdup(found.gl_pathv[j]);
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
