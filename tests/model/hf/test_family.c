/* The table of families, whatever rows it has: a config.json of each of its architectures is read back as it
 * was written, has the row's defaults, and is refused where it has another value of a fixed key or a key of
 * another family. An architecture that is not in the table is answered with all that are. */
#include "model/hf/family.h"
#include "base/file.h"
#include "model/hf/config_keys.h"
#include "tests/model/hf/same_dims.h"
#include "tests/support/scratch.h"
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static message why;

/* A model without the keys that belong to its attention. */
static json_t *sizes(void)
{
    return json_pack("{s:i s:i s:i s:i s:i s:i s:i s:s s:f s:s}", "vocab_size", 96, "hidden_size", 32,
                     "intermediate_size", 48, "num_hidden_layers", 2, "num_attention_heads", 4,
                     "num_key_value_heads", 2, "eos_token_id", 95, "hidden_act", "silu", "rms_norm_eps", 1e-5,
                     "torch_dtype", "float32");
}

static status read_json(model_config *c, const json_t *json)
{
    char folder[PATH_BYTES], *text = json_dumps(json, JSON_REAL_PRECISION(17));
    snprintf(folder, sizeof folder, "%s", scratch_text("config.json", text));
    *strrchr(folder, '/') = 0;
    free(text);
    return config_read(c, folder, &why);
}

static void read_good(model_config *c, const json_t *json)
{
    if (read_json(c, json) != OK) fail_msg("%s", why.text);
}

static void refuse(const json_t *json, const char *words)
{
    model_config c;
    if (read_json(&c, json) == OK) fail_msg("accepted; expected '%s'", words);
    if (!strstr(why.text, words)) fail_msg("'%s' does not say '%s'", why.text, words);
}

static void call_it(json_t *json, const char *architecture, const char *type)
{
    json_object_set_new(json, "architectures", json_pack("[s]", architecture));
    json_object_set_new(json, "model_type", json_string(type));
}

/* What config_converted writes for a small Llama model in the row's layout, and the shape that it was given.
 */
static json_t *converted(const family *m, dims *d)
{
    model_config source;
    json_t *json = sizes();
    call_it(json, "LlamaForCausalLM", "llama");
    read_good(&source, json);
    json_decref(json);
    *d = source.d;
    d->kind = ATTENTION_MLA, d->R = 20, d->Rq = 12, d->Dr = 4, d->Dn = d->Dv = d->D, d->latent_norm = true;
    char *text = config_converted(&source, d, m->layout, F32);
    json = json_loads(text, 0, NULL);
    free(text);
    config_free(&source);
    return json;
}

/* A config.json of the row, with its architecture number `index`. */
static json_t *example(const family *m, int index)
{
    dims ignored;
    json_t *json = m->write ? converted(m, &ignored) : sizes();
    call_it(json, m->architectures[index], m->model_type);
    return json;
}

/* Calls `check` for every row and each of its architectures. */
static void for_each(void (*check)(const family *m, int index))
{
    for (int r = 0; families[r]; r++)
        for (int i = 0; i < FAMILY_VALUES && families[r]->architectures[i]; i++) check(families[r], i);
}

/* What a checkpoint writes is read as the same model, of the same family. */
static void check_written(const family *m, int index)
{
    model_config first, again;
    json_t *json = example(m, index);
    assert_ptr_equal(family_of(m->architectures[index], json), m);
    read_good(&first, json);
    json_decref(json);
    assert_int_equal(first.d.kind, m->attention);
    char *text = config_with_storage(&first, BF16);
    json = json_loads(text, 0, NULL);
    free(text);
    assert_string_equal(json_string_value(json_object_get(json, "model_type")),
                        m->own_model_type ? m->own_model_type : m->model_type);
    read_good(&again, json);
    json_decref(json);
    assert_true(same_dims(&first.d, &again.d));
    assert_int_equal(again.storage, BF16);
    assert_int_equal(again.layout, m->layout);
    config_free(&first);
    config_free(&again);
}

static void written_is_read(void **state)
{
    (void)state;
    for_each(check_written);
}

/* Each layout has one row, whose files are its own. */
static void conversions_are_read(void **state)
{
    (void)state;
    int written = 0;
    for (int r = 0; families[r]; r++) {
        const family *m = families[r];
        if (!m->write) continue;
        written++;
        dims d;
        model_config c;
        json_t *json = converted(m, &d);
        assert_ptr_equal(family_of_layout(m->layout), m);
        const json_t *names = json_object_get(json, "architectures");
        assert_ptr_equal(family_of(json_string_value(json_array_get(names, 0)), json), m);
        read_good(&c, json);
        json_decref(json);
        assert_true(same_dims(&c.d, &d));
        config_free(&c);
    }
    assert_int_equal(written, 2); /* config_layout has two words */
}

static void check_defaults(const family *m, int index)
{
    for (int k = 0; k < FAMILY_VALUES && m->defaults[k].key; k++) {
        model_config c;
        json_t *json = example(m, index), *value = json_loads(m->defaults[k].json, JSON_DECODE_ANY, NULL);
        json_object_del(json, m->defaults[k].key);
        read_good(&c, json);
        assert_true(json_equal(json_object_get(c.json, m->defaults[k].key), value));
        json_decref(value);
        json_decref(json);
        config_free(&c);
    }
}

static void defaults_are_taken(void **state)
{
    (void)state;
    for_each(check_defaults);
}

static void check_fixed(const family *m, int index)
{
    for (int k = 0; k < FAMILY_VALUES && m->fixed[k].key; k++) {
        char words[96];
        json_t *json = example(m, index);
        json_object_set_new(json, m->fixed[k].key, json_string("something else"));
        snprintf(words, sizeof words, "%s is \"something else\", only %s is supported", m->fixed[k].key,
                 m->fixed[k].json);
        refuse(json, words);
        json_decref(json);
    }
}

static void fixed_values(void **state)
{
    (void)state;
    for_each(check_fixed);
}

static int refused; /* keys of others, by all families together */

static void check_keys_of(const family *m, const family *other)
{
    for (const char *const *key = other->keys; key && *key; key++) {
        assert_true(config_key_known(other, *key));
        if (config_key_known(m, *key)) continue;
        json_t *json = example(m, 0);
        json_object_set_new(json, *key, json_integer(1));
        refuse(json, *key);
        json_decref(json);
        refused++;
    }
}

static void keys_of_others(void **state)
{
    (void)state;
    for (int r = 0; families[r]; r++)
        for (int o = 0; families[o]; o++) check_keys_of(families[r], families[o]);
    assert_true(refused > 0);
}

/* Two rows have one architecture only where a mark tells their files apart. */
static void check_mark(const family *m, int index)
{
    if (!m->mark) return;
    char words[96];
    json_t *json = example(m, index);
    assert_true(family_is_marked(m, json));
    json_object_del(json, m->mark);
    const family *now = family_of(m->architectures[index], json);
    assert_non_null(now);
    snprintf(words, sizeof words, "key '%s' is missing", m->mark);
    if (now == m)
        refuse(json, words);
    else
        assert_null(now->mark);
    json_decref(json);
}

static void marks(void **state)
{
    (void)state;
    for_each(check_mark);
}

static int times(const char *text, const char *word)
{
    int count = 0;
    while ((text = strstr(text, word))) count++, text++;
    return count;
}

static void check_named(const family *m, int index)
{
    if (times(why.text, m->architectures[index]) != 1)
        fail_msg("'%s' does not name %s once", why.text, m->architectures[index]);
}

static void unknown_architecture(void **state)
{
    (void)state;
    json_t *json = sizes();
    call_it(json, "NobodysForCausalLM", "nobody");
    refuse(json, "architectures is [\"NobodysForCausalLM\"], supported are LlamaForCausalLM, ");
    for_each(check_named);
    assert_int_equal(times(why.text, " and "), 1);
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_is_read),      cmocka_unit_test(conversions_are_read),
        cmocka_unit_test(defaults_are_taken),   cmocka_unit_test(fixed_values),
        cmocka_unit_test(keys_of_others),       cmocka_unit_test(marks),
        cmocka_unit_test(unknown_architecture),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
