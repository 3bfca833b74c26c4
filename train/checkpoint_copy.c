/* The copy of what a checkpoint holds: file after file, tensor after tensor, as they are written. On a device
 * copies are queued behind the last step and go to pinned memory. Elements keep the type that they have. */
#include "base/device.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/memory_available.h"
#include "train/checkpoint_files.h"
#include <stdlib.h>

/* A copy takes no more than this part of the memory that is left, of which each rank of the host has its
 * share. */
static const double PART_OF_FREE = 0.75;
enum { CHUNK = 16 << 20, MANY = 16 /* of a small copy */, FEWEST = 4 };

static copy_ring *ring_new(const checkpoint_files *x)
{
    const optimizer *const o = x->o;
    int64_t all = 0, chunks = 0;
    for (int i = 0; i < x->count; i++) all += checkpoint_file_copied(&x->file[i]);
    const int64_t chunk = all > CHUNK * MANY ? CHUNK : (all / MANY + 63) / 64 * 64 + 64;
    for (int i = 0; i < x->count; i++) chunks += (checkpoint_file_copied(&x->file[i]) + chunk - 1) / chunk;
    const double room = PART_OF_FREE * (double)memory_available_bytes() / o->c->local_size;
    int64_t most = (int64_t)(room / (double)chunk);
    if (most < FEWEST) most = FEWEST;
    if (chunks > most) {
        log_line(
            "a checkpoint's copy takes %.1f GB of a rank's memory, and %.1f GB can be used: the training "
            "will wait for the disk",
            (double)chunks * (double)chunk / 1e9, (double)most * (double)chunk / 1e9);
        chunks = most;
    }
    return copy_ring_new(o->k->device, chunk, chunks);
}

static void hand_over(checkpoint_files *x)
{
    if (!x->chunk) return;
    if (x->o->k->device) device_copies_finish(x->o->k->device);
    x->chunk = NULL;
    copy_ring_filled(x->ring);
}

/* `on_host`: the tensor lies there even where the ops compute on a device. */
static void copy_out(const ops *k, void *to, const tensor *t, bool on_host)
{
    if (on_host)
        ops_cpu_f32()->download(to, t, NULL); /* by all threads */
    else if (k->device)
        device_copy_out(k->device, to, t->data, tensor_numel(t) * dtype_bytes(t->type));
    else
        k->download(to, t, k->stream);
}

/* Appends elements [from, from+count) of a flat tensor to the copy. */
static void put(checkpoint_files *x, const tensor *flat, int64_t from, int64_t count, bool on_host)
{
    const int64_t size = dtype_bytes(flat->type), chunk = copy_ring_chunk_bytes(x->ring);
    while (count > 0) {
        if (!x->chunk) x->chunk = copy_ring_empty(x->ring);
        const int64_t room = (chunk - x->chunk->bytes) / size, n = count < room ? count : room;
        const tensor part = tensor_slice(flat, from, n);
        copy_out(x->o->k, x->chunk->data + x->chunk->bytes, &part, on_host);
        x->chunk->bytes += n * size;
        from += n;
        count -= n;
        if (n == room) hand_over(x);
    }
}

/* ---- model files --------------------------------------------------------------------------------------- */

/* A unit as the model files have it: weights as a pass reads them, or masters where these are of another
 * type, in `full` (padded). */
static tensor unit_take(checkpoint_files *x, int u, float *full)
{
    optimizer *const o = x->o;
    if (full) {
        optimizer_gather(o, OPTIM_MASTER, u, full);
        return tensor_of(full, F32, "masters", 1, &o->s->layout.padded[u]);
    }
    const units whole = shards_weights(o->s);
    return units_acquire(&whole, u);
}

static void unit_give_back(checkpoint_files *x, int u, const float *full)
{
    const units whole = shards_weights(x->o->s);
    if (full) return;
    if (x->o->k->device) device_copies_finish(x->o->k->device); /* another may come to its place */
    units_release(&whole, u);
}

/* Tensors follow each other as units do, so one place leads through files and units. All ranks take part in
 * all units, which may have to be gathered. */
static void copy_models(checkpoint_files *x)
{
    const shards *const s = x->o->s;
    const bool masters = x->storage == F32 && s->k->act != F32;
    const int64_t largest = shards_padded(s, shards_largest(s));
    float *full =
        masters ? memory_new(largest, sizeof *full, "a unit of %lld elements", (long long)largest) : NULL;
    int file = 0, at = 0;
    for (int u = 0; u < s->table->num_units; u++) {
        const tensor unit = unit_take(x, u, full);
        while (file < x->count && x->file[file].model && x->file[file].tensor[at].of->unit == u) {
            const param *p = x->file[file].tensor[at].of;
            put(x, &unit, p->offset, p->numel, full);
            if (++at < x->file[file].count) continue;
            hand_over(x);
            file++;
            at = 0;
        }
        unit_give_back(x, u, full);
    }
    free(full);
}

/* ---- state files --------------------------------------------------------------------------------------- */

static void copy_states(checkpoint_files *x, const checkpoint_file *f)
{
    const optimizer *const o = x->o;
    if (o->states.offloaded) device_copies_finish(o->k->device);
    for (const state_tensor *t = f->tensor; t < f->tensor + f->count; t++) {
        const int u = t->of->unit;
        const tensor mine = optimizer_part(o, t->part, u);
        put(x, &mine, t->of->offset + t->from - shards_before(o->s, u), t->count, o->states.offloaded);
    }
    hand_over(x);
}

void checkpoint_files_room(checkpoint_files *x)
{
    if (!x->ring) x->ring = ring_new(x);
}

void checkpoint_files_copy(checkpoint_files *x)
{
    copy_models(x);
    for (int i = 0; i < x->count; i++)
        if (!x->file[i].model) copy_states(x, &x->file[i]);
    /* A rank that copies nothing of the last units takes part in bringing them to the others all the same: it
     * ends that before it waits for them elsewhere. */
    if (x->o->k->device) device_sync(x->o->k->device);
}
