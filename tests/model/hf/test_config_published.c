/* The config.json of published models, as their authors put them on the Hugging Face hub
 * (tests/golden/configs), read into the shapes and constants that their papers and cards give. */
#include "base/file.h"
#include "model/hf/config.h"
#include "tests/support/scratch.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

static message why;

static const struct published {
    const char *name;
    int L, V, C, F, H, G, D;
    double theta, factor, eps; /* factor: of llama3 scaling; 0: none */
    bool tied, biases;
    int window, eos;
    dtype storage;
} models[] = {
    {"llama-1-7b", 32, 32000, 4096, 11008, 32, 32, 128, 1e4, 0, 1e-6, 0, 0, 0, 2, F16},
    {"llama-2-7b", 32, 32000, 4096, 11008, 32, 32, 128, 1e4, 0, 1e-5, 0, 0, 0, 2, F16},
    {"llama-2-13b", 40, 32000, 5120, 13824, 40, 40, 128, 1e4, 0, 1e-5, 0, 0, 0, 2, F16},
    {"tinyllama-1.1b", 22, 32000, 2048, 5632, 32, 4, 64, 1e4, 0, 1e-5, 0, 0, 0, 2, BF16},
    {"llama-3.1-8b-instruct", 32, 128256, 4096, 14336, 32, 8, 128, 5e5, 8, 1e-5, 0, 0, 0, 128001, BF16},
    {"llama-3.2-1b", 16, 128256, 2048, 8192, 32, 8, 64, 5e5, 32, 1e-5, 1, 0, 0, 128001, BF16},
    {"mistral-7b-v0.1", 32, 32000, 4096, 14336, 32, 8, 128, 1e4, 0, 1e-5, 0, 0, 4096, 2, BF16},
    {"mistral-7b-v0.3", 32, 32768, 4096, 14336, 32, 8, 128, 1e6, 0, 1e-5, 0, 0, 0, 2, BF16},
    {"mistral-nemo-base-2407", 40, 131072, 5120, 14336, 32, 8, 128, 1e6, 0, 1e-5, 0, 0, 0, 2, BF16},
    {"qwen2-7b", 28, 152064, 3584, 18944, 28, 4, 128, 1e6, 0, 1e-6, 0, 1, 0, 151643, BF16},
    {"qwen2.5-0.5b", 24, 151936, 896, 4864, 14, 2, 64, 1e6, 0, 1e-6, 1, 1, 0, 151643, BF16},
    {"smollm-135m", 30, 49152, 576, 1536, 9, 3, 64, 1e4, 0, 1e-5, 1, 0, 0, 0, BF16},
    {"smollm2-135m", 30, 49152, 576, 1536, 9, 3, 64, 1e5, 0, 1e-5, 1, 0, 0, 0, BF16},
    {"codellama-7b", 32, 32016, 4096, 11008, 32, 32, 128, 1e6, 0, 1e-5, 0, 0, 0, 2, BF16},
    {"deepseek-llm-7b", 30, 102400, 4096, 11008, 32, 32, 128, 1e4, 0, 1e-6, 0, 0, 0, 100001, BF16},
};

static void read_published(model_config *c, const char *name)
{
    char golden[PATH_BYTES], folder[PATH_BYTES], path[PATH_BYTES];
    int64_t bytes;
    uint64_t hash;
    snprintf(golden, sizeof golden, "%s/tests/golden/configs/%s.json", getenv("REMLA_SOURCE"), name);
    snprintf(folder, sizeof folder, "%s", scratch_path(name));
    if (folder_make(folder, &why) != OK ||
        file_copy(golden, path_join(path, folder, "config.json"), &hash, &bytes, &why) != OK ||
        config_read(c, folder, &why) != OK)
        fail_msg("%s", why.text);
}

#define SAME(name, found, want)                                                                              \
    if ((double)(found) != (double)(want))                                                                   \
    fail_msg("%s: " #found " is %.17g, expected %.17g", name, (double)(found), (double)(want))

static void published(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof models / sizeof models[0]; i++) {
        const struct published *p = &models[i];
        model_config c;
        read_published(&c, p->name);
        const dims *d = &c.d;
        assert_int_equal(d->kind, ATTENTION_GQA);
        SAME(p->name, d->L, p->L);
        SAME(p->name, d->V, p->V);
        SAME(p->name, d->C, p->C);
        SAME(p->name, d->F, p->F);
        SAME(p->name, d->H, p->H);
        SAME(p->name, d->G, p->G);
        SAME(p->name, d->D, p->D);
        SAME(p->name, d->rope.theta, p->theta);
        SAME(p->name, d->rope.llama3, p->factor > 0);
        SAME(p->name, d->rope.factor, p->factor);
        SAME(p->name, d->rope.low_freq_factor, p->factor > 0 ? 1 : 0);
        SAME(p->name, d->rope.high_freq_factor, p->factor > 0 ? 4 : 0);
        SAME(p->name, d->rope.original_max_position, p->factor > 0 ? 8192 : 0);
        SAME(p->name, d->norm_eps, p->eps);
        SAME(p->name, d->tied, p->tied);
        SAME(p->name, d->q_bias, p->biases);
        SAME(p->name, d->k_bias, p->biases);
        SAME(p->name, d->v_bias, p->biases);
        SAME(p->name, d->window, p->window);
        SAME(p->name, c.eos, p->eos);
        SAME(p->name, c.storage, p->storage);
        config_free(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(published)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
