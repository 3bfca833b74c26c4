/* Keys missing from a config.json: each that transformers gives a default is taken out of a good file in
 * turn. The default is read, is in the JSON that later files are written from, and is said once. What would
 * be a guess about the shape is refused. */
#include "base/file.h"
#include "base/log.h"
#include "model/hf/config.h"
#include "model/hf/safetensors.h"
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
static char model[PATH_BYTES]; /* the folder of the test: the golden GQA model, with tensors in F16 */

static int make_model(void **state)
{
    (void)state;
    char from[PATH_BYTES], to[PATH_BYTES];
    int64_t bytes;
    uint64_t hash;
    snprintf(model, sizeof model, "%s", scratch_path("model"));
    snprintf(from, sizeof from, "%s/tests/golden/gqa/model.safetensors", getenv("REMLA_SOURCE"));
    return folder_make(model, &why) != OK ||
           file_copy(from, path_join(to, model, "model.safetensors"), &hash, &bytes, &why) != OK;
}

#define SIZES                                                                                                \
    "{\"vocab_size\": 96, \"hidden_size\": 32, \"intermediate_size\": 48, \"num_hidden_layers\": 2, "        \
    "\"num_attention_heads\": 4, \"head_dim\": 8, \"eos_token_id\": 95, "
#define WHOLE                                                                                                \
    "\"num_key_value_heads\": 2, \"hidden_act\": \"silu\", \"rms_norm_eps\": 1e-05, \"rope_theta\": 5e5, "   \
    "\"torch_dtype\": \"bfloat16\", \"tie_word_embeddings\": false"
#define CLASS(name, type) ", \"architectures\": [\"" name "ForCausalLM\"], \"model_type\": \"" type "\""
static const char llama[] = SIZES WHOLE CLASS("Llama", "llama") ", \"attention_bias\": false}";
static const char qwen2[] = SIZES WHOLE CLASS("Qwen2", "qwen2") "}";
static const char mistral[] = SIZES WHOLE CLASS("Mistral", "mistral") ", \"sliding_window\": 64}";
static const char deepseek[] =
    SIZES "\"num_key_value_heads\": 4, \"hidden_act\": \"silu\", \"rms_norm_eps\": 1e-05, "
          "\"rope_theta\": 5e5, \"torch_dtype\": \"bfloat16\", \"tie_word_embeddings\": "
          "false, \"kv_lora_rank\": 20, \"q_lora_rank\": null, \"qk_nope_head_dim\": 16, "
          "\"qk_rope_head_dim\": 8, \"v_head_dim\": 16, \"first_k_dense_replace\": 2, "
          "\"attention_bias\": false" CLASS("DeepseekV3", "deepseek_v3") "}";

/* config.json without one key, or with null for it; `added`: an object of keys to put in, NULL: none. */
static void write_without(const char *text, const char *key, bool null, const char *added)
{
    char path[PATH_BYTES];
    json_t *json = json_loads(text, 0, NULL), *more = added ? json_loads(added, 0, NULL) : NULL;
    assert_non_null(json);
    if (null)
        json_object_set_new(json, key, json_null());
    else
        assert_int_equal(json_object_del(json, key), 0);
    if (more) json_object_update(json, more);
    assert_int_equal(json_dump_file(json, path_join(path, model, "config.json"), 0), 0);
    json_decref(json);
    json_decref(more);
}

static void read_model(model_config *c)
{
    if (config_read(c, model, &why) != OK) fail_msg("%s", why.text);
}

/* The lines that log_line writes while `c` is read. The caller frees. */
static char *lines_of_reading(model_config *c)
{
    char path[PATH_BYTES], *text;
    int64_t bytes;
    snprintf(path, sizeof path, "%s", scratch_text("log", ""));
    log_file(path);
    read_model(c);
    log_file(NULL);
    assert_int_equal(file_read_text(path, 1 << 16, &text, &bytes, &why), OK);
    return text;
}

/* First of all: what is said is said once in the life of this program. */
static void said_once(void **state)
{
    (void)state;
    static const struct {
        const char *base, *key, *line;
        bool null;
    } cases[] = {
        {llama, "rope_theta", "rope_theta is not in config.json: 10000, transformers' default\n", false},
        {llama, "num_key_value_heads",
         "num_key_value_heads is null in config.json: 4, transformers' default\n", true},
        {llama, "hidden_act", "hidden_act is not in config.json: silu, transformers' default\n", false},
        {llama, "rms_norm_eps", "rms_norm_eps is not in config.json: 1e-06, transformers' default\n", false},
        {llama, "tie_word_embeddings",
         "tie_word_embeddings is not in config.json: false, transformers' default\n", false},
        {llama, "attention_bias", "attention_bias is not in config.json: false, transformers' default\n",
         false},
        {mistral, "sliding_window", "sliding_window is not in config.json: 4096, transformers' default\n",
         false},
        {llama, "torch_dtype", "torch_dtype is not in config.json: float16, the type of its first tensor\n",
         false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        model_config first, second;
        write_without(cases[i].base, cases[i].key, cases[i].null, NULL);
        char *line = lines_of_reading(&first), *again = lines_of_reading(&second);
        assert_string_equal(line, cases[i].line);
        assert_string_equal(again, "");
        free(line);
        free(again);
        config_free(&first);
        config_free(&second);
    }
}

/* Nothing is missing, nothing is taken. */
static void whole_files(void **state)
{
    (void)state;
    static const char *const whole[] = {llama, qwen2, mistral, deepseek};
    for (int i = 0; i < 4; i++) {
        model_config c;
        write_without(whole[i], "eos_token_id", false, NULL);
        char *lines = lines_of_reading(&c);
        assert_string_equal(lines, "");
        assert_true(c.d.rope.theta == 5e5 && c.d.norm_eps == 1e-5 && c.storage == BF16 && !c.d.tied);
        assert_int_equal(c.d.G, i < 3 ? 2 : 0);
        assert_int_equal(c.d.window, i == 2 ? 64 : 0);
        free(lines);
        config_free(&c);
    }
}

/* What has been read, as one number. */
static double value_of(const model_config *c, const char *key)
{
    if (strcmp(key, "rope_theta") == 0) return c->d.rope.theta;
    if (strcmp(key, "num_key_value_heads") == 0)
        return (double)(c->d.kind == ATTENTION_GQA ? c->d.G : c->d.H);
    if (strcmp(key, "rms_norm_eps") == 0) return c->d.norm_eps;
    if (strcmp(key, "sliding_window") == 0) return (double)c->d.window;
    if (strcmp(key, "torch_dtype") == 0) return c->storage;
    if (strcmp(key, "attention_bias") == 0) return c->d.q_bias;
    return c->d.tied; /* and hidden_act, which has one supported value */
}

static void defaults(void **state)
{
    (void)state;
    static const struct {
        const char *key, *json;
        double value;
        bool missing[4], null[4]; /* of llama, qwen2, mistral, deepseek: is it taken? */
    } cases[] = {
        {"rope_theta", "10000.0", 1e4, {1, 1, 1, 1}, {0}},
        {"num_key_value_heads", "4", 4, {1}, {1, 1, 1, 1}},
        {"hidden_act", "\"silu\"", 0, {1, 1, 1, 1}, {0}},
        {"rms_norm_eps", "1e-6", 1e-6, {1, 1, 1, 1}, {0}},
        {"tie_word_embeddings", "false", 0, {1, 1, 1, 1}, {0}},
        {"attention_bias", "false", 0, {1, 0, 0, 1}, {0}},
        {"sliding_window", "4096", 4096, {0, 0, 1, 0}, {0}},
        {"torch_dtype", "\"float16\"", F16, {1, 1, 1, 1}, {1, 1, 1, 1}},
    };
    static const char *const bases[] = {llama, qwen2, mistral, deepseek};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        for (int b = 0; b < 8; b++) {
            const bool null = b >= 4;
            if (!(null ? cases[i].null : cases[i].missing)[b % 4]) continue;
            model_config c;
            write_without(bases[b % 4], cases[i].key, null, NULL);
            read_model(&c);
            if (value_of(&c, cases[i].key) != cases[i].value)
                fail_msg("%s of %s is %g", cases[i].key, bases[b % 4], value_of(&c, cases[i].key));
            char *text =
                json_dumps(json_object_get(c.json, cases[i].key), JSON_ENCODE_ANY | JSON_REAL_PRECISION(9));
            assert_string_equal(text, cases[i].json);
            free(text);
            config_free(&c);
        }
}

/* transformers 5 keeps rope_theta in rope_parameters, and so do we. */
static void theta_of_parameters(void **state)
{
    (void)state;
    model_config c;
    write_without(llama, "rope_theta", false, "{\"rope_parameters\": {\"rope_type\": \"default\"}}");
    read_model(&c);
    assert_true(c.d.rope.theta == 1e4);
    assert_null(json_object_get(c.json, "rope_theta"));
    assert_true(
        json_number_value(json_object_get(json_object_get(c.json, "rope_parameters"), "rope_theta")) == 1e4);
    config_free(&c);
    write_without(llama, "rope_theta", false, "{\"rope_parameters\": null}");
    read_model(&c);
    assert_true(c.d.rope.theta == 1e4 && json_object_get(c.json, "rope_theta"));
    config_free(&c);
}

/* Files that are written from one with keys missing have all of them. */
static void written_files_are_whole(void **state)
{
    (void)state;
    static const char *const missing[] = {"rope_theta",   "num_key_value_heads", "hidden_act",
                                          "rms_norm_eps", "tie_word_embeddings", "torch_dtype"};
    json_t *bare = json_loads(llama, 0, NULL);
    for (size_t i = 0; i < 6; i++) json_object_del(bare, missing[i]);
    char *text = json_dumps(bare, 0), path[PATH_BYTES];
    json_decref(bare);
    assert_int_equal(
        file_write(path_join(path, model, "config.json"), text, (int64_t)strlen(text), NULL, &why), OK);
    free(text);
    model_config c;
    read_model(&c);
    dims d = c.d;
    d.kind = ATTENTION_MLA, d.R = 20, d.Dr = 4, d.Dn = d.Dv = d.D, d.latent_norm = true;
    char *const written[] = {config_with_storage(&c, F32), config_converted(&c, &d, LAYOUT_TRANSMLA, F32),
                             config_converted(&c, &d, LAYOUT_DEEPSEEK, F32)};
    for (int i = 0; i < 3; i++) {
        json_t *json = json_loads(written[i], 0, NULL);
        for (size_t k = 0; k < 6; k++)
            if (!json_object_get(json, missing[k])) fail_msg("file %d has no %s", i, missing[k]);
        assert_true(json_number_value(json_object_get(json, "rope_theta")) == 1e4);
        assert_true(json_number_value(json_object_get(json, "rms_norm_eps")) == 1e-6);
        assert_string_equal(json_string_value(json_object_get(json, "torch_dtype")), "float32");
        json_decref(json);
        free(written[i]);
    }
    config_free(&c);
}

static void refusals(void **state)
{
    (void)state;
    static const struct {
        const char *base, *key;
        bool null;
        const char *words;
    } cases[] = {
        {qwen2, "num_key_value_heads", false,
         "key 'num_key_value_heads' is missing; transformers would take 32 for any qwen2 model: add"},
        {mistral, "num_key_value_heads", false, "transformers would take 8 for any mistral model"},
        {deepseek, "num_key_value_heads", false, "transformers would take 128 for any deepseek_v3 model"},
        {llama, "num_attention_heads", false, "key 'num_attention_heads' is missing"},
        {llama, "vocab_size", false, "key 'vocab_size' is missing"},
        {llama, "hidden_size", false, "key 'hidden_size' is missing"},
        {llama, "intermediate_size", false, "key 'intermediate_size' is missing"},
        {llama, "num_hidden_layers", false, "key 'num_hidden_layers' is missing"},
        {llama, "rope_theta", true, "key 'rope_theta' is null"},
        {llama, "hidden_act", true, "key 'hidden_act' is null"},
        {llama, "rms_norm_eps", true, "key 'rms_norm_eps' is null"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        model_config c;
        write_without(cases[i].base, cases[i].key, cases[i].null, NULL);
        if (config_read(&c, model, &why) != ERR_INPUT) fail_msg("accepted without %s", cases[i].key);
        if (!strstr(why.text, cases[i].words)) fail_msg("'%s' does not say '%s'", why.text, cases[i].words);
    }
}

/* Of several types the first tensor's, where it lies and not by its name. */
static void first_of_two_types(void **state)
{
    (void)state;
    static const safetensors_spec spec[] = {{.name = "z", .type = F32, .rank = 1, .dim = {1}},
                                            {.name = "a", .type = BF16, .rank = 1, .dim = {1}}};
    const float one = 1;
    char path[PATH_BYTES];
    safetensors_writer w;
    model_config c;
    uint64_t hash;
    int64_t bytes;
    write_without(llama, "torch_dtype", false, NULL);
    if (safetensors_create(&w, path_join(path, model, "model.safetensors"), spec, 2, &why) != OK ||
        safetensors_append(&w, &one, 1, &why) != OK || safetensors_append(&w, &one, 1, &why) != OK ||
        safetensors_finish(&w, &hash, &bytes, &why) != OK)
        fail_msg("%s", why.text);
    read_model(&c);
    assert_int_equal(c.storage, F32);
    config_free(&c);
}

/* No key and no tensors: nothing tells the type. */
static void no_tensors(void **state)
{
    (void)state;
    char from[PATH_BYTES], to[PATH_BYTES];
    model_config c;
    write_without(llama, "torch_dtype", false, NULL);
    assert_int_equal(rename(path_join(from, model, "model.safetensors"), path_join(to, model, "away")), 0);
    assert_int_equal(config_read(&c, model, &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "config.json: key 'torch_dtype' is missing, and no tensor tells"));
    assert_int_equal(rename(to, from), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(said_once),
        cmocka_unit_test(whole_files),
        cmocka_unit_test(defaults),
        cmocka_unit_test(theta_of_parameters),
        cmocka_unit_test(written_files_are_whole),
        cmocka_unit_test(refusals),
        cmocka_unit_test(first_of_two_types),
        cmocka_unit_test(no_tensors),
    };
    return cmocka_run_group_tests(tests, make_model, NULL);
}
