/* The memory of a decoder, laid out twice: on an arena that counts, and on the real one. */
#include "base/memory.h"
#include "model/angles.h"
#include "model/decode/pass.h"
#include <stdlib.h>

/* At most this many logits exist at a time: 64 MiB as float. */
enum { LOGIT_ELEMENTS = 1 << 24 };
/* Partial results of attention, for cores that have no row of their own when sequences are few and long. */
enum { PARTIAL_ROWS = 256 };

static int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t larger(int64_t a, int64_t b) { return a > b ? a : b; }
/* Positions of the pages that so many fill. */
static int64_t whole_pages(int64_t positions) { return decoder_pages_of(positions) * DECODER_PAGE; }

static bool expands(const dims *d, const decoder_settings *s)
{
    return s->materialise && d->kind == ATTENTION_MLA;
}

static pass_rows rows_layout(const dims *d, const ops *k, int64_t N, arena *a)
{
    const dtype act = k->act;
    const bool mla = d->kind == ATTENTION_MLA;
    pass_rows r = {
        .x = arena_tensor(a, act, "x", N, d->C),
        .h = arena_tensor(a, act, "h", N, d->C),
        .delta = arena_tensor(a, act, "delta", N, d->C),
        .q = arena_tensor(a, act, "q", N, d->H * (mla ? d->Dn + d->Dr : d->D)),
        .heads = arena_tensor(a, act, "heads", N, d->H * (mla ? d->Dv : d->D)),
        .gate = arena_tensor(a, act, "gate", N, d->F),
        .up = arena_tensor(a, act, "up", N, d->F),
        .act = arena_tensor(a, act, "act", N, d->F),
        .rstd = arena_tensor(a, k->real, "rstd", N),
        .hidden = arena_tensor(a, act, "hidden", N, d->C),
    };
    if (mla) {
        if (d->Rq) r.q_latent = arena_tensor(a, act, "q_latent", N, d->Rq);
        r.kv_a = arena_tensor(a, act, "kv_a", N, d->R + d->Dr);
        r.latent_heads = arena_tensor(a, act, "latent_heads", N, d->H * d->R);
        r.latent_q = arena_tensor(a, act, "latent_q", N, d->H * (d->R + d->Dr));
    } else {
        r.k = arena_tensor(a, act, "k", N, d->G * d->D);
        r.v = arena_tensor(a, act, "v", N, d->G * d->D);
    }
    return r;
}

static cached cached_layout(const decoder_settings *s, const ops *k, const char *name, int64_t width,
                            arena *a)
{
    const int64_t rows = whole_pages(s->positions);
    cached c = {.rows = arena_tensor(a, s->cache == F32 ? k->real : s->cache, name, rows, width)};
    if (s->cache == F8) c.scale = arena_tensor(a, F32, "scale", rows);
    return c;
}

static void layout(struct decoder_parts *p, const dims *d, const ops *k, const decoder_settings *s, arena *a)
{
    const dtype act = k->act, real = k->real;
    const bool mla = d->kind == ATTENTION_MLA;
    for (int64_t l = 0; l < d->L; l++) {
        p->k[l] = cached_layout(s, k, mla ? "latents" : "keys", mla ? d->R + d->Dr : d->G * d->D, a);
        if (!mla) p->v[l] = cached_layout(s, k, "values", d->G * d->D, a);
    }
    angles_layout(&p->cosine, &p->sine, d, k, s->longest, a);
    p->rows = rows_layout(d, k, s->rows, a);
    p->scratch =
        arena_tensor(a, real, "scratch", PARTIAL_ROWS * d->H * (larger(mla ? d->R : d->D, d->Dv) + 2));
    if (expands(d, s)) {
        const int64_t rows = whole_pages(s->longest);
        p->keys.rows = arena_tensor(a, act, "expanded keys", rows, d->H * (d->Dn + d->Dr));
        p->values.rows = arena_tensor(a, act, "expanded values", rows, d->H * d->Dv);
        p->piece = arena_tensor(a, act, "piece", EXPANDED_ROWS, d->R + d->Dr);
        p->piece_nope = arena_tensor(a, act, "piece_nope", EXPANDED_ROWS, d->H * d->Dn);
    }
    p->numbers = arena_tensor(a, I32, "numbers", pass_numbers(d, s));
    p->picks = arena_tensor(a, I32, "picks", s->rows);
    p->targets = arena_tensor(a, I32, "targets", s->rows);
    p->picked = arena_tensor(a, act, "picked", s->rows, d->C);
    p->scores = arena_tensor(a, F64, "scores", s->rows, 3);
    p->logits = arena_tensor(a, real, "logits", smaller(s->rows, larger(LOGIT_ELEMENTS / d->V, 1)), d->V);
}

/* Lays out on an arena that counts; returns the size. */
static int64_t measure(struct decoder_parts *p, const dims *d, const ops *k, const decoder_settings *s)
{
    REQUIRE(s->rows >= 1 && s->sequences >= 1 && s->positions >= 1 && s->longest >= 1,
            "a decoder of %lld rows, %lld sequences, %lld positions, sequences of %lld", (long long)s->rows,
            (long long)s->sequences, (long long)s->positions, (long long)s->longest);
    REQUIRE(s->cache == F32 || s->cache == BF16 || s->cache == F8, "a cache in %s", dtype_name(s->cache));
    *p = (struct decoder_parts){.memory = {.name = "decoder", .device = k->device}};
    p->k = memory_new(2 * d->L, sizeof *p->k, "a cache of %lld layers", (long long)d->L);
    p->v = p->k + d->L;
    arena size = {.name = p->memory.name};
    layout(p, d, k, s, &size);
    return size.used;
}

int64_t decoder_expands_from(const dims *d, int64_t rows)
{
    if (d->kind != ATTENTION_MLA) return 0;
    /* Products of a head with a position, in a pass. */
    const int64_t latent = rows * (2 * d->R + d->Dr),
                  expanded = rows * (d->Dn + d->Dr + d->Dv) + d->R * (d->Dn + d->Dv);
    return 3 * expanded <= 2 * latent ? rows : 0;
}

int64_t decoder_bytes(const dims *d, const ops *k, const decoder_settings *s)
{
    struct decoder_parts p;
    const int64_t bytes = measure(&p, d, k, s);
    free(p.k);
    return bytes;
}

void decoder_init(decoder *x, const model *m, const decoder_settings *s)
{
    const dims *d = &m->d;
    *x = (decoder){.m = m, .settings = *s, .parts = memory_new(1, sizeof *x->parts, "a decoder")};
    x->settings.positions = whole_pages(s->positions);
    struct decoder_parts *p = x->parts;
    arena_reserve(&p->memory, measure(p, d, m->k, s));
    layout(p, d, m->k, s, &p->memory);
    angles_upload(&p->cosine, &p->sine, d, m->k);

    pages_init(&p->pages, DECODER_PAGE, decoder_pages_of(s->positions), (int)s->sequences, s->longest);
    p->copy = memory_new(s->sequences, sizeof *p->copy, "copies of pages");
    p->seen = memory_new(s->sequences, sizeof *p->seen, "sequences of a pass");
    p->now.expanded = memory_new(s->sequences, sizeof *p->now.expanded, "spans of a pass");
    p->now.row = memory_new(s->rows, sizeof *p->now.row, "rows of a pass");
    p->host_numbers = memory_new(p->numbers.dim[0], sizeof *p->host_numbers, "the numbers of a pass");
    p->host_picks = memory_new(s->rows, sizeof *p->host_picks, "rows to score");
    p->host_scores = memory_new(3 * s->rows, sizeof *p->host_scores, "scores");
}

void decoder_free(decoder *x)
{
    struct decoder_parts *p = x->parts;
    if (p) {
        pages_free(&p->pages);
        free(p->copy);
        free(p->seen);
        free(p->now.expanded);
        free(p->now.row);
        free(p->host_numbers);
        free(p->host_picks);
        free(p->host_scores);
        free(p->k);
        arena_release(&p->memory);
        free(p);
    }
    *x = (decoder){0};
}

_Static_assert(sizeof(pass_rows) % sizeof(tensor) == 0, "pass_rows holds more than tensors");

pass_rows pass_rows_first(const pass_rows *rows, int64_t N)
{
    pass_rows first = *rows;
    tensor *t = (tensor *)&first;
    for (size_t i = 0; i < sizeof first / sizeof *t; i++)
        if (tensor_present(&t[i])) t[i] = tensor_rows(&t[i], 0, N);
    return first;
}

tensor pass_heads(const tensor *t, int64_t heads)
{
    tensor view = *t;
    view.rank = 3;
    view.dim[1] = heads, view.dim[2] = t->dim[1] / heads;
    view.stride[1] = view.dim[2], view.stride[2] = 1;
    return view;
}

tensor pass_as_sequence(const tensor *t)
{
    tensor view = *t;
    view.rank = 4;
    view.dim[0] = 1, view.stride[0] = t->dim[0] * t->stride[0];
    for (int i = 0; i < 3; i++) view.dim[i + 1] = t->dim[i], view.stride[i + 1] = t->stride[i];
    return view;
}
