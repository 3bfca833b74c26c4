/* bench/decode [--only NAME] [--longest T] [--sequences B] [--seconds S] [--gib N] [device.kind=cuda ...]:
 * decoding, a token of each of B sequences that are T long, for lengths of 1K to 32K and 1 to 64 sequences.
 * Prints CSV: whole steps, attention over the cache alone, the bytes that each must read, and how both
 * compare with the original model and with this machine's memory, measured in the same run.
 *
 * Models (NAME is how one begins; decode_models.h): SmolLM2-135M whole, with its head, as it is and
 * converted; and a layer of Llama-2-7B without the head, as it is and converted to three sizes. Weights are
 * random, and so are the rows that fill the cache (f32, then bf16): no time here depends on the numbers. What
 * does not fit in N GiB (0.85 of what is free, less 1) is left out, and said.
 *
 * A time is the median of as many runs as take S (1) seconds, three at least. Attention's begin with nothing
 * of the cache in the processor's caches; in a whole step the weights see to that.
 *
 * "Share of limit" is the least time over what it took: the least is that of reading the bytes, or that of
 * the operations at the peak of multiply-adds if it is longer. "Gain" is the original's time over this
 * model's, with the same type of cache, length and number of sequences. "Reached" is gain over the ratio of
 * their bytes: 1 is all that a smaller cache gives where memory is the limit. */
#include "base/arena.h"
#include "base/clock.h"
#include "base/comm.h"
#include "base/machine.h"
#include "base/memory_available.h"
#include "bench/decode_table.h"
#include "bench/median.h"
#include "bench/random_model.h"
#include "eval/compute.h"
#include "model/decode/pass.h"
#include "train/option_words.h"
#include <string.h>

enum { LENGTHS = 6, BATCHES = 4, CACHE_TYPES = 2, MOST_SEQUENCES = 64, MOST_REPEATS = 21, LEAST_REPEATS = 3 };
static const int64_t lengths[LENGTHS] = {1024, 2048, 4096, 8192, 16384, 32768},
                     batches[BATCHES] = {1, 4, 16, MOST_SEQUENCES};
static const dtype cache_types[CACHE_TYPES] = {F32, BF16};

static void finish(const ops *k)
{
    if (k->device) device_sync(k->device);
}

/* ---- the speed of memory ------------------------------------------------------------------------------- */

static volatile float sink; /* what is read must be wanted */

/* Adds up all numbers as fast as memory gives them. */
static void read_cold(const bench *b)
{
    const float *numbers = b->cold.data;
    const int64_t n = tensor_numel(&b->cold);
    float sum = 0;
#pragma omp parallel for simd reduction(+ : sum) schedule(static)
    for (int64_t i = 0; i < n; i++) sum += numbers[i];
    sink = sum;
}

static double read_speed(const bench *b, tensor *result)
{
    double best = INFINITY;
    for (int i = 0; i < 9; i++) {
        finish(b->k);
        const double start = clock_seconds();
        if (b->k->device)
            b->k->sum(result, &b->cold, b->k->stream);
        else
            read_cold(b);
        finish(b->k);
        best = fmin(best, clock_seconds() - start);
    }
    return (double)(tensor_numel(&b->cold) * dtype_bytes(b->cold.type)) / best;
}

/* ---- sequences of any length --------------------------------------------------------------------------- */

enum { FILL_ROWS = 1024 };

/* Puts random rows everywhere in a cache. */
static void fill(const ops *k, cached *c)
{
    const int64_t rows = c->rows.dim[0], width = c->rows.dim[1];
    arena memory = {.name = "rows of the cache", .device = k->device};
    arena_reserve(&memory, FILL_ROWS * (width + 1) * 4 + 128);
    tensor values = arena_tensor(&memory, k->act, "rows", FILL_ROWS, width),
           slots = arena_tensor(&memory, I32, "slots", FILL_ROWS);
    float *numbers = memory_new(FILL_ROWS * width, sizeof *numbers, "rows of the cache");
    int32_t at[FILL_ROWS];
    uint64_t state = 3;
    for (int64_t i = 0; i < FILL_ROWS * width; i++) numbers[i] = random_number(&state, 1);
    k->upload(&values, numbers, k->stream);
    for (int64_t from = 0; from < rows; from += FILL_ROWS) {
        const int64_t n = rows - from < FILL_ROWS ? rows - from : FILL_ROWS;
        for (int64_t i = 0; i < n; i++) at[i] = (int32_t)(from + i);
        const tensor inp = tensor_rows(&values, 0, n);
        tensor slot = tensor_rows(&slots, 0, n);
        k->upload_i32(&slot, at, k->stream);
        k->cache_write(c, &inp, &slot, k->stream);
    }
    free(numbers);
    arena_release(&memory);
}

/* Opens so many sequences of this length, in the place of those that are open. Their pages are full: no
 * prompt is computed, which would take hours. */
static void open_sequences(decoder *x, int64_t batch, int64_t length)
{
    pages *p = &x->parts->pages;
    for (int i = 0; i < p->sequences; i++)
        if (p->sequence[i].open) decoder_close(x, i);
    for (int64_t i = 0; i < batch; i++) pages_append(p, decoder_open(x), length);
}

/* ---- times --------------------------------------------------------------------------------------------- */

/* A token of each sequence, behind length - 1 others. */
static double time_step(const bench *b, const decode_model *s, decoder *x, int64_t batch, int64_t length)
{
    static const int32_t token = 5;
    span spans[MOST_SEQUENCES];
    int32_t rows[MOST_SEQUENCES];
    for (int i = 0; i < batch; i++) {
        decoder_rewind(x, i, length - 1);
        spans[i] = (span){.sequence = i, .tokens = &token, .count = 1};
        rows[i] = i;
    }
    finish(b->k);
    const double start = clock_seconds();
    REQUIRE(decoder_forward(x, spans, (int)batch), "no pages for %lld sequences of %lld", (long long)batch,
            (long long)length);
    if (s->whole) decoder_logits(x, rows, batch, b->logits);
    finish(b->k);
    return clock_seconds() - start;
}

/* Attention of all layers, with the sequences and queries of the last pass. */
static double time_attention(const bench *b, decoder *x)
{
    const dims *d = &x->m->d;
    const ops *k = b->k;
    struct decoder_parts *p = x->parts;
    const bool mla = d->kind == ATTENTION_MLA;
    const double scale = 1 / sqrt((double)(mla ? d->Dn + d->Dr : d->D));
    const pass_rows rows = pass_rows_first(&p->rows, p->now.N);
    const tensor q = pass_heads(mla ? &rows.latent_q : &rows.q, d->H);
    tensor out = pass_heads(mla ? &rows.latent_heads : &rows.heads, d->H);
    if (!k->device) read_cold(b);
    finish(k);
    const double start = clock_seconds();
    for (int64_t l = 0; l < d->L; l++)
        if (mla)
            k->mla_decode(&out, &q, &p->k[l], &p->now.r, scale, &p->scratch, k->stream);
        else
            k->gqa_decode(&out, &q, &p->k[l], &p->v[l], &p->now.r, scale, &p->scratch, k->stream);
    finish(k);
    return clock_seconds() - start;
}

static point measure(const bench *b, const decode_model *s, decoder *x, int64_t batch, int64_t length)
{
    double medians[2];
    open_sequences(x, batch, length);
    time_step(b, s, x, batch, length); /* not counted */
    for (int what = 0; what < 2; what++) {
        double seconds[MOST_REPEATS];
        int n = 0;
        for (double sum = 0; n < MOST_REPEATS && (n < LEAST_REPEATS || sum < b->seconds); sum += seconds[n++])
            seconds[n] = what == 0 ? time_step(b, s, x, batch, length) : time_attention(b, x);
        medians[what] = median(seconds, n);
    }
    return (point){medians[0], medians[1]};
}

/* ---- all points ---------------------------------------------------------------------------------------- */

/* All lengths and batches of a model with one type of cache. Those of an original are written to `originals`,
 * those of others are compared with them. */
static void bench_cache(const bench *b, const decode_model *s, const decode_model *original, const model *m,
                        dtype cache, point originals[LENGTHS][BATCHES])
{
    const double row_bytes = attention_cost(&s->shape, cache, 1, 1).bytes, most = b->gib * 1073741824;
    int64_t positions = 0;
    for (int l = 0; l < LENGTHS && lengths[l] <= b->longest; l++)
        for (int i = 0; i < BATCHES && batches[i] <= b->sequences; i++) {
            const int64_t wanted = lengths[l] * batches[i];
            if ((double)wanted * row_bytes <= most && wanted > positions) positions = wanted;
        }
    if (positions == 0) return;
    decoder x;
    decoder_init(&x, m,
                 &(decoder_settings){.rows = MOST_SEQUENCES,
                                     .sequences = MOST_SEQUENCES,
                                     .positions = positions,
                                     .longest = lengths[LENGTHS - 1],
                                     .cache = cache});
    for (int64_t l = 0; l < s->shape.L; l++) {
        fill(b->k, &x.parts->k[l]);
        if (s->shape.kind == ATTENTION_GQA) fill(b->k, &x.parts->v[l]);
    }
    for (int l = 0; l < LENGTHS && lengths[l] <= b->longest; l++)
        for (int i = 0; i < BATCHES && batches[i] <= b->sequences; i++) {
            point here = {(double)NAN, (double)NAN};
            if (lengths[l] * batches[i] <= positions)
                here = measure(b, s, &x, batches[i], lengths[l]);
            else
                printf("# %s, %s, %lld sequences of %lld: %.1f GiB of cache do not fit in %.1f\n", s->name,
                       dtype_name(cache), (long long)batches[i], (long long)lengths[l],
                       (double)(lengths[l] * batches[i]) * row_bytes / 1073741824, b->gib);
            if (s == original) originals[l][i] = here;
            if (!isnan(here.step))
                decode_print_point(b, s, original, cache, batches[i], lengths[l], here, originals[l][i]);
        }
    decoder_free(&x);
}

/* ---- the command line ---------------------------------------------------------------------------------- */

static double number(const char *flag, const char *text)
{
    char *end;
    const double n = text ? strtod(text, &end) : 0;
    if (!text || *end || !(n > 0 && n < 1e6))
        die(ERR_USAGE, "%s wants a number above 0, not \"%s\"", flag, text ? text : "");
    return n;
}

static bench bench_of(int argc, char **argv, options *o)
{
    bench b = {.only = "", .longest = lengths[LENGTHS - 1], .sequences = MOST_SEQUENCES, .seconds = 1};
    message why;
    options_init(o);
    for (int i = 1; i < argc; i++) {
        const char *next = i + 1 < argc ? argv[i + 1] : NULL;
        if (!strcmp(argv[i], "--only") && next)
            b.only = argv[++i];
        else if (!strcmp(argv[i], "--longest"))
            b.longest = (int64_t)number(argv[i++], next);
        else if (!strcmp(argv[i], "--sequences"))
            b.sequences = (int64_t)number(argv[i++], next);
        else if (!strcmp(argv[i], "--seconds"))
            b.seconds = number(argv[i++], next);
        else if (!strcmp(argv[i], "--gib"))
            b.gib = number(argv[i++], next);
        else if (strchr(argv[i], '=') == NULL)
            die(ERR_USAGE,
                "unknown argument %s; usage: decode [--only NAME] [--longest T] [--sequences B] [--seconds "
                "S] "
                "[--gib N] [section.key=value ...]",
                argv[i]);
        else if (options_set(o, argv[i], &why) != OK)
            die(ERR_USAGE, "%s", why.text);
    }
    return b;
}

int main(int argc, char **argv)
{
    options o;
    bench b = bench_of(argc, argv, &o);
    message why;
    const status started = machine_start(0, 1, &why);
    if (started != OK) die(started, "%s", why.text);
    const compute_settings wanted = compute_settings_of(&o);
    compute on;
    const status opened = compute_start(&on, &wanted, &decode_models[0].shape, 1, 1, comm_self(), &b.k, &why);
    if (opened != OK) die(opened, "%s", why.text);

    arena memory = {.name = "stream test", .device = on.device};
    arena_reserve(&memory, ((int64_t)1 << 29) + 64);
    b.cold = arena_tensor(&memory, b.k->real, "stream test", (int64_t)1 << 27);
    tensor total = arena_tensor(&memory, F64, "sum", 1);
    b.k->zero(&b.cold, b.k->stream);
    b.k->zero(&total, b.k->stream);
    b.read_speed = read_speed(&b, &total);
    b.peak_flops = compute_peak_flops(&on);
    b.logits = memory_new(MOST_SEQUENCES * decode_models[0].shape.V, sizeof *b.logits, "logits");
    if (!(b.gib > 0)) b.gib = on.device ? 32 : 0.85 * (double)memory_available_bytes() / 1073741824 - 1;
    decode_print_head(&b);

    static point originals[CACHE_TYPES][LENGTHS][BATCHES];
    for (int i = 0; i < CACHE_TYPES * LENGTHS * BATCHES; i++)
        (&originals[0][0][0])[i] = (point){(double)NAN, (double)NAN};
    const decode_model *original = NULL;
    for (int i = 0; i < DECODE_MODELS; i++) {
        const decode_model *s = &decode_models[i];
        if (s->shape.kind == ATTENTION_GQA) original = s;
        if (strncmp(s->name, b.only, strlen(b.only)) != 0) continue;
        model m;
        model_init(&m, &s->shape, b.k, 16);
        random_weights(&m);
        for (int c = 0; c < CACHE_TYPES; c++) bench_cache(&b, s, original, &m, cache_types[c], originals[c]);
        model_free(&m);
    }
    free(b.logits);
    arena_release(&memory);
    compute_close(&on);
    options_free(&o);
    return 0;
}
