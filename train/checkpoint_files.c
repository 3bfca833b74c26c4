/* Shares the files out. A model file is written whole, by the rank in whose share of the model's bytes its
 * middle lies; states by slices. */
#include "train/checkpoint_files.h"
#include "base/memory.h"
#include "train/checkpoint.h"
#include <stdlib.h>

/* Limits a model file so that every rank has one, and that one rank's are those of model_save. */
static int64_t most_bytes(const param_table *t, int ranks, dtype storage)
{
    const int64_t share = (param_table_numel(t) * dtype_bytes(storage) + ranks - 1) / ranks;
    return share < MODEL_FILE_BYTES ? share : MODEL_FILE_BYTES;
}

static int64_t elements(const param_table *t, int from, int to)
{
    int64_t sum = 0;
    for (int i = from; i < to; i++) sum += t->param[i].numel;
    return sum;
}

static int owner(const param_table *t, const model_file *f, int ranks)
{
    const int64_t middle = elements(t, 0, f->from) + elements(t, f->from, f->to) / 2;
    return (int)(middle * ranks / param_table_numel(t));
}

static checkpoint_file model_part(const param_table *t, const model_file *f, dtype storage, dtype act)
{
    const int count = f->to - f->from;
    checkpoint_file x = {.model = true, .count = count, .stored = storage};
    x.copied = storage == F32 ? F32 : act; /* of masters, or of what passes read */
    x.tensor = memory_new(count, sizeof *x.tensor, "a list of %d tensors", count);
    for (int i = 0; i < count; i++) {
        const param *p = &t->param[f->from + i];
        x.tensor[i] = (state_tensor){.part = OPTIM_MASTER, .of = p, .count = p->numel};
    }
    snprintf(x.name, sizeof x.name, "%s", f->name);
    return x;
}

static checkpoint_file state_part(const param_table *t, int rank, int ranks, dtype storage)
{
    checkpoint_file x = {.copied = F32, .stored = F32};
    x.tensor = state_tensors(t, rank, ranks, storage != F32, &x.count);
    state_file_name(x.name, rank);
    return x;
}

/* Lays out the files of one rank. */
static void lay_out(checkpoint_files *x, const param_table *t, int rank, int ranks, dtype act)
{
    x->model = model_files(t, x->storage, most_bytes(t, ranks, x->storage), &x->models);
    x->file = memory_new(x->models + 1, sizeof *x->file, "a list of %d files", x->models + 1);
    for (int i = 0; i < x->models; i++)
        if (owner(t, &x->model[i], ranks) == rank)
            x->file[x->count++] = model_part(t, &x->model[i], x->storage, act);
    x->file[x->count] = state_part(t, rank, ranks, x->storage);
    if (x->file[x->count].count > 0)
        x->count++;
    else
        free(x->file[x->count].tensor);
}

void checkpoint_files_init(checkpoint_files *x, optimizer *o, dtype storage)
{
    *x = (checkpoint_files){.o = o, .storage = storage};
    lay_out(x, o->s->table, o->c->rank, o->c->size, o->k->act);
}

void checkpoint_files_free(checkpoint_files *x)
{
    for (int i = 0; i < x->count; i++) free(x->file[i].tensor);
    free(x->file);
    free(x->model);
    free(x->values);
    copy_ring_free(x->ring);
    written_free(&x->written);
    *x = (checkpoint_files){0};
}

int64_t checkpoint_file_copied(const checkpoint_file *f)
{
    int64_t sum = 0;
    for (int i = 0; i < f->count; i++) sum += f->tensor[i].count;
    return sum * dtype_bytes(f->copied);
}

/* ---- on the disk --------------------------------------------------------------------------------------- */

static status reserve(checkpoint_file *f, const char *folder, message *why)
{
    char path[PATH_BYTES];
    safetensors_spec *spec = memory_new(f->count, sizeof *spec, "%d tensor names", f->count);
    for (int i = 0; i < f->count; i++)
        spec[i] =
            f->model ? model_param_spec(f->tensor[i].of, "", f->stored) : state_tensor_spec(&f->tensor[i]);
    const status s = safetensors_create(&f->out, path_join(path, folder, f->name), spec, f->count, why);
    free(spec);
    f->open = s == OK;
    f->at = 0;
    f->done = 0;
    return s;
}

status checkpoint_files_reserve(checkpoint_files *x, const char *folder, message *why)
{
    status s = OK;
    for (int i = 0; i < x->count && s == OK; i++) s = reserve(&x->file[i], folder, why);
    if (s != OK) checkpoint_files_abandon(x);
    return s;
}

void checkpoint_files_abandon(checkpoint_files *x)
{
    for (checkpoint_file *f = x->file; f < x->file + x->count; f++) {
        if (f->open) safetensors_abandon(&f->out);
        f->open = false;
    }
}

/* ---- what they take ------------------------------------------------------------------------------------ */

int64_t checkpoint_bytes(const param_table *t, int ranks, dtype storage)
{
    return model_files_bytes(t, storage, most_bytes(t, ranks, storage)) +
           state_files_bytes(t, ranks, storage != F32);
}

int64_t checkpoint_copy_bytes(const param_table *t, int ranks, dtype storage, dtype act)
{
    int64_t most = 0;
    for (int rank = 0; rank < ranks; rank++) {
        checkpoint_files x = {.storage = storage};
        int64_t bytes = 0;
        lay_out(&x, t, rank, ranks, act);
        for (int i = 0; i < x.count; i++) bytes += checkpoint_file_copied(&x.file[i]);
        if (bytes > most) most = bytes;
        checkpoint_files_free(&x);
    }
    return most;
}
