/* A pass behind cached positions against a pass over all of them: logits of the tokens behind 64 cached ones,
 * several at a time and one at a time, for both kinds of attention, with documents that begin before and
 * behind the border of the cache. In double on the CPU, and on every other table that is built; with resident
 * weights, and with units that are copies, which are NaN once they are released. */
#include "model/kv_cache.h"
#include "model/model.h"
#include "tests/support/check.h"
#include "tests/support/draw.h"
#include "tests/support/random_weights.h"
#include "tests/support/unit_store.h"
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum { PAST = 64, MORE = 7, LENGTH = PAST + MORE + 1, V = 40 };

#define SHAPE .L = 3, .V = V, .C = 24, .F = 20, .norm_eps = 1e-5, .rope = {.theta = 100}
#define MLA   .kind = ATTENTION_MLA, .H = 3, .Dn = 8, .Dr = 4, .Dv = 6, .R = 10
static const dims shapes[] = {
    {SHAPE, .kind = ATTENTION_GQA, .H = 6, .G = 2, .D = 8, .q_bias = true, .k_bias = true, .v_bias = true},
    {SHAPE, MLA},
    {SHAPE, MLA, .latent_norm = true},
    {SHAPE, MLA, .Rq = 12, .q_bias = true, .k_bias = true},
    {SHAPE, MLA, .Rq = 12, .latent_norm = true},
};
enum { NUM_SHAPES = sizeof shapes / sizeof *shapes };

/* A sequence with a border of documents in what is cached and one behind it. */
typedef struct sequence {
    int32_t token[LENGTH], first[LENGTH];
} sequence;

static sequence sequence_random(uint64_t seed, int border)
{
    sequence s;
    for (int t = 0; t < LENGTH; t++) {
        s.token[t] = (int32_t)draw_below(&seed, V);
        s.first[t] = t >= border ? border : t >= 20 ? 20 : 0;
    }
    return s;
}

/* Positions from `from` on, as many as `a` is for, through the model: their logits (T,V). */
static tensor logits_of(const model *m, activations *a, sequence *s, int from)
{
    model_forward(
        m, a, &(token_batch){.sequences = 1, .T = a->T, .tokens = s->token + from, .first = s->first + from});
    tensor logits = check_tensor(m->k->act, "logits", a->T, V);
    const tensor head = weights_head(&m->table, &m->units);
    m->k->matmul_forward(&logits, operand_of(&a->hidden), operand_of(&head), NULL, m->k->stream);
    units_release(&m->units, unit_of_head(&m->table));
    return logits;
}

/* Those of the table: bf16 rounds hidden states and logits a few times on the way. */
static void check_rows(const char *what, const tensor *got, const tensor *all, int from)
{
    const tensor want = tensor_rows(all, from, got->dim[0]);
    check_close(what, got, &want, check_tolerance(got->type));
}

static void compare(const dims *d, const ops *k, int border, bool copies)
{
    model m;
    unit_store store;
    kv_cache cache;
    activations whole, prompt, some, one;
    model_init(&m, d, k, 1);
    random_weights(&m, 1, 1);
    if (copies) {
        unit_store_init(&store, k, m.w.unit, m.table.num_units);
        m.units = unit_store_units(&store);
    }
    kv_cache_init(&cache, d, k, LENGTH);
    activations_init(&whole, d, k, 1, LENGTH, FORWARD_ONLY);
    activations_init_cached(&prompt, d, k, PAST, &cache);
    activations_init_cached(&some, d, k, MORE, &cache);
    activations_init_cached(&one, d, k, 1, &cache);
    sequence s = sequence_random(3, border);
    const tensor all = logits_of(&m, &whole, &s, 0);

    const tensor cached = logits_of(&m, &prompt, &s, 0);
    check_rows("the prompt", &cached, &all, 0);
    const tensor next = logits_of(&m, &some, &s, PAST);
    check_rows("behind the cache", &next, &all, PAST);
    const tensor last = logits_of(&m, &one, &s, PAST + MORE);
    check_rows("the last position", &last, &all, PAST + MORE);
    assert_int_equal(cache.length, LENGTH);

    /* Back to the prompt, and on from there one at a time, with other tokens behind it. */
    sequence other = sequence_random(5, border);
    memcpy(other.token, s.token, sizeof *s.token * PAST);
    const tensor all_other = logits_of(&m, &whole, &other, 0);
    cache.length = PAST;
    for (int t = PAST; t < LENGTH; t++) {
        const tensor single = logits_of(&m, &one, &other, t);
        check_rows("one at a time", &single, &all_other, t);
    }
    if (copies) {
        assert_int_equal(store.num_held, 0);
        assert_int_equal(store.most_held, 1);
        unit_store_free(&store);
    }
    activations_free(&one);
    activations_free(&some);
    activations_free(&prompt);
    activations_free(&whole);
    kv_cache_free(&cache);
    model_free(&m);
}

static void test_logits(void **state)
{
    (void)state;
    const ops *k;
    for (int i = 0; (k = check_table(i)); i++)
        for (int j = 0; j < NUM_SHAPES; j++)
            for (int copies = 0; copies < 2; copies++) {
                compare(&shapes[j], k, PAST + 3, copies);
                compare(&shapes[j], k, 50, copies);
            }
}

static void too_long(void *context)
{
    const model *m = context;
    kv_cache cache;
    activations a;
    kv_cache_init(&cache, &m->d, m->k, PAST);
    activations_init_cached(&a, &m->d, m->k, PAST / 2 + 1, &cache);
    sequence s = sequence_random(3, 50);
    logits_of(m, &a, &s, 0);
    logits_of(m, &a, &s, PAST / 2 + 1);
}

static void other_layers(void *context)
{
    const model *m = context;
    dims more = m->d;
    kv_cache cache;
    activations a;
    kv_cache_init(&cache, &m->d, m->k, PAST);
    more.L = 4;
    activations_init_cached(&a, &more, m->k, 1, &cache);
}

static void test_refused(void **state)
{
    (void)state;
    check_on_host();
    model m;
    model_init(&m, &shapes[1], ops_cpu_f32(), 1);
    check_stops(too_long, &m, ERR_BUG, "33 positions behind 33 in a cache for 64");
    check_stops(other_layers, &m, ERR_BUG, "a cache of 3 layers for a model of 4");
    model_free(&m);
}

int main(void)
{
    omp_set_num_threads(1); /* the shapes are too small to share */
    const struct CMUnitTest tests[] = {CHECK_TEST(test_logits), CHECK_TEST(test_refused)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
