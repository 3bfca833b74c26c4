/* remla export RUN|CHECKPOINT DST: a model folder from a run's best checkpoint, or from one that is named. */
#include "base/json_text.h"
#include "base/log.h"
#include "model/hf/config.h"
#include "train/checkpoint.h"
#include "train/commands/commands.h"
#include "train/conversion/readers.h"
#include "train/export/export.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>

/* Says which checkpoint it will be. */
static void say_choice(const export_choice *x)
{
    const chosen_checkpoint *first = &x->item[0];
    char reason[120] = "";
    if (x->count > 1)
        snprintf(reason, sizeof reason, "; the mean of %d checkpoints, back to step %lld", x->count,
                 (long long)x->item[x->count - 1].state.step);
    else if (isfinite(first->val_loss))
        snprintf(reason, sizeof reason, ", loss %.4f on data.val", first->val_loss);
    log_line("exporting %s: step %lld, %lld tokens%s", first->folder, (long long)first->state.step,
             (long long)first->state.tokens, reason);
}

/* The folder of the model that the run began with (model.path), into `base`. */
static status base_of(const export_choice *x, char *base, message *why)
{
    char path[PATH_BYTES];
    options then;
    options_init(&then);
    status s = options_read_yaml(&then, path_join(path, x->item[0].folder, CHECKPOINT_OPTIONS), why);
    if (s == OK) s = path_print(base, why, "%s", then.model_path);
    options_free(&then);
    return s;
}

/* export.dtype; `auto` is the type of the folder `base`. */
static status storage_of(const options *o, const char *base, dtype *storage, message *why)
{
    model_config config;
    message detail;
    switch (o->export_dtype) {
    case OPTION_export_dtype_f32:
        *storage = F32;
        return OK;
    case OPTION_export_dtype_bf16:
        *storage = BF16;
        return OK;
    case OPTION_export_dtype_f16:
        *storage = F16;
        return OK;
    case OPTION_export_dtype_auto:
        break;
    }
    if (config_read(&config, base, &detail) != OK)
        return fail(why, ERR_USAGE,
                    "export.dtype=auto is the type of the model that the run began with, but %.700s: export "
                    "where the run was started, or give export.dtype=bf16, f16 or f32",
                    detail.text);
    *storage = config.storage;
    config_free(&config);
    return OK;
}

static status say_result(const char *target, message *why)
{
    model_config written;
    TRY(config_read(&written, target, why));
    log_line("%s: %s, read back and compared", target, dtype_name(written.storage));
    readers_print(&written);
    config_free(&written);
    return OK;
}

static status run(const command_line *line, const options *o, const export_choice *from, const char *target,
                  message *why)
{
    char base[PATH_BYTES];
    dtype storage = F32;
    json_t *record;
    TRY(base_of(from, base, why));
    TRY(storage_of(o, base, &storage, why));
    say_choice(from);
    TRY(export_write(from, base, storage, target, &record, why));
    const status s = say_result(target, why);
    if (line->json)
        json_text_print(record, JSON_REAL_PRECISION(9));
    else
        json_decref(record);
    return s;
}

status cmd_export(const command_line *line, options *o, const comm *c, message *why)
{
    (void)c;
    char target[PATH_BYTES];
    export_choice from;
    if (path_print(target, why, "%s", line->positional[1]) != OK) return ERR_USAGE;
    path_strip(target);                    /* the temporary folder's name is made from it */
    TRY(folder_check_vacant(target, why)); /* before checkpoints are read */
    status s = export_choose(&from, line->positional[0], (int)o->export_average, why);
    if (s == OK) s = run(line, o, &from, target, why);
    export_choice_free(&from);
    return s;
}
