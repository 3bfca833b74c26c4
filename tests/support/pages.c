/* See pages.h. */
#include "tests/support/pages.h"

static int64_t at(const tensor *t, int64_t i) { return (int64_t)check_get(t, i); }

static int64_t slot_of(const ragged *r, int64_t sequence, int64_t position)
{
    return at(&r->table, sequence * r->table.dim[1] + position / r->page) * r->page + position % r->page;
}

static int64_t pool_of(const ragged *r) { return (r->sequences * r->table.dim[1] + 2) * r->page; }

ragged pages_of(const pages_span *spans, int64_t sequences, int64_t page, uint64_t seed)
{
    ragged r = {.sequences = sequences, .page = page};
    for (int64_t i = 0; i < sequences; i++) {
        r.N += spans[i].rows;
        r.longest = spans[i].length > r.longest ? spans[i].length : r.longest;
    }
    const int64_t most = (r.longest + page - 1) / page;
    r.start = check_tensor(I32, "start", sequences + 1);
    r.length = check_tensor(I32, "length", sequences);
    r.table = check_tensor(I32, "table", sequences, most);
    r.slot = check_tensor(I32, "slot", r.N);
    /* Page i of the pool is (i * step + seed) modulo the pool: step has no factor in common with it. */
    const int64_t pool = sequences * most + 2;
    int64_t step = 1 + (int64_t)(seed % 7), a, b;
    do {
        step++;
        for (a = step, b = pool; b != 0;) {
            const int64_t rest = a % b;
            a = b;
            b = rest;
        }
    } while (a != 1);
    for (int64_t i = 0; i < sequences * most; i++)
        check_put(&r.table, i, (double)((i * step + (int64_t)seed) % pool));
    int64_t n = 0;
    for (int64_t i = 0; i < sequences; i++) {
        check_put(&r.start, i, (double)n);
        check_put(&r.length, i, (double)spans[i].length);
        for (int64_t row = 0; row < spans[i].rows; row++, n++)
            check_put(&r.slot, n, (double)slot_of(&r, i, spans[i].length - spans[i].rows + row));
    }
    check_put(&r.start, sequences, (double)n);
    return r;
}

/* The slots of all positions of a sequence. */
static tensor slots_of(const ragged *r, int64_t sequence)
{
    const int64_t length = at(&r->length, sequence);
    tensor slot = check_tensor(I32, "slot", length);
    for (int64_t p = 0; p < length; p++) check_put(&slot, p, (double)slot_of(r, sequence, p));
    return slot;
}

/* (length,width) of a sequence in (sequences, longest, width). */
static tensor rows_of(const tensor *all, int64_t sequence, int64_t length)
{
    return tensor_of((char *)all->data + sequence * all->stride[0] * dtype_bytes(all->type), all->type,
                     all->name, 2, (const int64_t[]){length, all->dim[2]});
}

cached pages_cache(const ops *k, dtype type, const ragged *r, const tensor *rows)
{
    cached c = {.rows = check_tensor(type, "cached", pool_of(r), rows->dim[2])};
    if (type == F8) c.scale = check_tensor(F32, "scale", pool_of(r));
    for (int64_t i = 0; i < r->sequences; i++) {
        const tensor slot = slots_of(r, i), inp = rows_of(rows, i, slot.dim[0]);
        k->cache_write(&c, &inp, &slot, k->stream);
    }
    return c;
}

tensor pages_read(const ops *k, const cached *c, const ragged *r)
{
    tensor all = check_tensor(k->act, "read", r->sequences, r->longest, c->rows.dim[1]);
    for (int64_t i = 0; i < r->sequences; i++) {
        const tensor slot = slots_of(r, i);
        tensor out = rows_of(&all, i, slot.dim[0]);
        k->cache_read(&out, c, &slot, k->stream);
    }
    return check_copy(&all, F64);
}

int64_t pages_sequence(const ragged *r, int64_t n)
{
    int64_t i = 0;
    while (at(&r->start, i + 1) <= n) i++;
    return i;
}

int64_t pages_position(const ragged *r, int64_t n)
{
    const int64_t i = pages_sequence(r, n);
    return at(&r->length, i) - (at(&r->start, i + 1) - n);
}
