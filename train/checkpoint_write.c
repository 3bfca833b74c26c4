/* The writing side of a checkpoint's copy, on a thread of its own. What is hashed is what was copied: bytes
 * of files for the manifest, and values for the state. */
#include "base/fingerprint.h"
#include "base/memory.h"
#include "model/hf/halves.h"
#include "train/checkpoint_files.h"
#include <string.h>

enum { VALUES = 1 << 16 }; /* at a time: they stay in the cache from one use to the next */

static uint64_t rounded_sum(checkpoint_files *x, const float *values, int64_t count, int64_t first)
{
    memcpy(x->values, values, sizeof *values * (size_t)count);
    halves_round(x->values, count, x->o->k->act);
    return fingerprint_f32(x->values, count, first);
}

/* Masters are in the model files or, beside rounded ones, in the state files. Weights as a pass reads them
 * are in the model files, or are the masters, or follow from these. */
static void add_sums(checkpoint_files *x, const checkpoint_file *f, const float *values, int64_t count)
{
    const state_tensor *t = &f->tensor[f->at];
    const param_table *table = x->o->s->table;
    const bool masters = t->part == OPTIM_MASTER && (!f->model || x->storage == F32),
               own = x->o->k->act == F32; /* weights are their own masters */
    int64_t first = param_table_before(table, t->of->unit) + t->of->offset + t->from + f->done;
    if (t->part == OPTIM_V) first += param_table_numel(table);
    const uint64_t sum = fingerprint_f32(values, count, first);
    if (t->part != OPTIM_MASTER) x->sums.moments += sum;
    if (masters) x->sums.masters += sum;
    if (own ? masters : f->model)
        x->sums.weights += masters && !own ? rounded_sum(x, values, count, first) : sum;
}

/* Brings elements that were copied to float: as they are where they are of that type. */
static const float *values_of(checkpoint_files *x, const checkpoint_file *f, const char *data, int64_t count)
{
    if (f->copied == F32) return (const float *)data;
    halves_widen(x->values, (const uint16_t *)data, count, f->copied);
    return x->values;
}

static status write_chunk(checkpoint_files *x, checkpoint_file *f, const copy_chunk *c, message *why)
{
    const int64_t size = dtype_bytes(f->copied);
    for (int64_t at = 0, n; at < c->bytes; at += n * size) {
        const int64_t left = f->tensor[f->at].count - f->done, here = (c->bytes - at) / size;
        n = left < here ? left : here;
        if (n > VALUES) n = VALUES;
        const float *values = values_of(x, f, c->data + at, n);
        add_sums(x, f, values, n);
        const status s = safetensors_append(&f->out, values, n, why);
        f->open = s == OK; /* a writer that failed has removed its file */
        TRY(s);
        f->done += n;
        if (n < left) continue;
        f->at++;
        f->done = 0;
    }
    return OK;
}

static status finish(checkpoint_files *x, checkpoint_file *f, message *why)
{
    uint64_t hash;
    int64_t bytes;
    f->open = false; /* also after a failure */
    TRY(safetensors_finish(&f->out, &hash, &bytes, why));
    written_add(&x->written, f->name, bytes, hash);
    return OK;
}

status checkpoint_files_write(checkpoint_files *x, message *why)
{
    status s = OK;
    written_free(&x->written);
    x->sums = (checkpoint_sums){0};
    if (!x->values) x->values = memory_new(VALUES, sizeof *x->values, "%d values", VALUES);
    for (checkpoint_file *f = x->file; f < x->file + x->count; f++) {
        for (int64_t left = checkpoint_file_copied(f); left > 0;) {
            const copy_chunk *c = copy_ring_full(x->ring);
            if (s == OK && !x->stop) s = write_chunk(x, f, c, why);
            left -= c->bytes;
            copy_ring_emptied(x->ring); /* the copy must not wait for a disk that has failed */
        }
        if (s == OK && !x->stop) s = finish(x, f, why);
        if (s != OK) x->failed = true;
    }
    checkpoint_files_abandon(x);
    return s;
}
