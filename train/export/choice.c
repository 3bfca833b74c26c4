/* A run keeps its newest checkpoints, and the one with the lowest loss on data.val (checkpoint.keep_best).
 * An export wants the model that was best, as far as that was measured. */
#include "train/export/choice.h"
#include "base/log.h"
#include "base/memory.h"
#include "model/hf/folder_check.h"
#include "train/checkpoint_parts.h"
#include "train/line_log.h"
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* A folder of the run that has a checkpoint's name. */
typedef struct candidate {
    int64_t step;
    double val_loss; /* NAN: not measured */
    bool far;        /* saved while the loss was far above its past */
} candidate;

typedef struct candidates {
    candidate *item;
    int64_t count;
} candidates;

/* ---- what the run says --------------------------------------------------------------------------------- */

static void take_validation(void *context, const json_t *line, int64_t step, int64_t number)
{
    (void)number;
    const candidates *all = context;
    const json_t *loss = json_object_get(line, "val_loss");
    for (int64_t i = 0; i < all->count; i++)
        if (all->item[i].step == step && json_is_number(loss))
            all->item[i].val_loss = json_number_value(loss);
}

/* The newest first. The caller frees all->item. */
static status list_run(const char *run, candidates *all, message *why)
{
    int64_t *step;
    TRY(checkpoint_steps(run, &step, &all->count, why));
    all->item = memory_new(all->count + 1, sizeof *all->item, "%lld checkpoints", (long long)all->count);
    for (int64_t i = 0; i < all->count; i++) {
        char folder[PATH_BYTES];
        checkpoint_folder(folder, run, step[i]);
        all->item[i] = (candidate){step[i], (double)NAN, checkpoint_state_far(folder)};
    }
    free(step);
    char path[PATH_BYTES];
    int64_t broken;
    if (!file_exists(path_join(path, run, "metrics.jsonl"))) return OK;
    return line_log_read(path, take_validation, all, &broken, why);
}

/* Orders by step, the newest first; those saved while the loss was far above its past are the last. */
static int newer(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    if (x->far != y->far) return x->far ? 1 : -1;
    return (x->step < y->step) - (x->step > y->step);
}

/* The lowest loss first; where it is equal or was not measured, as above. */
static int better(const void *a, const void *b)
{
    const candidate *x = a, *y = b;
    const bool unknown = isnan(x->val_loss);
    if (unknown != (bool)isnan(y->val_loss)) return unknown ? 1 : -1;
    if (!unknown && x->val_loss != y->val_loss) return x->val_loss < y->val_loss ? -1 : 1;
    return newer(a, b);
}

/* ---- adding one ---------------------------------------------------------------------------------------- */

static status add(export_choice *x, const char *folder, double val_loss, message *why)
{
    chosen_checkpoint *c = &x->item[x->count];
    TRY(path_print(c->folder, why, "%s", folder));
    TRY(checkpoint_verify(folder, why));
    TRY(checkpoint_state_open(folder, &c->state, why));
    c->val_loss = val_loss;
    x->count++;
    return OK;
}

/* Adds those that are whole, in the order of the list, until there are `count`. Only the first may be one
 * that was saved while the loss was far above its past. */
static status add_whole(export_choice *x, const char *run, const candidate *item, int64_t items, int count,
                        message *why)
{
    for (int64_t i = 0; i < items && x->count < count && !(x->count && item[i].far); i++) {
        char folder[PATH_BYTES];
        message damage;
        checkpoint_folder(folder, run, item[i].step);
        if (add(x, folder, item[i].val_loss, &damage) != OK)
            log_warning("passing over %s: %s", folder, damage.text);
    }
    if (x->count == count) return OK;
    if (!items) return fail(why, ERR_INPUT, "%s: has no checkpoint yet", run);
    if (!x->count) return fail(why, ERR_INPUT, "%s: none of its checkpoints is whole", run);
    return fail(
        why, ERR_INPUT,
        "%s: export.average=%d, but it has %d good checkpoints up to step %lld; checkpoint.keep is how "
        "many a run keeps",
        run, count, x->count, (long long)x->item[0].state.step);
}

/* ---- choosing ------------------------------------------------------------------------------------------ */

static status choose_of_run(export_choice *x, const char *run, int count, message *why)
{
    candidates all = {0};
    status s = list_run(run, &all, why);
    if (all.count) qsort(all.item, (size_t)all.count, sizeof *all.item, count == 1 ? better : newer);
    if (s == OK) s = add_whole(x, run, all.item, all.count, count, why);
    free(all.item);
    return s;
}

/* Writes RUN of RUN/checkpoints/NAME into `run`; "" when the folder is somewhere else. */
static void run_of(char *run, const char *checkpoint)
{
    char real[PATH_MAX];
    run[0] = 0;
    if (!realpath(checkpoint, real) || strlen(real) >= PATH_BYTES) return;
    for (int up = 0; up < 2; up++) {
        char *name = (char *)path_base(real);
        if (name - real < 2 || (up && strcmp(name, "checkpoints") != 0)) return;
        name[-1] = 0;
    }
    strcpy(run, real);
}

static bool same_folder(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Returns the place of a folder among the candidates; their count when it is none of them. */
static int64_t place_of(const candidates *all, const char *run, const char *path)
{
    for (int64_t i = 0; i < all->count; i++) {
        char folder[PATH_BYTES];
        checkpoint_folder(folder, run, all->item[i].step);
        if (same_folder(folder, path)) return i;
    }
    return all->count;
}

static status choose_checkpoint(export_choice *x, const char *path, int count, message *why)
{
    char run[PATH_BYTES];
    candidates all = {0};
    run_of(run, path);
    status s = run[0] ? list_run(run, &all, why) : OK;
    const int64_t i = place_of(&all, run, path);
    const bool found = i < all.count;
    if (s == OK) s = add(x, path, found ? all.item[i].val_loss : (double)NAN, why);
    if (s == OK && count > 1)
        s = found ? add_whole(x, run, all.item + i + 1, all.count - i - 1, count, why)
                  : fail(why, ERR_USAGE,
                         "%s: is not called RUN/checkpoints/step-N, so it is not known which checkpoints are "
                         "before it for export.average=%d",
                         path, count);
    free(all.item);
    return s;
}

status export_choose(export_choice *x, const char *path, int count, message *why)
{
    char inside[PATH_BYTES];
    *x = (export_choice){.item = memory_new(count, sizeof *x->item, "%d checkpoints", count)};
    if (file_exists(path))
        return fail(why, ERR_INPUT, "%s: is a file, expected the folder of a run or of a checkpoint", path);
    if (!folder_exists(path)) return folder_missing(path, "that of a run or of a checkpoint", why);
    if (folder_exists(path_join(inside, path, "checkpoints"))) return choose_of_run(x, path, count, why);
    if (file_exists(path_join(inside, path, "state.json"))) return choose_checkpoint(x, path, count, why);
    if (!strcmp(path_base(path), "checkpoints"))
        return fail(why, ERR_INPUT,
                    "%s: holds checkpoints: name one of them, or the run, which is the folder above", path);
    return fail(why, ERR_INPUT,
                "%s: is neither a run (it has no folder checkpoints) nor a checkpoint (it has no state.json)",
                path);
}

void export_choice_free(export_choice *x)
{
    free(x->item);
    *x = (export_choice){0};
}
