/* A tensor's name says what it holds: "m.NAME" is a whole parameter in its shape, "m.NAME[FROM]" a row of
 * elements of the flattened one. Names come from a file, so each must lead to a parameter and a range of it;
 * sorted by these, the ranges must follow each other without a gap or an overlap. That is the whole check:
 * how a parameter was cut does not matter. */
#include "train/state_reader.h"
#include "base/array.h"
#include "base/memory.h"
#include "train/state_files.h"
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- names --------------------------------------------------------------------------------------------- */

/* The table's parameters by name: a file may hold a hundred thousand pieces. */
static int by_name(const void *a, const void *b)
{
    return strcmp((*(const param *const *)a)->name, (*(const param *const *)b)->name);
}

static const param **sorted_params(const param_table *t)
{
    const param **sorted = memory_new(t->count, sizeof(const param *), "%d parameters", t->count);
    for (int i = 0; i < t->count; i++) sorted[i] = &t->param[i];
    qsort(sorted, (size_t)t->count, sizeof *sorted, by_name);
    return sorted;
}

/* Takes "[FROM]" off the end of a name. A FROM is written as a number is printed, without sign or leading
 * zeros, so that a range has one name. False: there is none, or another text in brackets. */
static bool take_from(char *name, int64_t *from)
{
    const size_t length = strlen(name);
    char *const open = strrchr(name, '['), *end;
    if (!open || length < 3 || name[length - 1] != ']' || open[1] < '0' || open[1] > '9') return false;
    if (open[1] == '0' && open[2] != ']') return false;
    errno = 0;
    *from = strtoll(open + 1, &end, 10);
    if (errno || end != name + length - 1) return false;
    *open = 0;
    return true;
}

static const param *find(const param *const *sorted, int count, const char *name)
{
    param key;
    const param *const wanted = &key;
    if (strlen(name) >= sizeof key.name) return NULL;
    strcpy(key.name, name);
    const param *const *found = bsearch(&wanted, sorted, (size_t)count, sizeof *sorted, by_name);
    return found ? *found : NULL;
}

/* Finds the kind and the parameter that a name without its range speaks of. */
static const param *meaning(const char *name, const param *const *sorted, int count, state_kind *kind)
{
    for (int k = 0; k < STATE_KINDS; k++) {
        const char *const prefix = state_prefix((optim_part)k);
        const size_t length = strlen(prefix);
        if (strncmp(name, prefix, length) != 0) continue;
        *kind = (state_kind)k;
        return find(sorted, count, name + length);
    }
    return NULL;
}

/* ---- pieces -------------------------------------------------------------------------------------------- */

static const char *path_of(const stored_piece *x) { return x->file->file[0].path; }
static const char *name_of(const stored_piece *x) { return x->file->entry[x->entry].name; }

static status shape_check(const stored_piece *x, const param *p, bool ranged, message *why)
{
    const safetensors_entry *const e = &x->file->entry[x->entry];
    if (e->type != F32)
        return fail(why, ERR_INPUT, "%s: tensor '%.200s' is %s, states are f32", path_of(x), e->name,
                    dtype_name(e->type));
    if (!ranged) {
        if (safetensors_has_shape(e, p->rank, p->dim)) return OK;
        return fail(why, ERR_INPUT, "%s: tensor '%.200s' has another shape than the model's", path_of(x),
                    e->name);
    }
    if (e->rank != 1 || e->dim[0] < 1)
        return fail(why, ERR_INPUT,
                    "%s: tensor '%.200s' is a range of a parameter, but not a row of elements", path_of(x),
                    e->name);
    if (x->from > p->numel || e->dim[0] > p->numel - x->from)
        return fail(why, ERR_INPUT,
                    "%s: tensor '%.200s' of %lld elements ends behind its parameter, which has %lld",
                    path_of(x), e->name, (long long)e->dim[0], (long long)p->numel);
    return OK;
}

static status piece_add(state_reader *r, const safetensors *file, int entry, const param *const *sorted,
                        message *why)
{
    char *const name = memory_check(strdup(file->entry[entry].name), "the name of a tensor");
    stored_piece x = {.file = file, .entry = entry};
    state_kind kind = STATE_M;
    const bool ranged = take_from(name, &x.from);
    const param *const p = meaning(name, sorted, r->table->count, &kind);
    free(name);
    if (!p)
        return fail(why, ERR_INPUT, "%s: tensor '%.200s' is not a state of this model", path_of(&x),
                    name_of(&x));
    TRY(shape_check(&x, p, ranged, why));
    x.list = (int)kind * r->table->count + (int)(p - r->table->param);
    x.count = ranged ? file->entry[entry].dim[0] : p->numel;
    r->piece = array_reserve(r->piece, &r->capacity, r->pieces + 1, sizeof *r->piece);
    r->piece[r->pieces++] = x;
    return OK;
}

static int by_place(const void *a, const void *b)
{
    const stored_piece *x = a, *y = b;
    if (x->list != y->list) return x->list < y->list ? -1 : 1;
    return (x->from > y->from) - (x->from < y->from);
}

/* Sorts the pieces and notes where each list begins. */
static void sort(state_reader *r)
{
    const int lists = STATE_KINDS * r->table->count;
    if (r->pieces) qsort(r->piece, (size_t)r->pieces, sizeof *r->piece, by_place);
    r->first = memory_new(lists + 1, sizeof *r->first, "the places of %d states", lists);
    int64_t at = 0;
    for (int list = 0; list <= lists; list++) {
        while (at < r->pieces && r->piece[at].list < list) at++;
        r->first[list] = at;
    }
}

/* Checks that the pieces of a parameter follow each other from its first element to its last. */
static status covered(const state_reader *r, state_kind kind, const param *p, message *why)
{
    const int list = (int)kind * r->table->count + (int)(p - r->table->param);
    int64_t end = 0;
    for (int64_t i = r->first[list]; i < r->first[list + 1]; i++) {
        const stored_piece *const x = &r->piece[i];
        if (x->from < end)
            return fail(why, ERR_INPUT, "%s: tensor '%.200s' holds elements that '%.200s' of %s holds, too",
                        path_of(x), name_of(x), name_of(x - 1), path_base(path_of(x - 1)));
        if (x->from > end) break;
        end += x->count;
    }
    if (end == p->numel) return OK;
    if (r->first[list] == r->first[list + 1])
        return fail(why, ERR_INPUT, "%s: tensor '%s%s' is in none of its optim-*.safetensors", r->folder,
                    state_prefix((optim_part)kind), p->name);
    return fail(why, ERR_INPUT, "%s: element %lld of '%s%s' is in none of its optim-*.safetensors", r->folder,
                (long long)end, state_prefix((optim_part)kind), p->name);
}

static status cover_check(const state_reader *r, message *why)
{
    for (int kind = 0; kind < (state_reader_has_masters(r) ? STATE_KINDS : STATE_MASTER); kind++)
        for (int i = 0; i < r->table->count; i++) TRY(covered(r, (state_kind)kind, &r->table->param[i], why));
    return OK;
}

/* ---- files --------------------------------------------------------------------------------------------- */

static int is_state_file(const struct dirent *entry) { return state_file_is(entry->d_name); }

static status files_open(state_reader *r, struct dirent *const *names, int count, message *why)
{
    r->file = memory_new(count, sizeof *r->file, "%d state files", count);
    for (int i = 0; i < count; i++) {
        char path[PATH_BYTES];
        TRY(path_print(path, why, "%s/%s", r->folder, names[i]->d_name));
        TRY(safetensors_open(&r->file[i], path, why));
        r->files++;
    }
    return OK;
}

static status pieces_find(state_reader *r, message *why)
{
    const param **const sorted = sorted_params(r->table);
    status s = OK;
    for (int i = 0; i < r->files; i++)
        for (int j = 0; j < r->file[i].count && s == OK; j++) s = piece_add(r, &r->file[i], j, sorted, why);
    free(sorted);
    TRY(s);
    sort(r);
    return cover_check(r, why);
}

status state_reader_open(state_reader *r, const char *folder, const param_table *t, message *why)
{
    *r = (state_reader){.table = t};
    TRY(path_print(r->folder, why, "%s", folder));
    struct dirent **names;
    const int count = scandir(folder, &names, is_state_file, alphasort);
    if (count < 0) return fail(why, ERR_INPUT, "%s: cannot be listed: %s", folder, strerror(errno));
    status s = files_open(r, names, count, why);
    for (int i = 0; i < count; i++) free(names[i]);
    free(names);
    if (s == OK) s = pieces_find(r, why);
    if (s != OK) state_reader_close(r);
    return s;
}

void state_reader_close(state_reader *r)
{
    for (int i = 0; i < r->files; i++) safetensors_close(&r->file[i]);
    free(r->file);
    free(r->piece);
    free(r->first);
    *r = (state_reader){0};
}

bool state_reader_has_masters(const state_reader *r)
{
    return r->first[STATE_MASTER * r->table->count] < r->pieces;
}

/* The last piece of the list that begins at or before `from`. */
static const stored_piece *piece_at(const state_reader *r, int list, int64_t from)
{
    int64_t low = r->first[list], high = r->first[list + 1];
    while (high - low > 1) {
        const int64_t middle = low + (high - low) / 2;
        *(r->piece[middle].from <= from ? &low : &high) = middle;
    }
    return &r->piece[low];
}

status state_reader_read(const state_reader *r, state_kind kind, int i, int64_t from, int64_t count,
                         float *out, message *why)
{
    REQUIRE(from >= 0 && count >= 0 && count <= r->table->param[i].numel - from, "%s: elements %lld to %lld",
            r->table->param[i].name, (long long)from, (long long)(from + count));
    if (count == 0) return OK;
    const stored_piece *x = piece_at(r, (int)kind * r->table->count + i, from);
    for (const float *const end = out + count; out < end; x++) {
        const int64_t at = from - x->from, left = x->count - at, part = left < end - out ? left : end - out;
        TRY(safetensors_read(x->file, &x->file->entry[x->entry], at, part, out, why));
        out += part;
        from += part;
    }
    return OK;
}
