/* The order of things:
 *
 *   TARGET.remla-tmp-PID/    small files are copied, masters read, rounded and written, a unit at a time
 *                            all of it is read again: the weights by their names, as any reader would,
 *                            the small files by their hashes
 *          |  rename
 *          v
 *   TARGET/
 *
 * What the weights must be is kept as a hash of each unit after rounding. So a fault of the disk is found,
 * and one of the writer, too: a tensor in the wrong place, under the wrong name or rounded otherwise. */
#include "train/export/export.h"
#include "base/hash.h"
#include "base/json_text.h"
#include "base/memory.h"
#include "base/temporary_folder.h"
#include "model/hf/config.h"
#include "model/hf/halves.h"
#include "model/hf/tokenizer_files.h"
#include "train/conversion/record.h"
#include "train/export/masters.h"
#include <jansson.h>
#include <math.h>
#include <stdlib.h>

typedef struct work {
    const export_choice *from;
    const char *folder; /* the temporary one */
    dtype storage;
    model_config config; /* of the first checkpoint */
    param_table table;
    float *unit;           /* room for the largest */
    uint64_t *meant;       /* (units) the hash of each unit after rounding */
    written_files written; /* the small files */
} work;

/* ---- writing ------------------------------------------------------------------------------------------- */

static json_t *make_record(const work *w)
{
    const chosen_checkpoint *first = &w->from->item[0];
    const bool measured = w->from->count == 1; /* of a mean it was not */
    json_t *steps = json_array();
    for (int i = 0; i < w->from->count; i++)
        json_array_append_new(steps, json_integer((json_int_t)w->from->item[i].state.step));
    return memory_check(json_pack("{s:s, s:o, s:o, s:I, s:o, s:s}", "remla", REMLA_VERSION, "checkpoint",
                                  json_text_string(first->folder), "steps", steps, "tokens",
                                  (json_int_t)first->state.tokens, "val_loss",
                                  json_text_real(measured ? first->val_loss : (double)NAN), "dtype",
                                  dtype_name(w->storage)),
                        "export.json");
}

static status write_small(work *w, const char *base, json_t *record, message *why)
{
    const char *from = w->from->item[0].folder;
    char path[PATH_BYTES], *text = config_with_storage(&w->config, w->storage);
    const status s = written_text(&w->written, path_join(path, w->folder, "config.json"), text, why);
    free(text);
    TRY(s);
    TRY(tokenizer_files_copy(from, w->folder, &w->written, why));
    TRY(conversion_record_copy(base, w->folder, &w->written, why));
    return json_text_write(json_incref(record), JSON_INDENT(2) | JSON_REAL_PRECISION(9),
                           path_join(path, w->folder, "export.json"), &w->written, why);
}

static uint64_t unit_hash(const work *w, int unit)
{
    hash_state *h = hash_start();
    hash_update(h, w->unit, (int64_t)sizeof *w->unit * w->table.unit_numel[unit]);
    return hash_finish(h);
}

static status write_unit(work *w, masters_reader *masters, model_writer *out, int unit, message *why)
{
    const int64_t numel = w->table.unit_numel[unit];
    TRY(masters_unit(masters, unit, w->unit, why));
    const tensor flat = tensor_of(w->unit, F32, "masters", 1, &numel);
    TRY(model_writer_unit(out, unit, &flat, why));
    halves_round(w->unit, numel, w->storage); /* the writer has refused what does not fit */
    w->meant[unit] = unit_hash(w, unit);
    return OK;
}

static status write_weights(work *w, message *why)
{
    masters_reader masters;
    model_writer out;
    TRY(masters_open(&masters, w->from, &w->table, why));
    status s =
        model_writer_open(&out, w->folder, &w->table, ops_cpu_f32(), w->storage, MODEL_FILE_BYTES, why);
    const bool open = s == OK;
    for (int u = 0; u < w->table.num_units && s == OK; u++) s = write_unit(w, &masters, &out, u, why);
    if (s == OK) s = masters_proved(&masters, why);
    if (s == OK) s = model_writer_finish(&out, why);
    if (open && s != OK) model_writer_abandon(&out);
    masters_close(&masters);
    return s;
}

/* ---- reading back -------------------------------------------------------------------------------------- */

static status compare_small(const work *w, message *why)
{
    for (int64_t i = 0; i < w->written.count; i++) {
        const written_file *f = &w->written.file[i];
        char path[PATH_BYTES];
        uint64_t hash;
        int64_t bytes;
        TRY(file_hash(path_join(path, w->folder, f->name), &hash, &bytes, why));
        if (hash != f->hash || bytes != f->bytes)
            return fail(why, ERR_DEVICE, "%s: is not what was written: the disk has changed it", path);
    }
    return OK;
}

static status compare_weights(work *w, message *why)
{
    model_config config;
    param_table table;
    model_reader in;
    TRY(config_read(&config, w->folder, why));
    param_table_init(&table, &config.d);
    status s = model_reader_open(&in, w->folder, &table, ops_cpu_f32(), why);
    const bool open = s == OK;
    for (int u = 0; u < w->table.num_units && s == OK; u++) {
        tensor flat = tensor_of(w->unit, F32, "weights", 1, &w->table.unit_numel[u]);
        s = model_reader_unit(&in, u, &flat, why);
        if (s == OK && unit_hash(w, u) != w->meant[u])
            s = fail(why, ERR_DEVICE, "%s: the weights from %s on are not what was written", w->folder,
                     w->table.param[w->table.unit_first[u]].name);
    }
    if (open) model_reader_close(&in);
    param_table_free(&table);
    config_free(&config);
    return s;
}

/* ---- all of it ----------------------------------------------------------------------------------------- */

static status work_open(work *w, message *why)
{
    TRY(config_read(&w->config, w->from->item[0].folder, why));
    param_table_init(&w->table, &w->config.d);
    const int64_t most = param_table_largest(&w->table);
    w->unit = memory_new(most, sizeof *w->unit, "a unit of %lld weights", (long long)most);
    w->meant = memory_new(w->table.num_units, sizeof *w->meant, "%d hashes", w->table.num_units);
    return OK;
}

static void work_close(work *w)
{
    free(w->unit);
    free(w->meant);
    written_free(&w->written);
    param_table_free(&w->table);
    config_free(&w->config);
}

static status make(work *w, const char *base, json_t *record, message *why)
{
    TRY(write_small(w, base, record, why));
    TRY(write_weights(w, why));
    TRY(compare_small(w, why));
    return compare_weights(w, why);
}

status export_write(const export_choice *from, const char *base, dtype storage, const char *target,
                    json_t **record, message *why)
{
    work w = {.from = from, .storage = storage};
    temporary_folder t = {.lock = -1};
    TRY(folder_check_vacant(target, why));
    TRY(work_open(&w, why));
    status s = temporary_folder_open(&t, target, why);
    w.folder = t.path;
    json_t *made = make_record(&w);
    if (s == OK) s = make(&w, base, made, why);
    if (s == OK) s = temporary_folder_commit(&t, target, why);
    temporary_folder_close(&t);
    work_close(&w);
    if (s == OK)
        *record = made;
    else
        json_decref(made);
    return s;
}
