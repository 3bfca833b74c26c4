/* Proves on the disk what checkpoint_load proves in memory. An element's place is its number in the model,
 * parameter after parameter (optim/fingerprints.h), so a file's parameters can be read in any pieces. */
#include "train/checkpoint_values.h"
#include "base/fingerprint.h"
#include "base/memory.h"
#include "model/hf/halves.h"
#include "model/hf/model_files.h"
#include "train/checkpoint_parts.h"
#include "train/value_source.h"
#include <stdlib.h>

enum { CHUNK = 1 << 20 }; /* elements */

status checkpoint_tensors_check(const char *folder, const dims *d, message *why)
{
    param_table table;
    state_reader files;
    TRY(model_check(folder, d, why));
    param_table_init(&table, d);
    const status s = state_reader_open(&files, folder, &table, why);
    if (s == OK) state_reader_close(&files);
    param_table_free(&table);
    return s;
}

static uint64_t fingerprint_rounded(float *x, int64_t count, int64_t first)
{
    halves_round(x, count, BF16);
    return fingerprint_f32(x, count, first);
}

/* `first`: the number of the first element. `rounded` (may be NULL): of the same values in bf16. */
static status fingerprint_of(const value_source *x, int64_t first, uint64_t *sum, uint64_t *rounded,
                             message *why)
{
    const param_table *const t = x->table;
    float *const part = memory_new(CHUNK, sizeof *part, "a part of a checkpoint");
    status s = OK;
    *sum = 0;
    if (rounded) *rounded = 0;
    for (int i = 0; i < t->count && s == OK; first += t->param[i++].numel)
        for (int64_t from = 0, count; from < t->param[i].numel && s == OK; from += count) {
            count = t->param[i].numel - from < CHUNK ? t->param[i].numel - from : CHUNK;
            s = value_source_read(x, i, from, count, part, why);
            if (s != OK) break;
            *sum += fingerprint_f32(part, count, first + from);
            if (rounded) *rounded += fingerprint_rounded(part, count, first + from);
        }
    free(part);
    return s;
}

/* Weights beside masters in files of their own are these, rounded. */
static status same_rounded(const char *folder, uint64_t found, uint64_t want, message *why)
{
    if (found == want) return OK;
    return fail(why, ERR_INPUT,
                "%s: the weights in its model files are not the masters in its state files, rounded", folder);
}

static status compare(const char *folder, const param_table *t, const state_reader *r,
                      const safetensors *tensors, const checkpoint_state *want, message *why)
{
    const int64_t N = param_table_numel(t);
    const bool half = tensors->count && tensors->entry[0].type == BF16;
    const value_source files = value_source_model(tensors, t), first = value_source_states(r, STATE_M),
                       second = value_source_states(r, STATE_V), kept = value_source_masters(r, tensors);
    uint64_t m, v, written, masters, rounded;
    TRY(fingerprint_of(&first, 0, &m, NULL, why));
    TRY(fingerprint_of(&second, N, &v, NULL, why));
    TRY(fingerprint_of(&files, 0, &written, NULL, why));
    masters = written;
    if (!kept.model) {
        TRY(fingerprint_of(&kept, 0, &masters, &rounded, why));
        TRY(same_rounded(folder, written, half ? rounded : masters, why));
    }
    if (!want->hashed) return OK;
    TRY(checkpoint_same_fingerprint(folder, "moments", m + v, want->moments, why));
    return checkpoint_same_fingerprint(folder, "masters", masters, want->masters, why);
}

status checkpoint_values_check(const char *folder, const dims *d, const checkpoint_state *state, message *why)
{
    param_table table;
    state_reader files;
    safetensors tensors;
    param_table_init(&table, d);
    status s = state_reader_open(&files, folder, &table, why);
    if (s == OK) {
        s = safetensors_open(&tensors, folder, why);
        if (s == OK) {
            s = compare(folder, &table, &files, &tensors, state, why);
            safetensors_close(&tensors);
        }
        state_reader_close(&files);
    }
    param_table_free(&table);
    return s;
}
