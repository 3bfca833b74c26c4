/* config.json: every fixture and what transformers 4 and 5 write is read into the right dims; every kind
 * of bad or unsupported value is refused with a sentence that names the key; what remla writes equals what
 * TransMLA's converter wrote. */
#include "model/hf/config.h"
#include "base/file.h"
#include "tests/model/hf/same_dims.h"
#include "tests/support/scratch.h"
#include <jansson.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static char folder[64];
static message why;
static bool skipped;

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/remla-config-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return folder_remove(folder, &why) == OK ? 0 : -1;
}

#define COMMON                                                                                               \
    "\"hidden_act\": \"silu\", \"hidden_size\": 64, \"intermediate_size\": 160, \"num_attention_heads\": "   \
    "4, \"num_hidden_layers\": 2, "                                                                          \
    "\"rms_norm_eps\": 1e-05, \"torch_dtype\": \"float32\", \"vocab_size\": 264, \"rope_theta\": 10000.0, "  \
    "\"tie_word_embeddings\": false, "                                                                       \
    "\"eos_token_id\": 256, "
static const char llama[] =
    "{" COMMON
    "\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"num_key_value_heads\": 2}";
static const char qwen2[] =
    "{" COMMON
    "\"architectures\": [\"Qwen2ForCausalLM\"], \"model_type\": \"qwen2\", \"num_key_value_heads\": 2}";
static const char mistral[] = "{" COMMON "\"architectures\": [\"MistralForCausalLM\"], \"model_type\": "
                              "\"mistral\", \"num_key_value_heads\": 2, \"sliding_window\": null}";
#define LATENT                                                                                               \
    "\"model_type\": \"deepseek_v3\", \"num_key_value_heads\": 4, \"kv_lora_rank\": 20, \"q_lora_rank\": "   \
    "null, \"qk_nope_head_dim\": 16, "                                                                       \
    "\"qk_rope_head_dim\": 8, \"v_head_dim\": 16"
static const char transmla[] =
    "{" COMMON LATENT ", \"architectures\": [\"LlamaMLAForCausalLM\"], \"head_dim\": 8, \"attention_bias\": "
    "false, \"qk_latent_layernorm\": false}";
static const char deepseek[] =
    "{" COMMON LATENT ", \"architectures\": [\"DeepseekV3ForCausalLM\"], \"first_k_dense_replace\": 2}";

static void write_config(const char *text)
{
    char path[PATH_BYTES];
    assert_int_equal(
        file_write(path_join(path, folder, "config.json"), text, (int64_t)strlen(text), NULL, &why), OK);
}

/* Writes `base` with the members of `changes` (a JSON object) put in; members that are "-" are taken out. */
static void write_changed(const char *base, const char *changes)
{
    json_t *json = json_loads(base, 0, NULL), *change = json_loads(changes, 0, NULL), *value;
    const char *key;
    if (!json || !change) fail_msg("not JSON: %s or %s", base, changes);
    json_object_foreach(change, key, value)
    {
        if (json_is_string(value) && strcmp(json_string_value(value), "-") == 0)
            json_object_del(json, key);
        else
            json_object_set(json, key, value);
    }
    char *text = json_dumps(json, JSON_REAL_PRECISION(17));
    write_config(text);
    free(text);
    json_decref(json);
    json_decref(change);
}

static dims read_dims(const char *base, const char *changes)
{
    model_config c;
    write_changed(base, changes);
    if (config_read(&c, folder, &why) != OK) fail_msg("%s: %s", changes, why.text);
    const dims d = c.d;
    config_free(&c);
    return d;
}

static void refuse(const char *base, const char *changes, const char *words)
{
    model_config c;
    write_changed(base, changes);
    if (config_read(&c, folder, &why) != ERR_INPUT) fail_msg("accepted: %s", changes);
    assert_null(c.json);
    if (!strstr(why.text, words)) fail_msg("%s: '%s' does not say '%s'", changes, why.text, words);
    if (!strstr(why.text, "/config.json: ")) fail_msg("'%s' names no file", why.text);
}

/* ---- reading ------------------------------------------------------------------------------------------- */

static void shapes(void **state)
{
    (void)state;
    dims d = read_dims(llama, "{}");
    assert_true(d.kind == ATTENTION_GQA && d.L == 2 && d.V == 264 && d.C == 64 && d.F == 160 && d.H == 4 &&
                d.G == 2 && d.D == 16);
    assert_true(d.norm_eps == 1e-5 && d.rope.theta == 10000 && !d.rope.llama3 && !d.tied && !d.q_bias &&
                !d.k_bias && !d.v_bias && d.window == 0);
    assert_int_equal(read_dims(llama, "{\"head_dim\": 24}").D, 24);
    assert_int_equal(read_dims(llama, "{\"head_dim\": null}").D, 16);
    assert_true(read_dims(llama, "{\"tie_word_embeddings\": true}").tied);
    assert_false(read_dims(llama, "{\"tie_word_embeddings\": \"-\"}").tied);
    d = read_dims(qwen2, "{}");
    assert_true(d.q_bias && d.k_bias && d.v_bias);
    d = read_dims(transmla, "{}");
    assert_true(d.kind == ATTENTION_MLA && d.R == 20 && d.Rq == 0 && d.Dn == 16 && d.Dr == 8 && d.Dv == 16 &&
                !d.latent_norm && !d.q_bias && !d.k_bias);
    d = read_dims(transmla, "{\"q_lora_rank\": 48, \"attention_bias\": true, \"qk_latent_layernorm\": true}");
    assert_true(d.Rq == 48 && d.latent_norm && d.q_bias && d.k_bias && !d.v_bias);
    d = read_dims(deepseek,
                  "{\"n_routed_experts\": 0, \"num_nextn_predict_layers\": 0, \"rope_interleave\": true}");
    assert_true(d.kind == ATTENTION_MLA && d.latent_norm && !d.q_bias && !d.k_bias && !d.o_bias);
    d = read_dims(deepseek, "{\"attention_bias\": true}"); /* queries have no latent, and so no bias */
    assert_true(d.k_bias && d.o_bias && !d.q_bias && !d.q_a_bias);
    d = read_dims(deepseek, "{\"attention_bias\": true, \"q_lora_rank\": 48}");
    assert_true(d.k_bias && d.o_bias && !d.q_bias && d.q_a_bias);
    assert_false(read_dims(transmla, "{\"architectures\": [\"DeepseekV3ForCausalLM\"]}").latent_norm);
}

static void windows(void **state)
{
    (void)state;
    assert_int_equal(read_dims(mistral, "{\"sliding_window\": 4096}").window, 4096);
    assert_int_equal(read_dims(mistral, "{}").window, 0);
    assert_int_equal(
        read_dims(qwen2,
                  "{\"sliding_window\": 4096, \"use_sliding_window\": false, \"max_window_layers\": 28}")
            .window,
        0);
    assert_int_equal(read_dims(qwen2, "{\"sliding_window\": 4096}").window, 0);
    assert_int_equal(read_dims(qwen2, "{\"sliding_window\": 128, \"use_sliding_window\": true, "
                                      "\"layer_types\": [\"full_attention\", \"sliding_attention\"]}")
                         .window,
                     128);
    assert_int_equal(read_dims(transmla, "{\"sliding_window\": 4096}").window, 4096);
}

#define LLAMA3                                                                                               \
    "{\"rope_type\": \"llama3\", \"factor\": 8.0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, "     \
    "\"original_max_position_embeddings\": 64"

static void rope(void **state)
{
    (void)state;
    assert_true(read_dims(llama, "{\"rope_theta\": \"-\", \"rope_parameters\": {\"rope_type\": \"default\", "
                                 "\"rope_theta\": 500000}}")
                    .rope.theta == 500000);
    assert_true(read_dims(llama, "{\"rope_theta\": null, \"rope_parameters\": {\"rope_type\": \"default\", "
                                 "\"rope_theta\": 500000.5}}")
                    .rope.theta == 500000.5);
    assert_true(read_dims(llama, "{\"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 10000, "
                                 "\"partial_rotary_factor\": 1}}")
                    .rope.theta == 10000);
    assert_true(read_dims(llama, "{\"rope_parameters\": {\"rope_type\": \"default\"}}").rope.theta == 10000);
    assert_false(read_dims(llama, "{\"rope_scaling\": {\"type\": \"default\"}}").rope.llama3);
    const char *const scaled[] = {
        "{\"rope_scaling\": " LLAMA3 "}}",
        "{\"rope_scaling\": " LLAMA3 ", \"type\": \"llama3\"}}",
        "{\"rope_theta\": \"-\", \"rope_parameters\": " LLAMA3 ", \"rope_theta\": 10000}}",
        "{\"rope_scaling\": " LLAMA3 "}, \"rope_parameters\": " LLAMA3 ", \"rope_theta\": 10000.0}}",
    };
    for (int i = 0; i < 4; i++) {
        const rope_settings r = read_dims(llama, scaled[i]).rope;
        assert_true(r.llama3 && r.theta == 10000 && r.factor == 8 && r.low_freq_factor == 1 &&
                    r.high_freq_factor == 4 && r.original_max_position == 64);
    }
}

static void storage_and_eos(void **state)
{
    (void)state;
    static const struct {
        const char *changes;
        dtype storage;
        int64_t eos;
    } cases[] = {
        {"{}", F32, 256},
        {"{\"torch_dtype\": \"bfloat16\", \"eos_token_id\": null}", BF16, -1},
        {"{\"torch_dtype\": \"-\", \"dtype\": \"float16\", \"eos_token_id\": [7, 8]}", F16, 7},
        {"{\"torch_dtype\": \"float16\", \"dtype\": \"float16\", \"eos_token_id\": \"-\"}", F16, -1},
        {"{\"eos_token_id\": []}", F32, -1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        model_config c;
        write_changed(llama, cases[i].changes);
        if (config_read(&c, folder, &why) != OK) fail_msg("%s", why.text);
        assert_int_equal(c.storage, cases[i].storage);
        assert_int_equal(c.eos, cases[i].eos);
        config_free(&c);
    }
}

static void refusals(void **state)
{
    (void)state;
    static const struct {
        const char *base, *changes, *words;
    } cases[] = {
        /* kind */
        {llama, "{\"architectures\": \"-\"}", "key 'architectures' is missing"},
        {llama, "{\"architectures\": [\"LlamaForCausalLM\", \"X\"]}", "architectures is"},
        {llama, "{\"architectures\": \"LlamaForCausalLM\"}", "expected a list of one name"},
        {llama, "{\"architectures\": [\"Qwen3ForCausalLM\"]}",
         "architectures is [\"Qwen3ForCausalLM\"], supported are"},
        {llama, "{\"model_type\": \"-\"}", "key 'model_type' is missing"},
        {llama, "{\"model_type\": \"qwen2\"}", "model_type is \"qwen2\", expected \"llama\""},
        {llama, "{\"model_type\": 3}", "model_type is 3"},
        /* keys */
        {llama, "{\"surprise\": 1}", "key 'surprise' is not one that remla knows"},
        {llama, "{\"kv_lora_rank\": 20}", "key 'kv_lora_rank' belongs to models with latent attention"},
        {llama, "{\"hidden_act\": \"gelu\"}", "hidden_act is \"gelu\", only \"silu\" is supported"},
        {llama, "{\"mlp_bias\": true}", "mlp_bias is true"},
        {llama, "{\"quantization_config\": {\"bits\": 4}}", "quantised (it names no quant_method)"},
        {llama, "{\"quantization_config\": {\"quant_method\": \"awq\"}}",
         "quantised (awq); remla reads float32, bfloat16 and float16: take the checkpoint"},
        {llama, "{\"partial_rotary_factor\": 0.5}", "partial_rotary_factor is 0.5"},
        {llama, "{\"attention_bias\": true}", "attention_bias is true"},
        {llama, "{\"attention_bias\": 0}", "attention_bias is 0, expected true or false"},
        {mistral, "{\"attention_bias\": true}", "attention_bias is true"},
        {qwen2, "{\"attention_bias\": false}", "attention_bias is false"},
        /* sizes */
        {llama, "{\"vocab_size\": \"-\"}", "key 'vocab_size' is missing"},
        {llama, "{\"hidden_size\": null}", "key 'hidden_size' is null"},
        {llama, "{\"hidden_size\": 64.0}", "hidden_size is 64.0, expected a whole number"},
        {llama, "{\"hidden_size\": \"64\"}", "hidden_size is \"64\""},
        {llama, "{\"intermediate_size\": 0}", "intermediate_size is 0"},
        {llama, "{\"num_hidden_layers\": -2}", "num_hidden_layers is -2"},
        {llama, "{\"num_hidden_layers\": 1000000}", "num_hidden_layers is 1000000"},
        {llama, "{\"vocab_size\": 4000000000000}", "vocab_size is 4000000000000"},
        {llama, "{\"num_attention_heads\": [4]}", "num_attention_heads is [4]"},
        {llama, "{\"num_key_value_heads\": 3}",
         "num_attention_heads 4 is not a multiple of num_key_value_heads 3"},
        {llama, "{\"num_key_value_heads\": 8}", "num_key_value_heads is 8"},
        {llama, "{\"hidden_size\": 66}", "head_dim is missing, and hidden_size 66"},
        {llama, "{\"head_dim\": 15}", "head_dim is 15"},
        {llama, "{\"hidden_size\": 60}", "head_dim is 15"},
        {llama, "{\"rms_norm_eps\": 0}", "rms_norm_eps is 0"},
        {llama, "{\"rms_norm_eps\": \"1e-5\"}", "rms_norm_eps is \"1e-5\""},
        {llama, "{\"tie_word_embeddings\": \"yes\"}", "tie_word_embeddings is \"yes\""},
        {llama, "{\"torch_dtype\": \"-\"}", "key 'torch_dtype' is missing"},
        {llama, "{\"torch_dtype\": \"float8_e4m3fn\"}", "torch_dtype is \"float8_e4m3fn\""},
        {llama, "{\"dtype\": \"bfloat16\"}", "but dtype says otherwise"},
        {llama, "{\"eos_token_id\": \"<|endoftext|>\"}", "eos_token_id is"},
        {llama, "{\"eos_token_id\": -5}", "eos_token_id is -5"},
        /* positions */
        {llama, "{\"rope_theta\": 0}", "rope_theta is 0"},
        {llama, "{\"rope_theta\": \"10000\"}", "rope_theta is \"10000\""},
        {llama, "{\"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 20000}}",
         "rope_theta is 10000, but rope_parameters.rope_theta is 20000"},
        {llama, "{\"rope_scaling\": {\"factor\": 2}}", "key 'rope_scaling.rope_type' is missing"},
        {llama, "{\"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4}}",
         "rope_scaling.rope_type is \"yarn\""},
        {llama, "{\"rope_scaling\": {\"type\": \"linear\", \"factor\": 4}}",
         "rope_scaling.type is \"linear\""},
        {llama, "{\"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 4}}",
         "rope_scaling.type is \"dynamic\""},
        {llama, "{\"rope_parameters\": {\"rope_type\": \"longrope\", \"rope_theta\": 10000}}",
         "rope_parameters.rope_type is \"longrope\""},
        {llama, "{\"rope_scaling\": {\"rope_type\": \"llama3\", \"type\": \"yarn\"}}",
         "its rope_type and type differ"},
        {llama, "{\"rope_scaling\": \"llama3\"}", "rope_scaling is \"llama3\", expected an object"},
        {llama, "{\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8}}",
         "key 'rope_scaling.low_freq_factor' is missing"},
        {llama, "{\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": -1}}",
         "rope_scaling.factor is -1"},
        {llama, "{\"rope_scaling\": " LLAMA3 ", \"mscale\": 1}}",
         "key 'rope_scaling.mscale' is not one that remla knows"},
        {llama, "{\"rope_scaling\": {\"rope_type\": \"default\", \"factor\": 8}}",
         "key 'rope_scaling.factor' is not one that remla knows"},
        {llama,
         "{\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8, \"low_freq_factor\": 4, "
         "\"high_freq_factor\": 4, \"original_max_position_embeddings\": 64}}",
         "its high_freq_factor must be above"},
        {llama,
         "{\"rope_scaling\": " LLAMA3
         "}, \"rope_parameters\": {\"rope_type\": \"default\", \"rope_theta\": 10000}}",
         "but rope_parameters says otherwise"},
        {llama, "{\"rope_parameters\": {\"full_attention\": {\"rope_type\": \"default\"}}}",
         "key 'rope_parameters.rope_type' is missing"},
        /* windows */
        {mistral, "{\"sliding_window\": 0}", "sliding_window is 0"},
        {qwen2, "{\"use_sliding_window\": 1}", "use_sliding_window is 1"},
        {qwen2, "{\"layer_types\": [\"full_attention\", \"sliding_attention\"]}", "layer_types is"},
        {qwen2, "{\"layer_types\": [\"full_attention\"]}", "layer_types is"},
        {qwen2, "{\"layer_types\": [\"full_attention\", \"linear_attention\"]}", "layer_types is"},
        /* latent attention */
        {transmla, "{\"qk_latent_layernorm\": \"-\"}", "key 'qk_latent_layernorm' is missing"},
        {transmla, "{\"qk_latent_layernorm\": null}", "key 'qk_latent_layernorm' is null"},
        {transmla, "{\"attention_bias\": \"-\"}", "key 'attention_bias' is missing"},
        {transmla, "{\"kv_lora_rank\": \"-\"}", "key 'kv_lora_rank' is missing"},
        {transmla, "{\"q_lora_rank\": \"-\"}", "key 'q_lora_rank' is missing"},
        {transmla, "{\"q_lora_rank\": 0}", "q_lora_rank is 0"},
        {transmla, "{\"qk_nope_head_dim\": \"-\"}", "key 'qk_nope_head_dim' is missing"},
        {transmla, "{\"qk_rope_head_dim\": 7, \"head_dim\": 7}", "qk_rope_head_dim is 7"},
        {transmla, "{\"v_head_dim\": null}", "key 'v_head_dim' is null"},
        {transmla, "{\"head_dim\": 16}", "head_dim is 16"},
        {transmla, "{\"qk_head_dim\": 16}", "qk_head_dim is 16"},
        {transmla, "{\"num_key_value_heads\": 2}", "num_key_value_heads is 2"},
        {transmla, "{\"n_routed_experts\": 8}", "key 'first_k_dense_replace' is missing"},
        {transmla, "{\"rope_interleave\": false}", "rope_interleave is false"},
        {deepseek, "{\"architectures\": [\"LlamaMLAForCausalLM\"]}", "key 'qk_latent_layernorm' is missing"},
        {deepseek, "{\"first_k_dense_replace\": \"-\"}", "key 'first_k_dense_replace' is missing"},
        {deepseek, "{\"first_k_dense_replace\": 1}", "first_k_dense_replace is 1"},
        {deepseek, "{\"rope_scaling\": {\"type\": \"yarn\", \"factor\": 40}}",
         "rope_scaling.type is \"yarn\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        refuse(cases[i].base, cases[i].changes, cases[i].words);
}

static void broken_files(void **state)
{
    (void)state;
    static const char *const broken[] = {"",
                                         "{",
                                         "[]",
                                         "{\"a\": 1, \"a\": 2}",
                                         "{\"a\": nan}",
                                         "{\"vocab_size\": 99999999999999999999}",
                                         "{\"a\": 1} x"};
    model_config c;
    for (size_t i = 0; i < sizeof broken / sizeof broken[0]; i++) {
        write_config(broken[i]);
        if (config_read(&c, folder, &why) != ERR_INPUT) fail_msg("accepted: %s", broken[i]);
        assert_non_null(strstr(why.text, "JSON"));
    }
    assert_int_equal(config_read(&c, "/nowhere", &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "/nowhere: there is no such folder"));
}

/* What save_pretrained of transformers 5.23 writes for a default config, with the shape of these tests. */
static void transformers_5(void **state)
{
    (void)state;
#define V5                                                                                                   \
    "\"attention_dropout\": 0.0, \"bos_token_id\": 1, \"dtype\": \"bfloat16\", \"eos_token_id\": 2, "        \
    "\"hidden_act\": \"silu\", \"hidden_size\": 64, "                                                        \
    "\"initializer_range\": 0.02, \"intermediate_size\": 160, \"max_position_embeddings\": 2048, "           \
    "\"num_attention_heads\": 4, "                                                                           \
    "\"num_hidden_layers\": 2, \"pad_token_id\": null, \"rms_norm_eps\": 1e-06, \"rope_parameters\": "       \
    "{\"rope_theta\": 10000.0, "                                                                             \
    "\"rope_type\": \"default\"}, \"tie_word_embeddings\": false, \"transformers_version\": \"5.23.0\", "    \
    "\"use_cache\": true, \"vocab_size\": 264, "
    static const char *const texts[] = {
        "{" V5 "\"architectures\": [\"LlamaForCausalLM\"], \"attention_bias\": false, \"head_dim\": 16, "
        "\"mlp_bias\": false, \"model_type\": \"llama\", "
        "\"num_key_value_heads\": 2, \"pretraining_tp\": 1}",
        "{" V5 "\"architectures\": [\"Qwen2ForCausalLM\"], \"layer_types\": [\"full_attention\", "
        "\"full_attention\"], \"max_window_layers\": 28, "
        "\"model_type\": \"qwen2\", \"num_key_value_heads\": 2, \"sliding_window\": null, "
        "\"use_sliding_window\": false}",
        "{" V5 "\"architectures\": [\"MistralForCausalLM\"], \"head_dim\": 16, \"model_type\": \"mistral\", "
        "\"num_key_value_heads\": 2, \"sliding_window\": 4096}",
        "{" V5 "\"architectures\": [\"DeepseekV3ForCausalLM\"], \"attention_bias\": false, "
        "\"first_k_dense_replace\": 2, \"head_dim\": 8, \"kv_lora_rank\": 20, "
        "\"model_type\": \"deepseek_v3\", \"moe_intermediate_size\": 2048, \"n_group\": 8, "
        "\"n_routed_experts\": 256, \"n_shared_experts\": 1, "
        "\"norm_topk_prob\": true, \"num_experts_per_tok\": 8, \"num_key_value_heads\": 4, "
        "\"num_nextn_predict_layers\": 1, \"output_router_logits\": false, "
        "\"pretraining_tp\": 1, \"q_lora_rank\": 48, \"qk_head_dim\": 24, \"qk_nope_head_dim\": 16, "
        "\"qk_rope_head_dim\": 8, \"rope_interleave\": true, "
        "\"routed_scaling_factor\": 2.5, \"topk_group\": 4, \"v_head_dim\": 16}",
    };
    for (int i = 0; i < 4; i++) {
        model_config c;
        write_config(texts[i]);
        if (config_read(&c, folder, &why) != OK) fail_msg("%s", why.text);
        assert_true(c.d.rope.theta == 10000 && c.storage == BF16 && c.eos == 2 && c.d.norm_eps == 1e-6);
        config_free(&c);
    }
}

/* ---- writing ------------------------------------------------------------------------------------------- */

/* What is written for `d` reads as `d`. */
static void check_converted(const model_config *source, const dims *d, config_layout layout)
{
    char *text = config_converted(source, d, layout, BF16);
    write_config(text);
    free(text);
    model_config c;
    if (config_read(&c, folder, &why) != OK) fail_msg("%s", why.text);
    assert_true(same_dims(&c.d, d));
    assert_int_equal(c.storage, BF16);
    assert_int_equal(c.eos, source->eos);
    config_free(&c);
}

static void converted_is_read(void **state)
{
    (void)state;
    static const char *const sources[] = {
        "{}",
        "{\"tie_word_embeddings\": true, \"rope_scaling\": " LLAMA3 "}}",
        "{\"rope_theta\": \"-\", \"rope_parameters\": " LLAMA3 ", \"rope_theta\": 123456.789}}",
        "{\"torch_dtype\": \"-\", \"dtype\": \"float16\", \"rms_norm_eps\": 0.00001000000000000123, "
        "\"eos_token_id\": [3, 4]}",
    };
    for (int i = 0; i < 4; i++) {
        model_config source;
        write_changed(llama, sources[i]);
        if (config_read(&source, folder, &why) != OK) fail_msg("%s", why.text);
        dims d = source.d;
        d.kind = ATTENTION_MLA, d.R = 20, d.Dr = 8, d.Dn = d.Dv = source.d.D;
        check_converted(&source, &d, LAYOUT_TRANSMLA);
        d.q_bias = d.k_bias = true, d.Rq = 24;
        check_converted(&source, &d, LAYOUT_TRANSMLA);
        d.q_bias = d.k_bias = false, d.latent_norm = true;
        check_converted(&source, &d, LAYOUT_TRANSMLA);
        d.tied = false;
        check_converted(&source, &d, LAYOUT_DEEPSEEK);
        d.k_bias = d.q_a_bias = d.o_bias = true;
        check_converted(&source, &d, LAYOUT_DEEPSEEK);
        d.q_a_bias = false, d.Rq = 0;
        check_converted(&source, &d, LAYOUT_DEEPSEEK);
        d.k_bias = d.o_bias = false;
        check_converted(&source, &d, LAYOUT_DEEPSEEK);
        config_free(&source);
    }
}

static void storage_is_replaced(void **state)
{
    (void)state;
    static const char *const changes[] = {"{}", "{\"dtype\": \"float32\"}",
                                          "{\"dtype\": \"float32\", \"torch_dtype\": \"-\"}"};
    for (int i = 0; i < 3; i++) {
        model_config before, after;
        write_changed(llama, changes[i]);
        assert_int_equal(config_read(&before, folder, &why), OK);
        char *text = config_with_storage(&before, F16);
        write_config(text);
        free(text);
        if (config_read(&after, folder, &why) != OK) fail_msg("%s", why.text);
        assert_int_equal(after.storage, F16);
        const char *key;
        json_t *value;
        assert_int_equal(json_object_size(after.json), json_object_size(before.json));
        json_object_foreach(before.json, key, value) if (!strstr(key, "dtype"))
            assert_true(json_equal(value, json_object_get(after.json, key)));
        config_free(&before);
        config_free(&after);
    }
}

/* ---- fixtures ------------------------------------------------------------------------------------------ */

static bool no_fixtures(void) { return skipped = !fixture_path("llama"); }

static void read_fixture(model_config *c, const char *name, const char *kind)
{
    char path[PATH_BYTES];
    if (config_read(c, fixture_path(path_join(path, name, kind)), &why) != OK) fail_msg("%s", why.text);
}

/* Same keys and values as TransMLA's converter. A model in its DeepSeek style differs in class names only. */
static void transmla_keys(void **state)
{
    (void)state;
    if (no_fixtures()) skip();
    static const struct {
        const char *name;
        dtype storage;
        bool deepseek_style;
    } fixtures[] = {
        {"llama", F32, false},
        {"qwen2_bias_tied", F32, false},
        {"llama3_scaled_qlora_bf16", BF16, false},
        {"mistral_norm_fp16_sharded", F16, false},
        {"qwen2_deepseek_style", F32, true},
    };
    for (size_t i = 0; i < sizeof fixtures / sizeof fixtures[0]; i++) {
        model_config gqa, mla;
        read_fixture(&gqa, fixtures[i].name, "gqa");
        read_fixture(&mla, fixtures[i].name, "mla");
        assert_int_equal(gqa.storage, fixtures[i].storage);
        assert_int_equal(mla.storage, fixtures[i].storage);
        assert_int_equal(mla.eos, 256);
        char *text = config_converted(&gqa, &mla.d, LAYOUT_TRANSMLA, mla.storage);
        json_t *ours = json_loads(text, 0, NULL), *value;
        const char *key;
        assert_int_equal(json_object_size(ours), json_object_size(mla.json));
        json_object_foreach(mla.json, key, value)
        {
            if (fixtures[i].deepseek_style &&
                (strcmp(key, "architectures") == 0 || strcmp(key, "auto_map") == 0))
                continue;
            /* transformers goes by TransMLA's, and would load another model. */
            if (strcmp(key, "model_type") == 0) {
                assert_string_equal(json_string_value(json_object_get(ours, key)), TRANSMLA_MODEL_TYPE);
                continue;
            }
            if (!json_equal(value, json_object_get(ours, key)))
                fail_msg("%s: key %s differs from TransMLA's", fixtures[i].name, key);
        }
        json_decref(ours);
        free(text);
        config_free(&gqa);
        config_free(&mla);
    }
}

static void fixture_shapes(void **state)
{
    (void)state;
    if (no_fixtures()) skip();
    model_config c;
    read_fixture(&c, "qwen2_bias_tied", "gqa");
    assert_true(c.d.H == 6 && c.d.G == 3 && c.d.D == 16 && c.d.q_bias && c.d.v_bias && c.d.tied &&
                c.d.window == 0 && c.d.rope.theta == 1e6);
    config_free(&c);
    read_fixture(&c, "qwen2_bias_tied", "mla");
    assert_true(c.d.q_bias && c.d.k_bias && !c.d.v_bias && c.d.Dr == 16 && c.d.R == 32 && c.d.tied &&
                c.d.window == 0);
    config_free(&c);
    read_fixture(&c, "llama3_scaled_qlora_bf16", "mla");
    assert_true(c.d.Rq == 48 && c.d.rope.llama3 && c.d.rope.original_max_position == 64 && !c.d.latent_norm);
    config_free(&c);
    read_fixture(&c, "mistral_norm_fp16_sharded", "mla");
    assert_true(c.d.latent_norm && c.d.Rq == 40 && !c.d.q_bias);
    config_free(&c);
}

int main(void)
{
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(shapes),
        IN_FOLDER(windows),
        IN_FOLDER(rope),
        IN_FOLDER(storage_and_eos),
        IN_FOLDER(refusals),
        IN_FOLDER(broken_files),
        IN_FOLDER(transformers_5),
        IN_FOLDER(converted_is_read),
        IN_FOLDER(storage_is_replaced),
        cmocka_unit_test(transmla_keys),
        cmocka_unit_test(fixture_shapes),
    };
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    return skipped && !failed ? SKIPPED_CODE : failed;
}
