/* Finds the source files and cuts the work on them into pieces of similar size:
 *
 *     a.txt b.txt c.txt | big.jsonl [0,m) | big.jsonl [m,2m) | big.jsonl [2m,end) | d.gz e.txt
 *      one piece of three parts            pieces of one part each
 *
 * Small files share a piece; a large file of plain JSON lines is cut at bytes; compressed files and files
 * that are one document stay whole. A piece is named by a hash of the work and of its files (path, size,
 * time), so that an interrupted job finds its finished pieces again, and only if nothing has changed. */
#include "data/prepare/text_pieces.h"
#include "base/array.h"
#include "base/memory.h"
#include "data/prepare/text_reader.h"
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

/* Large enough numbers for a job with many ranks, and pieces small enough to be redone after an interruption.
 */
enum { PIECES = 64, LEAST_PIECE = 1 << 20, MOST_PIECE = 1 << 26 };

bool text_part_whole(const text_part *p) { return p->from == 0 && p->to == INT64_MAX; }

/* ---- files -------------------------------------------------------------------------------------------- */

static status walk(path_list *out, const char *folder, message *why)
{
    DIR *dir = opendir(folder);
    if (!dir) return fail(why, ERR_INPUT, "%s: cannot be read: %s", folder, strerror(errno));
    status s = OK;
    for (const struct dirent *entry; s == OK && (entry = readdir(dir));) {
        char path[PATH_BYTES];
        struct stat link;
        if (entry->d_name[0] == '.') continue;
        path_join(path, folder, entry->d_name);
        if (file_exists(path))
            path_list_add(out, path);
        else if (folder_exists(path) && lstat(path, &link) == 0 && !S_ISLNK(link.st_mode))
            s = walk(out, path, why); /* links to folders could lead in circles */
    }
    closedir(dir);
    return s;
}

static int by_text(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

static status find_in_folder(path_list *out, const char *given, message *why)
{
    char folder[PATH_BYTES];
    TRY(path_print(folder, why, "%s", given));
    path_strip(folder);
    const int before = out->count;
    TRY(walk(out, folder, why));
    if (out->count == before) return fail(why, ERR_INPUT, "%s: there are no files in this folder", given);
    qsort(out->path + before, (size_t)(out->count - before), sizeof *out->path, by_text);
    return OK;
}

static status find_source(path_list *out, const char *source, message *why)
{
    path_list found;
    if (folder_exists(source)) return find_in_folder(out, source, why);
    TRY(path_list_expand(&found, &source, 1, why));
    status s = OK;
    for (int i = 0; i < found.count && s == OK; i++) {
        if (folder_exists(found.path[i]))
            s = find_in_folder(out, found.path[i], why);
        else
            path_list_add(out, found.path[i]);
    }
    path_list_free(&found);
    return s;
}

/* Refuses a file that is named twice: its text would silently count twice in training. */
static status refuse_twins(const path_list *list, message *why)
{
    char **sorted = memory_new(list->count, sizeof *sorted, "names of files");
    memcpy(sorted, list->path, sizeof *sorted * (size_t)list->count);
    qsort(sorted, (size_t)list->count, sizeof *sorted, by_text);
    status s = OK;
    for (int i = 1; i < list->count && s == OK; i++)
        if (!strcmp(sorted[i - 1], sorted[i]))
            s = fail(why, ERR_INPUT, "%s: is named twice among the sources", sorted[i]);
    free(sorted);
    return s;
}

/* ---- pieces ------------------------------------------------------------------------------------------- */

static void part_add(text_pieces *t, const char *path, int64_t from, int64_t to, int64_t bytes)
{
    t->part = array_reserve(t->part, &t->part_capacity, t->parts + 1, sizeof *t->part);
    t->part[t->parts++] = (text_part){path, from, to, bytes};
}

/* Makes a piece of the parts that are in none yet. */
static void piece_end(text_pieces *t)
{
    const text_piece *last = t->pieces ? &t->piece[t->pieces - 1] : NULL;
    text_piece p = {.first = last ? last->first + last->parts : 0};
    p.parts = t->parts - p.first;
    if (p.parts == 0) return;
    for (int64_t i = 0; i < p.parts; i++) p.bytes += t->part[p.first + i].bytes;
    t->piece = array_reserve(t->piece, &t->piece_capacity, t->pieces + 1, sizeof *t->piece);
    t->piece[t->pieces++] = p;
}

static void cut_file(text_pieces *t, const char *path, int64_t bytes, int64_t most)
{
    piece_end(t);
    for (int64_t from = 0; from < bytes; from += most) {
        const int64_t to = bytes - from < most ? bytes : from + most;
        part_add(t, path, from, to, to - from);
        piece_end(t);
    }
}

static void cut(text_pieces *t)
{
    const int64_t share = t->bytes / PIECES, most = share < LEAST_PIECE  ? LEAST_PIECE
                                                    : share > MOST_PIECE ? MOST_PIECE
                                                                         : share;
    int64_t waiting = 0; /* bytes that are in no piece yet */
    for (int i = 0; i < t->files.count; i++) {
        const char *path = t->files.path[i];
        const int64_t bytes = file_bytes(path);
        if (bytes > most && text_reader_is_lines(path) && !text_stream_is_packed(path)) {
            cut_file(t, path, bytes, most);
            waiting = 0;
            continue;
        }
        part_add(t, path, 0, INT64_MAX, bytes);
        waiting += bytes;
        if (waiting < most) continue;
        piece_end(t);
        waiting = 0;
    }
    piece_end(t);
}

static void add_text(XXH3_state_t *hash, const char *text)
{
    XXH3_128bits_update(hash, text, strlen(text) + 1);
}

static void name_piece(const text_pieces *t, text_piece *p, const char *work)
{
    XXH3_state_t *hash = memory_check(XXH3_createState(), "a hash");
    XXH3_128bits_reset(hash);
    add_text(hash, work);
    for (const text_part *part = t->part + p->first; part < t->part + p->first + p->parts; part++) {
        struct stat s = {0};
        stat(part->path, &s);
        const int64_t shape[] = {part->from, part->to,         part->bytes,
                                 s.st_size,  s.st_mtim.tv_sec, s.st_mtim.tv_nsec};
        add_text(hash, part->path);
        XXH3_128bits_update(hash, shape, sizeof shape);
    }
    const XXH128_hash_t digest = XXH3_128bits_digest(hash);
    snprintf(p->name, sizeof p->name, "%016" PRIx64 "%016" PRIx64, (uint64_t)digest.high64,
             (uint64_t)digest.low64);
    XXH3_freeState(hash);
}

static status find(text_pieces *t, const char *const *sources, int count, const char *work, message *why)
{
    for (int i = 0; i < count; i++) TRY(find_source(&t->files, sources[i], why));
    TRY(refuse_twins(&t->files, why));
    for (int i = 0; i < t->files.count; i++) {
        const int64_t bytes = file_bytes(t->files.path[i]);
        if (bytes < 0) return fail(why, ERR_INPUT, "%s: is not a regular file", t->files.path[i]);
        t->bytes += bytes;
    }
    if (t->bytes == 0)
        return fail(why, ERR_INPUT, "%s: %s", t->files.path[0],
                    t->files.count > 1 ? "this file and all others are empty" : "the file is empty");
    cut(t);
    for (int64_t i = 0; i < t->pieces; i++) name_piece(t, &t->piece[i], work);
    return OK;
}

status text_pieces_find(text_pieces *t, const char *const *sources, int count, const char *work, message *why)
{
    *t = (text_pieces){0};
    const status s = find(t, sources, count, work, why);
    if (s != OK) text_pieces_free(t);
    return s;
}

void text_pieces_free(text_pieces *t)
{
    path_list_free(&t->files);
    free(t->part);
    free(t->piece);
    *t = (text_pieces){0};
}
