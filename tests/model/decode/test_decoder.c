/* A decoder against a pass over the whole text (model_forward): log-probabilities of all tokens, for prompts
 * as a whole, in pieces and token by token, on latents and with expanded keys, behind shared and rewound
 * positions and in company. In double they agree to 1e-10, in float to 1e-4. On the CPU the ways agree with
 * each other to the bit. What narrow caches cost is measured and bounded. */
#include "model/decode/decoder.h"
#include "base/memory.h"
#include "tests/support/check.h"
#include "tests/support/draw.h"
#include "tests/support/random_weights.h"
#include "tests/support/unit_store.h"
#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { V = 40, LENGTH = 150, ROWS = 400, SEQUENCES = 6 }; /* three pages */

#define SHAPE .L = 3, .V = V, .C = 24, .F = 20, .norm_eps = 1e-5, .rope = {.theta = 100}
#define GQA   .kind = ATTENTION_GQA, .H = 6, .G = 2, .D = 8
#define MLA   .kind = ATTENTION_MLA, .H = 3, .Dn = 8, .Dr = 4, .Dv = 6, .R = 10
static const dims shapes[] = {
    {SHAPE, GQA},
    {SHAPE, GQA, .q_bias = true, .k_bias = true, .v_bias = true, .tied = true},
    {SHAPE, MLA},
    {SHAPE, MLA, .latent_norm = true, .tied = true},
    {SHAPE, MLA, .Rq = 12, .q_bias = true, .k_bias = true},
    {SHAPE, MLA, .Rq = 12, .latent_norm = true, .k_bias = true, .q_a_bias = true, .o_bias = true},
};
enum { NUM_SHAPES = sizeof shapes / sizeof *shapes };

/* All shapes; on a device, which may be an emulated one, one of each kind. */
static int first_shape(const ops *k) { return k->device ? 1 : 0; }
static int next_shape(const ops *k, int j) { return j + (k->device ? 4 : 1); }

typedef struct setup {
    model m;
    decoder x;
} setup;

static void setup_init(setup *s, const dims *d, const ops *k, dtype cache)
{
    model_init(&s->m, d, k, 1);
    random_weights(&s->m, 1, 1);
    decoder_init(&s->x, &s->m,
                 &(decoder_settings){.rows = ROWS,
                                     .sequences = SEQUENCES,
                                     .positions = SEQUENCES * 192,
                                     .longest = LENGTH + 20,
                                     .cache = cache,
                                     .materialise = true});
}

static void setup_free(setup *s)
{
    decoder_free(&s->x);
    model_free(&s->m);
}

static void draw_tokens(int32_t *tokens, int64_t n, uint64_t seed)
{
    for (int64_t t = 0; t < n; t++) tokens[t] = (int32_t)draw_below(&seed, V);
}

/* ---- what is compared: (n,V) log-probabilities in double ----------------------------------------------- */

static tensor table_of(int64_t n) { return check_tensor(F64, "log-probabilities", n, V); }

/* From logits (n,V). */
static void normalise(tensor *out, const double *logits)
{
    for (int64_t t = 0; t < out->dim[0]; t++) {
        double sum = 0;
        for (int v = 0; v < V; v++) sum += exp(logits[t * V + v]);
        for (int v = 0; v < V; v++) check_put(out, t * V + v, logits[t * V + v] - log(sum));
    }
}

/* Those of rows from.. of the last pass: scores of every token, which are doubles. An emulated device, which
 * is slow, computes the logits alone. */
static void read_scores(decoder *x, int64_t from, tensor *out)
{
    const bool emulated = x->m->k->device;
    const int64_t each = emulated ? 1 : V, n = out->dim[0] * each;
    int32_t *rows = memory_new(n, sizeof *rows, "rows"), *targets = memory_new(n, sizeof *targets, "targets");
    double *all = memory_new(out->dim[0] * V, sizeof *all, "logits");
    for (int64_t i = 0; i < n; i++) rows[i] = (int32_t)(from + i / each), targets[i] = (int32_t)(i % V);
    if (emulated) {
        float *logits = memory_new(n * V, sizeof *logits, "logits");
        decoder_logits(x, rows, n, logits);
        for (int64_t i = 0; i < n * V; i++) all[i] = (double)logits[i];
        normalise(out, all);
        free(logits);
    } else {
        token_score *scores = memory_new(n, sizeof *scores, "scores");
        decoder_scores(x, rows, targets, n, scores);
        for (int64_t i = 0; i < n; i++) check_put(out, i, scores[i].logprob);
        free(scores);
    }
    free(all);
    free(targets);
    free(rows);
}

/* Those of a pass over the whole text. */
static tensor forward_scores(const model *m, const int32_t *tokens, int64_t T)
{
    activations a;
    int32_t *first = memory_new(T, sizeof *first, "first");
    activations_init(&a, &m->d, m->k, 1, T, FORWARD_ONLY, RECOMPUTE_NONE);
    model_forward(m, &a, &(token_batch){.sequences = 1, .T = T, .tokens = (int32_t *)tokens, .first = first});
    tensor logits = check_tensor(m->k->act, "logits", T, V), out = table_of(T);
    const tensor head = weights_head(&m->table, &m->units);
    m->k->matmul_forward(&logits, operand_of(&a.hidden), operand_of(&head), NULL, m->k->stream);
    units_release(&m->units, unit_of_head(&m->table));
    double *all = memory_new(T * V, sizeof *all, "logits");
    m->k->download_f64(all, &logits, m->k->stream);
    normalise(&out, all);
    free(all);
    free(first);
    activations_free(&a);
    return out;
}

/* Appends tokens in passes of the given sizes, the last of which repeats; their log-probabilities. */
static tensor decode(decoder *x, int sequence, const int32_t *tokens, int64_t n, const int *sizes,
                     int num_sizes, bool materialised)
{
    tensor out = table_of(n);
    for (int64_t from = 0, i = 0; from < n; i++) {
        const int64_t wanted = sizes[i < num_sizes ? i : num_sizes - 1],
                      count = wanted < n - from ? wanted : n - from;
        assert_true(decoder_forward(
            x,
            &(span){
                .sequence = sequence, .tokens = tokens + from, .count = count, .materialised = materialised},
            1));
        tensor rows = tensor_rows(&out, from, count);
        read_scores(x, 0, &rows);
        from += count;
    }
    return out;
}

static const int whole[] = {LENGTH}, pieces[] = {7, 63, 1, 2, 64, 13}, single[] = {1};
static const struct {
    const char *name;
    const int *sizes;
    int count;
} ways[] = {{"whole", whole, 1}, {"in pieces", pieces, 6}, {"token by token", single, 1}};
enum { NUM_WAYS = 3 };

static tensor decode_anew(decoder *x, const int32_t *tokens, int64_t n, int way, bool materialised)
{
    const int s = decoder_open(x);
    const tensor out = decode(x, s, tokens, n, ways[way].sizes, ways[way].count, materialised);
    decoder_close(x, s);
    return out;
}

static double tolerance(const ops *k) { return k->act == F64 ? 1e-10 : k->act == F32 ? 1e-4 : 0.05; }

/* The ways of computing the same are equal to the bit on the CPU. On a GPU they are alike. */
static void check_same(const ops *k, const char *what, const tensor *got, const tensor *want)
{
    if (k->device)
        check_close(what, got, want, tolerance(k));
    else
        check_equal(what, got, want);
}

/* ---- tests --------------------------------------------------------------------------------------------- */

static void test_forward(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++)
        for (int j = first_shape(k); j < NUM_SHAPES; j = next_shape(k, j)) {
            setup s;
            setup_init(&s, &shapes[j], k, F32);
            int32_t tokens[LENGTH];
            draw_tokens(tokens, LENGTH, 3);
            const tensor want = forward_scores(&s.m, tokens, LENGTH);
            for (int materialised = 0; materialised < 2; materialised++) {
                const tensor all = decode_anew(&s.x, tokens, LENGTH, 0, materialised);
                check_close("whole", &all, &want, tolerance(k));
                for (int way = 1; way < (k->device ? 2 : NUM_WAYS); way++) {
                    const tensor got = decode_anew(&s.x, tokens, LENGTH, way, materialised);
                    check_same(k, ways[way].name, &got, &all);
                }
            }
            assert_int_equal(decoder_pages_free(&s.x), SEQUENCES * 3);
            setup_free(&s);
        }
}

/* Sequences of several lengths, of which a pass takes pieces in any order and form. */
static void test_company(void **state)
{
    (void)state;
    enum { MANY = 4 };
    static const int64_t lengths[MANY] = {LENGTH, 1, 64, 97}, cuts[MANY] = {70, 1, 63, 65};
    static const bool materialised[MANY] = {false, false, true, true};
    static const int orders[2][MANY] = {{0, 1, 2, 3}, {3, 0, 2, 1}};
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++)
        for (int j = first_shape(k); j < NUM_SHAPES; j = next_shape(k, j)) {
            setup s;
            setup_init(&s, &shapes[j], k, F32);
            int32_t tokens[MANY][LENGTH];
            tensor alone[MANY];
            for (int q = 0; q < MANY; q++) {
                draw_tokens(tokens[q], lengths[q], (uint64_t)q);
                alone[q] = decode_anew(&s.x, tokens[q], lengths[q], 0, materialised[q]);
            }
            for (int order = 0; order < (k->device ? 1 : 2); order++) {
                omp_set_num_threads(1 + order * 2);
                int number[MANY];
                for (int q = 0; q < MANY; q++) number[q] = decoder_open(&s.x);
                for (int part = 0; part < 2; part++) {
                    span spans[MANY];
                    int64_t first[MANY], from[MANY], rows = 0;
                    int count = 0, of[MANY];
                    for (int o = 0; o < MANY; o++) {
                        const int q = orders[order][o];
                        from[count] = part ? cuts[q] : 0;
                        const int64_t n = (part ? lengths[q] : cuts[q]) - from[count];
                        if (n == 0) continue;
                        spans[count] = (span){.sequence = number[q],
                                              .tokens = tokens[q] + from[count],
                                              .count = n,
                                              .materialised = materialised[q]};
                        first[count] = rows, of[count++] = q;
                        rows += n;
                    }
                    assert_true(decoder_forward(&s.x, spans, count));
                    for (int c = 0; c < count; c++) {
                        tensor got = table_of(spans[c].count);
                        const tensor want = tensor_rows(&alone[of[c]], from[c], spans[c].count);
                        read_scores(&s.x, first[c], &got);
                        check_same(k, "in company", &got, &want);
                    }
                }
                for (int q = 0; q < MANY; q++) {
                    assert_int_equal(decoder_length(&s.x, number[q]), lengths[q]);
                    decoder_close(&s.x, number[q]);
                }
                omp_set_num_threads(1);
            }
            setup_free(&s);
        }
}

/* `tokens` with others from `at` on. */
static void branch(int32_t *out, const int32_t *tokens, int64_t at, uint64_t seed)
{
    draw_tokens(out, LENGTH, seed);
    memcpy(out, tokens, sizeof *out * (size_t)at);
}

/* A text up to `end`, behind the positions that its sequence holds, as in a sequence of its own. */
static void check_rest(setup *s, int sequence, const int32_t *tokens, int64_t end, bool materialised)
{
    const int64_t at = decoder_length(&s->x, sequence);
    const tensor all = decode_anew(&s->x, tokens, end, 0, materialised),
                 want = tensor_rows(&all, at, end - at);
    const tensor got = decode(&s->x, sequence, tokens + at, end - at, pieces, 6, materialised);
    check_same(s->m.k, "behind shared positions", &got, &want);
}

static void fork_and_rewind(const dims *d, const ops *k, dtype cache, int64_t at, bool materialised)
{
    setup s;
    setup_init(&s, d, k, cache);
    decoder *x = &s.x;
    int32_t tokens[LENGTH], left[LENGTH], right[LENGTH];
    draw_tokens(tokens, LENGTH, 5);
    branch(left, tokens, at, 6);
    branch(right, tokens, at, 7);
    const int64_t pages = decoder_pages_free(x);
    const int trunk = decoder_open(x);
    decode(x, trunk, tokens, 130, whole, 1, materialised);
    const int a = decoder_fork(x, trunk, at), b = decoder_fork(x, trunk, at);
    assert_int_equal(decoder_pages_free(x), pages - 3); /* shared */
    assert_int_equal(decoder_length(x, a), at);
    assert_int_equal(decoder_pages_for(x, a, 1), 1); /* a new page, or the copy of a shared one */
    check_rest(&s, a, left, LENGTH, materialised);
    check_rest(&s, trunk, tokens, 140, materialised); /* `a` has not touched it */
    check_rest(&s, b, right, LENGTH, materialised);
    check_rest(&s, trunk, tokens, LENGTH, materialised); /* nor has `b` */

    /* Back into pages that are shared, and on with other tokens. */
    const int c = decoder_fork(x, b, LENGTH);
    decoder_rewind(x, b, at);
    check_rest(&s, b, left, 140, materialised);
    decoder_rewind(x, c, LENGTH - 1);
    check_rest(&s, c, right, LENGTH, materialised);
    check_rest(&s, b, left, LENGTH, materialised);
    decoder_rewind(x, c, 0);
    check_rest(&s, c, tokens, LENGTH, materialised);
    for (int q = 0; q < 4; q++) decoder_close(x, (int[]){trunk, a, b, c}[q]);
    assert_int_equal(decoder_pages_free(x), pages);
    setup_free(&s);
}

static void test_fork_and_rewind(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++)
        for (int j = first_shape(k); j < NUM_SHAPES; j = next_shape(k, j)) {
            for (int materialised = 0; !k->device && materialised < 2; materialised++) {
                fork_and_rewind(&shapes[j], k, F32, 64, materialised);
                fork_and_rewind(&shapes[j], k, F32, 100, materialised);
            }
            /* What is copied is the same to the bit. Narrow numbers would show a device's other sums. */
            fork_and_rewind(&shapes[j], k, k->device ? F32 : F8, 100, true);
        }
}

static void test_full_pool(void **state)
{
    (void)state;
    const ops *k = ops_cpu_f32();
    setup s;
    setup_init(&s, &shapes[3], k, F32);
    decoder_free(&s.x);
    decoder_init(
        &s.x, &s.m,
        &(decoder_settings){.rows = ROWS, .sequences = 3, .positions = 200, .longest = 256, .cache = F32});
    decoder *x = &s.x;
    int32_t tokens[LENGTH];
    draw_tokens(tokens, LENGTH, 9);
    const int a = decoder_open(x), b = decoder_open(x);
    assert_int_equal(x->settings.positions, 256); /* whole pages */
    assert_int_equal(decoder_pages_free(x), 4);
    tensor before = table_of(100), after = table_of(100);
    assert_true(decoder_forward(x, &(span){.sequence = a, .tokens = tokens, .count = 100}, 1));
    read_scores(x, 0, &before);
    const span more[] = {{.sequence = a, .tokens = tokens + 100, .count = 28},
                         {.sequence = b, .tokens = tokens, .count = 129}};
    assert_int_equal(decoder_pages_for(x, a, 28), 0);
    assert_int_equal(decoder_pages_for(x, a, 29), 1);
    assert_int_equal(decoder_pages_for(x, b, 129), 3);
    assert_false(decoder_forward(x, more, 2));
    assert_int_equal(decoder_length(x, a), 100);
    assert_int_equal(decoder_length(x, b), 0);
    assert_int_equal(decoder_pages_free(x), 2);
    read_scores(x, 0, &after);
    check_equal("the last pass is still there", &after, &before);

    /* No page for the copy of a shared one; and none is needed once the other has gone. */
    assert_true(decoder_forward(x, &(span){.sequence = b, .tokens = tokens, .count = 128}, 1));
    const int c = decoder_fork(x, a, 100);
    assert_int_equal(decoder_open(x), -1);
    assert_int_equal(decoder_fork(x, a, 1), -1);
    const span next = {.sequence = c, .tokens = tokens + 100, .count = 1};
    assert_false(decoder_forward(x, &next, 1));
    decoder_close(x, a);
    assert_true(decoder_forward(x, &next, 1));
    setup_free(&s);
}

/* Mean and largest difference of log-probabilities from those with a cache in f32. */
static void test_narrow_caches(void **state)
{
    (void)state;
    static const struct {
        dtype type;
        double mean, most;
    } bounds[] = {{BF16, 0.02, 0.3}, {F8, 0.2, 2}};
    const ops *k = ops_cpu_f32();
    for (int j = 0; j < NUM_SHAPES; j++)
        for (int b = 0; b < 2; b++) {
            setup exact, narrow;
            int32_t tokens[LENGTH];
            draw_tokens(tokens, LENGTH, 11);
            setup_init(&exact, &shapes[j], k, F32);
            setup_init(&narrow, &shapes[j], k, bounds[b].type);
            const tensor want = decode_anew(&exact.x, tokens, LENGTH, 0, false);
            for (int materialised = 0; materialised < 2; materialised++) {
                const tensor got = decode_anew(&narrow.x, tokens, LENGTH, 0, materialised),
                             singly = decode_anew(&narrow.x, tokens, LENGTH, 2, materialised);
                check_equal("token by token", &singly, &got);
                double sum = 0, most = 0;
                for (int64_t n = 0; n < LENGTH * V; n++) {
                    const double difference = fabs(check_get(&got, n) - check_get(&want, n));
                    sum += difference;
                    most = fmax(most, difference);
                }
                const double mean = sum / (LENGTH * V);
                if (!(mean > 0 && mean < bounds[b].mean && most < bounds[b].most))
                    fail_msg("shape %d, %s: log-probabilities differ by %g, at most %g", j,
                             dtype_name(bounds[b].type), mean, most);
            }
            assert_true(decoder_bytes(&shapes[j], k, &narrow.x.settings) <
                        decoder_bytes(&shapes[j], k, &exact.x.settings));
            setup_free(&narrow);
            setup_free(&exact);
        }
}

/* Weights that are there only while they are held. */
static void test_units(void **state)
{
    (void)state;
    for (int j = 0; j < NUM_SHAPES; j++) {
        setup s;
        unit_store store;
        int32_t tokens[LENGTH];
        draw_tokens(tokens, LENGTH, 13);
        setup_init(&s, &shapes[j], ops_cpu_f32(), F32);
        const tensor want = decode_anew(&s.x, tokens, LENGTH, 0, true);
        unit_store_init(&store, s.m.k, s.m.w.unit, s.m.table.num_units);
        s.m.units = unit_store_units(&store);
        const tensor got = decode_anew(&s.x, tokens, LENGTH, 1, true);
        check_equal("units that are copies", &got, &want);
        assert_int_equal(store.num_held, 0);
        assert_int_equal(store.most_held, 1);
        unit_store_free(&store);
        setup_free(&s);
    }
}

/* Logits and scores are of the same numbers. */
static void test_head(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++) {
        setup s;
        setup_init(&s, &shapes[5], k, F32);
        int32_t tokens[LENGTH];
        draw_tokens(tokens, LENGTH, 15);
        const int a = decoder_open(&s.x), b = decoder_open(&s.x);
        const span spans[] = {{.sequence = a, .tokens = tokens, .count = 90, .materialised = true},
                              {.sequence = b, .tokens = tokens + 90, .count = 60}};
        assert_true(decoder_forward(&s.x, spans, 2));
        const int32_t rows[] = {149, 0, 89, 90, 0}, targets[] = {3, -1, 0, 39, 7};
        enum { N = 5 };
        float logits[N * V];
        token_score scores[N];
        decoder_logits(&s.x, rows, N, logits);
        decoder_scores(&s.x, rows, targets, N, scores);
        for (int n = 0; n < N; n++) {
            double sum = 0;
            int best = 0;
            for (int v = 0; v < V; v++) {
                sum += exp((double)logits[n * V + v]);
                if (logits[n * V + v] > logits[n * V + best]) best = v;
            }
            const double t = k->act == BF16 ? 0.05 : 1e-5;
            check_number("best", scores[n].best_logprob, (double)logits[n * V + best] - log(sum), t);
            if (k->act != BF16) assert_int_equal(scores[n].best, best);
            const double want = targets[n] < 0 ? 0 : (double)logits[n * V + targets[n]] - log(sum);
            check_number("target", scores[n].logprob, want, t);
        }
        token_score again;
        decoder_scores(&s.x, rows, &scores[0].best, 1, &again);
        assert_memory_equal(&again.logprob, &scores[0].best_logprob, sizeof(double));
        setup_free(&s);
    }
}

/* ---- bugs of the caller -------------------------------------------------------------------------------- */

static void twice(void *context)
{
    decoder *x = context;
    const int32_t token = 1;
    const span s = {.sequence = 0, .tokens = &token, .count = 1};
    decoder_forward(x, (span[]){s, s}, 2);
}
static void too_long(void *context)
{
    const int32_t tokens[LENGTH + 21] = {0};
    decoder_forward(context, &(span){.sequence = 0, .tokens = tokens, .count = LENGTH + 21}, 1);
}
static void not_open(void *context) { decoder_close(context, 1); }
static void beyond(void *context) { decoder_rewind(context, 0, 1); }
static void no_row(void *context) { decoder_logits(context, &(int32_t){0}, 1, NULL); }

static void test_refused(void **state)
{
    (void)state;
    check_on_host();
    setup s;
    setup_init(&s, &shapes[2], ops_cpu_f32(), F32);
    assert_int_equal(decoder_open(&s.x), 0);
    check_stops(twice, &s.x, ERR_BUG, "sequence 0 is twice in a pass");
    check_stops(too_long, &s.x, ERR_BUG, "171 tokens behind 0 in sequences of 170");
    check_stops(not_open, &s.x, ERR_BUG, "sequence 1 of 6 is not open");
    check_stops(beyond, &s.x, ERR_BUG, "back to 1 positions in a sequence of 0");
    check_stops(no_row, &s.x, ERR_BUG, "row 0 of a pass of 0");
    setup_free(&s);
}

/* Llama-2-7B at a cache of 576 numbers: 512*1088 products in a pass of 512 rows, 512*320 + 512*256 expanded.
 * Of 64 rows expanding pays nothing, and where latents are as narrow as heads nothing ever does. */
static void test_expands_from(void **state)
{
    (void)state;
    const dims llama = {.kind = ATTENTION_MLA, .Dn = 128, .Dr = 64, .Dv = 128, .R = 512},
               narrow = {.kind = ATTENTION_MLA, .Dn = 64, .Dr = 32, .Dv = 64, .R = 96},
               gqa = {.kind = ATTENTION_GQA, .D = 128};
    assert_int_equal(decoder_expands_from(&llama, 512), 512);
    assert_int_equal(decoder_expands_from(&llama, 64), 0);
    assert_int_equal(decoder_expands_from(&narrow, 65536), 0);
    assert_int_equal(decoder_expands_from(&gqa, 512), 0);
}

int main(void)
{
    omp_set_num_threads(1); /* the shapes are too small to share */
    const struct CMUnitTest tests[] = {
        CHECK_TEST(test_forward),   CHECK_TEST(test_company),       CHECK_TEST(test_fork_and_rewind),
        CHECK_TEST(test_full_pool), CHECK_TEST(test_narrow_caches), CHECK_TEST(test_units),
        CHECK_TEST(test_head),      CHECK_TEST(test_refused),       CHECK_TEST(test_expands_from)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
