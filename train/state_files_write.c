/* Cuts the parameters of every unit at the borders of the ranks' slices. */
#include "train/state_files.h"
#include "base/memory.h"
#include "model/hf/model_files.h"
#include "optim/shard_layout.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *state_file_name(char *out, int rank)
{
    snprintf(out, STATE_FILE_NAME, "optim-%05d.safetensors", rank);
    return out;
}

bool state_file_is(const char *name)
{
    const char *const dot = strrchr(name, '.');
    return strncmp(name, "optim-", 6) == 0 && strcmp(dot ? dot : "", ".safetensors") == 0;
}

const char *state_prefix(optim_part part)
{
    static const char *const prefixes[] = {[OPTIM_M] = "m.", [OPTIM_V] = "v.", [OPTIM_MASTER] = "master."};
    return prefixes[part];
}

state_tensor *state_tensors(const param_table *t, int rank, int ranks, bool masters, int *count)
{
    static const optim_part parts[] = {OPTIM_M, OPTIM_V, OPTIM_MASTER};
    shard_layout l;
    shard_layout_init(&l, t, ranks, rank);
    state_tensor *list =
        memory_new((int64_t)t->count * 3, sizeof *list, "a list of %d tensors", t->count * 3);
    *count = 0;
    for (int u = 0; u < t->num_units; u++) {
        const int64_t slice = shard_layout_slice(&l, u), low = rank * slice, high = low + slice;
        for (int i = 0; i < 2 + masters; i++)
            for (const param *p = t->param + t->unit_first[u]; p < t->param + t->unit_first[u + 1]; p++) {
                int64_t from, to;
                if (param_within(p, low, high, &from, &to))
                    list[(*count)++] = (state_tensor){parts[i], p, from - p->offset, to - from};
            }
    }
    shard_layout_free(&l);
    return list;
}

safetensors_spec state_tensor_spec(const state_tensor *x)
{
    safetensors_spec spec = model_param_spec(x->of, state_prefix(x->part), F32);
    if (x->count == x->of->numel) return spec;
    const size_t used = strlen(spec.name);
    const int length = snprintf(spec.name + used, sizeof spec.name - used, "[%lld]", (long long)x->from);
    REQUIRE((size_t)length < sizeof spec.name - used, "tensor name '%s...' is too long", spec.name);
    spec.rank = 1;
    spec.dim[0] = x->count;
    return spec;
}

int64_t state_files_bytes(const param_table *t, int ranks, bool masters)
{
    int64_t bytes = 0;
    for (int rank = 0; rank < ranks; rank++) {
        int count;
        state_tensor *list = state_tensors(t, rank, ranks, masters, &count);
        safetensors_spec *spec = memory_new(count, sizeof *spec, "%d tensor names", count);
        for (int i = 0; i < count; i++) spec[i] = state_tensor_spec(&list[i]);
        bytes += safetensors_bytes(spec, count);
        free(spec);
        free(list);
    }
    return bytes;
}
