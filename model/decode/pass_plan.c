/* Writes a pass as numbers: which token is in which row, at which position, and where the cache has it. They
 * stand in one array on the host, which is uploaded in one piece. */
#include "base/status.h"
#include "model/decode/pass.h"
#include <stddef.h>

enum { ALIGNMENT = 4 }; /* numbers: pieces begin at multiples of 16 bytes */

int64_t pass_numbers(const dims *d, const decoder_settings *s)
{
    const int64_t spans = s->rows < s->sequences ? s->rows : s->sequences,
                  most_pages = decoder_pages_of(s->longest);
    int64_t pieces = 8, numbers = 3 * s->rows;           /* tokens, position, slot */
    numbers += (spans + 1) + spans + spans * most_pages; /* start, length, table */
    numbers += 2 * spans * DECODER_PAGE;                 /* copies */
    if (s->materialise && d->kind == ATTENTION_MLA) {
        pieces += 1 + 3 * spans;
        numbers += most_pages + spans * (2 + 1 + s->longest); /* table; start, length and slots of each */
    }
    return numbers + pieces * (ALIGNMENT - 1);
}

/* Cuts a tensor out of the numbers; returns where they are filled in. */
static int32_t *cut(struct decoder_parts *p, tensor *t, const char *name, int rank, const int64_t *dim)
{
    *t = tensor_of(NULL, I32, name, rank, dim);
    const int64_t from = p->num_numbers, count = tensor_numel(t);
    t->data = tensor_rows(&p->numbers, from, count).data;
    p->num_numbers += (count + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    return p->host_numbers + from;
}
#define CUT(p, t, name, ...)                                                                                 \
    cut(p, t, name, (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (int64_t[]){__VA_ARGS__})

/* Appends to the sequences. Rows of pages that must be copied first become a list. */
static void append(struct decoder_parts *p, const span *spans, int count)
{
    pass *a = &p->now;
    a->num_copied = 0;
    for (int i = 0; i < count; i++) {
        p->copy[i] = pages_append(&p->pages, spans[i].sequence, spans[i].count);
        a->num_copied += p->copy[i].positions;
    }
    if (a->num_copied == 0) return;
    int32_t *to = CUT(p, &a->copy_to, "copy_to", a->num_copied),
            *from = CUT(p, &a->copy_from, "copy_from", a->num_copied);
    for (int i = 0; i < count; i++)
        for (int64_t t = 0; t < p->copy[i].positions; t++) {
            *to++ = (int32_t)(p->copy[i].to * p->pages.size + t);
            *from++ = (int32_t)(p->copy[i].from * p->pages.size + t);
        }
}

/* Tokens, positions and places of all rows, those of expanded spans last; and which row is which. */
static void fill_rows(decoder *x, const span *spans, int count)
{
    struct decoder_parts *p = x->parts;
    pass *a = &p->now;
    int32_t *tokens = CUT(p, &a->tokens, "tokens", a->N),
            *position = CUT(p, &a->position, "position", 1, a->N), *slot = CUT(p, &a->slot, "slot", a->N);
    int64_t row = 0;
    for (int expanded = 0; expanded < 2; expanded++) {
        int64_t counted = 0; /* by the caller */
        for (int i = 0; i < count; counted += spans[i++].count) {
            const span *s = &spans[i];
            if (pass_expands(x, s) != expanded) continue;
            const int64_t past = pages_sequence(&p->pages, s->sequence)->length - s->count;
            for (int64_t t = 0; t < s->count; t++, row++) {
                tokens[row] = s->tokens[t];
                position[row] = (int32_t)(past + t);
                slot[row] = pages_row(&p->pages, s->sequence, past + t);
                a->row[counted + t] = (int32_t)row;
            }
        }
    }
}

/* The spans that attend over the cache: where each begins, and its pages. */
static void fill_ragged(decoder *x, const span *spans, int count)
{
    struct decoder_parts *p = x->parts;
    pass *a = &p->now;
    a->r = (ragged){.page = p->pages.size};
    for (int i = 0; i < count; i++) {
        if (pass_expands(x, &spans[i])) continue;
        const int64_t length = pages_sequence(&p->pages, spans[i].sequence)->length;
        a->r.N += spans[i].count;
        a->r.sequences++;
        if (length > a->r.longest) a->r.longest = length;
    }
    if (a->r.N == 0) return;
    const int64_t most = (a->r.longest + p->pages.size - 1) / p->pages.size;
    int32_t *start = CUT(p, &a->r.start, "start", a->r.sequences + 1),
            *lengths = CUT(p, &a->r.length, "length", a->r.sequences),
            *table = CUT(p, &a->r.table, "table", a->r.sequences, most);
    a->r.slot = tensor_rows(&a->slot, 0, a->r.N);
    *start = 0;
    for (int i = 0; i < count; i++) {
        if (pass_expands(x, &spans[i])) continue;
        const page_sequence *s = pages_sequence(&p->pages, spans[i].sequence);
        start[1] = *start + (int32_t)spans[i].count;
        start++;
        *lengths++ = (int32_t)s->length;
        for (int64_t page = 0; page < most; page++)
            *table++ = page * p->pages.size < s->length ? s->page[page] : 0;
    }
}

/* The others: each attends by itself, over expanded keys, where pages lie one after another. */
static void fill_expanded(decoder *x, const span *spans, int count)
{
    struct decoder_parts *p = x->parts;
    pass *a = &p->now;
    a->num_expanded = 0;
    if (a->r.N == a->N) return;
    tensor table;
    int32_t *own = CUT(p, &table, "table", 1, p->pages.most);
    for (int64_t i = 0; i < p->pages.most; i++) own[i] = (int32_t)i;
    int64_t from = a->r.N;
    for (int i = 0; i < count; i++) {
        const span *s = &spans[i];
        if (!pass_expands(x, s)) continue;
        const int64_t length = pages_sequence(&p->pages, s->sequence)->length, N = s->count;
        expanded_span *e = &a->expanded[a->num_expanded++];
        *e = (expanded_span){
            .from = from,
            .r = {.N = N, .sequences = 1, .page = p->pages.size, .longest = length, .table = table}};
        int32_t *start = CUT(p, &e->r.start, "start", 2), *lengths = CUT(p, &e->r.length, "length", 1),
                *slots = CUT(p, &e->slots, "slots", length);
        start[0] = 0, start[1] = (int32_t)N;
        *lengths = (int32_t)length;
        for (int64_t t = 0; t < length; t++) slots[t] = pages_row(&p->pages, s->sequence, t);
        e->r.slot = tensor_view(&a->position, 1, (int64_t[]){a->N}); /* position p is row p */
        e->r.slot = tensor_rows(&e->r.slot, from, N);
        from += N;
    }
}

void pass_plan(decoder *x, const span *spans, int count)
{
    struct decoder_parts *p = x->parts;
    p->num_numbers = 0;
    p->now.N = 0;
    for (int i = 0; i < count; i++) p->now.N += spans[i].count;
    append(p, spans, count);
    fill_rows(x, spans, count);
    fill_ragged(x, spans, count);
    fill_expanded(x, spans, count);
    tensor used = tensor_rows(&p->numbers, 0, p->num_numbers);
    x->m->k->upload_i32(&used, p->host_numbers, x->m->k->stream);
}
