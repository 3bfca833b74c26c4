/* Tests of conversion: a tiny model in a folder, converted into another one. */
#ifndef REMLA_TESTS_TINY_CONVERSION_H
#define REMLA_TESTS_TINY_CONVERSION_H
#include "base/file.h"
#include "model/convert/layerwise.h"
#include "model/hf/model_files.h"
#include "tests/model/convert/tiny_gqa.h"
#include "tests/support/scratch.h"
#include <stdio.h>

/* The texts of a conversion, by their seeds. */
enum { TINY_TEXT = 3, TINY_HELD_OUT = 4 };

typedef struct tiny_conversion {
    const dims *d;
    const ops *k;
    convert_method method;
    const convert_settings *settings;
    dtype storage;        /* F32 is 0 */
    const comm *c;        /* NULL: this process alone */
    double head_times;    /* lm_head.weight is multiplied by it; 0: is as it is */
    layers_report report; /* the test ends with layers_report_free */
    char folder[PATH_BYTES];
} tiny_conversion;

/* Fails the test when anything does. */
static inline void tiny_must(status s, const message *why)
{
    if (s != OK) fail_msg("%s", why->text);
}

static inline void tiny_folder(char path[PATH_BYTES])
{
    static int made;
    char name[32];
    message why;
    snprintf(name, sizeof name, "model-%d", made++);
    snprintf(path, PATH_BYTES, "%s", scratch_path(name));
    tiny_must(folder_make(path, &why), &why);
}

/* The original's weights; the caller ends with model_free. */
static inline void tiny_original(model *m, const dims *d, double head_times)
{
    model_init(m, d, ops_cpu_f32(), 1);
    tiny_weights(m);
    if (!head_times) return;
    const tensor head = weights_param(&m->w, param_find(&m->table, "lm_head.weight"));
    for (int64_t i = 0; i < tensor_numel(&head); i++) ((float *)head.data)[i] *= (float)head_times;
}

/* Whatever it returns, the test ends with layers_report_free. */
static inline status tiny_try(tiny_conversion *c, message *why)
{
    sample text = sample_random(TINY_TEXT), held_out = sample_random(TINY_HELD_OUT);
    const token_batch of_text = text_of(&text), of_held_out = text_of(&held_out);
    char source[PATH_BYTES];
    model m;
    tiny_folder(source);
    tiny_folder(c->folder);
    tiny_original(&m, c->d, c->head_times);
    tiny_must(model_save(source, &m.table, &m.units, m.k, F32, MODEL_FILE_BYTES, why), why);
    model_free(&m);
    const layers_job j = {.method = c->method,
                          .k = c->k,
                          .source = source,
                          .d = c->d,
                          .settings = c->settings,
                          .text = &of_text,
                          .held_out = &of_held_out,
                          .storage = c->storage,
                          .folder = c->folder,
                          .c = c->c ? c->c : comm_self()};
    return convert_layers(&j, &c->report, why);
}

static inline void tiny_convert(tiny_conversion *c)
{
    message why;
    tiny_must(tiny_try(c, &why), &why);
}

static inline double tiny_loss_of(const model *m, int text)
{
    sample s = sample_random((uint64_t)text);
    const token_batch batch = text_of(&s);
    activations a;
    activations_init(&a, &m->d, m->k, WINDOWS, T, FORWARD_ONLY, RECOMPUTE_NONE);
    const double loss = model_evaluate(m, &a, &batch);
    activations_free(&a);
    return loss / (WINDOWS * T);
}

/* The loss of the folder that was written. */
static inline double tiny_loss(const tiny_conversion *c, int text)
{
    const dims d = convert_dims(c->d, c->settings);
    message why;
    model m;
    model_init(&m, &d, ops_cpu_f32(), 1);
    tiny_must(model_load(c->folder, &m.table, &m.w, m.k, &why), &why);
    const double loss = tiny_loss_of(&m, text);
    model_free(&m);
    return loss;
}

static inline double tiny_loss_source(const dims *d, double head_times, int text)
{
    model m;
    tiny_original(&m, d, head_times);
    const double loss = tiny_loss_of(&m, text);
    model_free(&m);
    return loss;
}

#endif
