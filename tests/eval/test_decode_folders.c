/* Models of folders, opened for decoding: over 2048 positions on the CPU, decoding gives the
 * log-probabilities that a pass over the whole text gives (model_forward), within 1e-4: prompts on latents
 * and expanded, and behind them single tokens. The models are those of tests/golden and, where there are any,
 * of ../shared/fixtures; the largest difference of each is printed. */
#include "base/file.h"
#include "base/memory.h"
#include "eval/open.h"
#include "tests/support/check.h"
#include "tests/support/draw.h"
#include <glob.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { POSITIONS = 2048, PASS = 300, SINGLE = 40 };

static const compute_settings cpu = {.kind = COMPUTE_CPU, .act = F32};

/* (T,V) logits to log-probabilities. */
static void normalise(float *logits, int64_t T, int64_t V)
{
    for (int64_t t = 0; t < T; t++) {
        double sum = 0;
        for (int64_t v = 0; v < V; v++) sum += exp((double)logits[t * V + v]);
        for (int64_t v = 0; v < V; v++) logits[t * V + v] -= (float)log(sum);
    }
}

static void forward(const char *folder, int32_t *tokens, int64_t T, float *out)
{
    loaded_model x;
    message why;
    int32_t *first = memory_new(T, sizeof *first, "first");
    if (loaded_model_open(&x, folder, &why) != OK || loaded_model_length(&x, "eval.seq_len", T, &why) != OK ||
        loaded_model_start(&x, &cpu, 1, comm_self(), &why) != OK)
        fail_msg("%s", why.text);
    const ops *k = x.m.k;
    model_forward(&x.m, &x.acts, &(token_batch){.sequences = 1, .T = T, .tokens = tokens, .first = first});
    tensor logits = check_tensor(F32, "logits", T, x.m.d.V);
    const tensor head = weights_head(&x.m.table, &x.m.units);
    k->matmul_forward(&logits, operand_of(&x.acts.hidden), operand_of(&head), NULL, k->stream);
    k->download(out, &logits, k->stream);
    normalise(out, T, x.m.d.V);
    free(first);
    loaded_model_close(&x);
}

/* Prompts in passes, the last tokens one at a time; the largest difference from `want`. */
static double difference(loaded_model *x, const int32_t *tokens, int64_t T, bool materialised,
                         const float *want)
{
    const int64_t V = x->m.d.V;
    float *got = memory_new(PASS * V, sizeof *got, "logits");
    int32_t rows[PASS];
    for (int i = 0; i < PASS; i++) rows[i] = i;
    double most = 0;
    const int sequence = decoder_open(&x->decode);
    for (int64_t from = 0; from < T;) {
        const int64_t left = T - SINGLE - from, count = left <= 0 ? 1 : left < PASS ? left : PASS;
        assert_true(decoder_forward(&x->decode,
                                    &(span){.sequence = sequence,
                                            .tokens = tokens + from,
                                            .count = count,
                                            .materialised = materialised && left > 0},
                                    1));
        decoder_logits(&x->decode, rows, count, got);
        normalise(got, count, V);
        for (int64_t i = 0; i < count * V; i++) {
            const double d = fabs((double)got[i] - (double)want[from * V + i]);
            if (!(d <= most)) most = d; /* NaN stays */
        }
        from += count;
    }
    decoder_close(&x->decode, sequence);
    free(got);
    return most;
}

static void compare(const char *folder)
{
    loaded_model x;
    message why;
    model_config config;
    if (model_folder_read(&config, folder, &why) != OK) fail_msg("%s", why.text);
    const int64_t V = config.d.V,
                  T = config.d.window && config.d.window < POSITIONS ? config.d.window : POSITIONS;
    config_free(&config);
    int32_t *tokens = memory_new(T, sizeof *tokens, "tokens");
    float *want = memory_new(T * V, sizeof *want, "logits");
    uint64_t seed = 1;
    for (int64_t t = 0; t < T; t++) tokens[t] = (int32_t)draw_below(&seed, (uint64_t)V);
    forward(folder, tokens, T, want);
    if (loaded_model_open(&x, folder, &why) != OK || loaded_model_length(&x, "eval.seq_len", T, &why) != OK ||
        loaded_model_decode(&x, &cpu,
                            &(decoder_settings){.rows = PASS,
                                                .sequences = 1,
                                                .positions = T,
                                                .longest = T,
                                                .cache = F32,
                                                .materialise = true},
                            comm_self(), &why) != OK)
        fail_msg("%s", why.text);
    assert_null(x.acts.memory.base); /* no activations of a micro-batch beside the decoder */
    const double latents = difference(&x, tokens, T, false, want),
                 expanded = difference(&x, tokens, T, true, want);
    const bool mla = x.m.d.kind == ATTENTION_MLA;
    loaded_model_close(&x);
    printf("%s: over %d positions log-probabilities differ by %.2g at most", folder, (int)T, latents);
    if (mla) printf(" on latents, by %.2g with expanded keys", expanded);
    printf("\n");
    if (!(latents <= 1e-4 && expanded <= 1e-4)) fail_msg("%s: more than 1e-4", folder);
    free(want);
    free(tokens);
}

static void test_folders(void **state)
{
    (void)state;
    static const char *const patterns[] = {"tests/golden/gqa", "tests/golden/mla", "../shared/fixtures/*/gqa",
                                           "../shared/fixtures/*/mla"};
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        char pattern[PATH_BYTES];
        glob_t found;
        path_join(pattern, getenv("REMLA_SOURCE") ? getenv("REMLA_SOURCE") : ".", patterns[i]);
        const int result = glob(pattern, 0, NULL, &found);
        assert_true(result == 0 || (result == GLOB_NOMATCH && i >= 2));
        for (size_t j = 0; result == 0 && j < found.gl_pathc; j++) compare(found.gl_pathv[j]);
        if (result == 0) globfree(&found);
    }
}

int main(void)
{
    omp_set_num_threads(1); /* the models are too small to share */
    const struct CMUnitTest tests[] = {CHECK_TEST(test_folders)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
