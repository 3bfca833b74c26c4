/* A text in chunks, short ones included, and shared out over ranks: the sums that a conversion takes of it
 * are those of the whole. Also with weights that are copies, which are NaN once they are released. */
#include "model/convert/work.h"
#include "tests/model/convert/tiny_gqa.h"
#include "tests/support/unit_store.h"
#include <math.h>

enum { C = 10, WIDTH = C + 1 };

typedef struct seen {
    double loss, inputs[WIDTH * WIDTH], first_tokens[WIDTH * WIDTH];
} seen;

/* A text in chunks of B windows through the first layer of `whole`, whose weights may be copies. */
static seen look(const model *whole, const token_batch *text, int64_t B, bool copies)
{
    seen out;
    unit_store store;
    dims d = *(&whole->d);
    d.L = 1;
    const layers_job j = {.d = &whole->d, .k = whole->k, .c = comm_self()};
    conversion_work w = {.job = &j};
    text_share_init(&w.text[0], TEXT_CALIBRATION, text, comm_self());
    if (B) w.text[0].B = B;
    layer_model_init(&w.source, &d, whole->k);
    tiny_weights(&w.source.m);
    if (copies) {
        unit_store_init(&store, whole->k, w.source.m.w.unit, w.source.m.table.num_units);
        w.source.m.units = unit_store_units(&store);
    }
    w.chunk_rows = matrix_new(WINDOWS * T, WIDTH);
    w.chunk_augmented = matrix_new(WINDOWS * T, WIDTH);
    stream *s = work_stream(&w, TEXT_CALIBRATION, &w.source, true);
    stream_embed(s, &w.source);
    measure_inputs(&w, s, 1, out.inputs, out.first_tokens);
    stream_advance(s);
    stream_finish(s, &w.source, comm_self());
    out.loss = s->loss;
    if (copies) {
        assert_true(store.num_held == 0 && store.most_held == 1);
        unit_store_free(&store);
    }
    work_free(&w);
    return out;
}

/* 5 does not divide WINDOWS: the last chunk is short, and what fills it is not counted. Some windows have a
 * border of documents, some of each chunk and not the same in each. */
static void a_short_chunk_counts_what_it_holds(void **state)
{
    (void)state;
    sample s = sample_random(3);
    for (int n = 0; n < WINDOWS * T; n += 4) s.targets[n] = -1;
    for (int n = 0; n < WINDOWS * T; n++) s.first[n] = n / T % 3 == 1 && n % T >= 4 ? 4 : 0;
    const token_batch text = text_of(&s);
    dims d = plain;
    d.L = 1;
    model m;
    activations a;
    model_init(&m, &d, ops_cpu_f64(), 1);
    tiny_weights(&m);
    activations_init(&a, &d, m.k, WINDOWS, T, FORWARD_ONLY, RECOMPUTE_NONE);
    const double want = model_evaluate(&m, &a, &text) / (WINDOWS * T * 3 / 4);
    const seen whole = look(&m, &text, 0, false), cut = look(&m, &text, 5, false),
               copied = look(&m, &text, 5, true);
    assert_true(whole.inputs[WIDTH * WIDTH - 1] == WINDOWS * T);
    assert_true(cut.inputs[WIDTH * WIDTH - 1] == WINDOWS * T);
    assert_true(cut.first_tokens[WIDTH * WIDTH - 1] == WINDOWS);
    for (int i = 0; i < WIDTH * WIDTH; i++) {
        assert_true(fabs(cut.inputs[i] - whole.inputs[i]) < 1e-9);
        assert_true(fabs(cut.first_tokens[i] - whole.first_tokens[i]) < 1e-9);
    }
    for (int i = 0; i < WIDTH * WIDTH; i++)
        assert_true(copied.inputs[i] == cut.inputs[i] && copied.first_tokens[i] == cut.first_tokens[i]);
    assert_true(copied.loss == cut.loss);
    /* Rows are floats between layers. */
    assert_true(fabs(whole.loss / want - 1) < 1e-6 && fabs(cut.loss / whole.loss - 1) < 1e-12);
    activations_free(&a);
    model_free(&m);
}

/* The first token of a window counts for more. */
static void first_tokens_are_weighted(void **state)
{
    (void)state;
    sample s = sample_random(3);
    const token_batch text = text_of(&s);
    model m;
    model_init(&m, &plain, ops_cpu_f64(), 1);
    const seen plainly = look(&m, &text, 5, false);
    dims d = plain;
    d.L = 1;
    const layers_job j = {.d = &plain, .k = m.k, .c = comm_self()};
    conversion_work w = {.job = &j};
    text_share_init(&w.text[0], TEXT_CALIBRATION, &text, comm_self());
    layer_model_init(&w.source, &d, m.k);
    tiny_weights(&w.source.m);
    w.chunk_rows = matrix_new(WINDOWS * T, WIDTH);
    w.chunk_augmented = matrix_new(WINDOWS * T, WIDTH);
    stream *x = work_stream(&w, TEXT_CALIBRATION, &w.source, true);
    stream_embed(x, &w.source);
    double weighted[WIDTH * WIDTH];
    measure_inputs(&w, x, FIRST_WEIGHT, weighted, NULL);
    for (int i = 0; i < WIDTH * WIDTH; i++)
        assert_true(fabs(weighted[i] - plainly.inputs[i] - (FIRST_WEIGHT - 1) * plainly.first_tokens[i]) <
                    1e-9);
    work_free(&w);
    model_free(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CHECK_TEST(a_short_chunk_counts_what_it_holds),
        cmocka_unit_test(first_tokens_are_weighted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
