/* `remla plan` as a user calls it: its JSON, what it does without data and without a model, and what it
 * refuses. */
#include "base/file.h"
#include "tests/train/commands/program.h"
#include <jansson.h>
#include <string.h>

#define IN_SOURCES "cd \"${REMLA_SOURCE:-.}\" &&"
#define run(...)   program_run(IN_SOURCES, "plan " __VA_ARGS__)

static void refused(int code, int want, const char *sentence)
{
    if (code != want || !strstr(err, sentence))
        fail_msg("exit %d, not %d, or no \"%s\" in: %s", code, want, sentence, err);
}

/* The plan of the last run; the caller gives it back. */
static json_t *parsed(int code)
{
    json_t *plan = json_loads(out, JSON_REJECT_DUPLICATES, NULL);
    if (code != 0 || !plan) fail_msg("exit %d: %s%s", code, out, err);
    return plan;
}

/* A number of the plan: "bytes.weights". */
static double number(const json_t *plan, const char *key)
{
    char first[64];
    const char *dot = strchr(key, '.');
    snprintf(first, sizeof first, "%.*s", (int)(dot ? dot - key : (long)strlen(key)), key);
    const json_t *value = json_object_get(plan, first);
    if (dot) value = json_object_get(value, dot + 1);
    if (!json_is_number(value)) fail_msg("%s is no number in: %s", key, out);
    return json_number_value(value);
}

/* The golden model, and data that are not there. */
static const char *config(const char *more)
{
    char text[1024];
    snprintf(text, sizeof text,
             "model: {path: tests/golden/mla}\ndata: {train: nowhere/*.ds}\n"
             "train: {seq_len: 32, batch_tokens: 512, micro_batch: 2, steps: 10}\n%s",
             more);
    return scratch_text("run.yaml", text);
}

static void test_json(void **state)
{
    (void)state;
    static const char *const numbers[] = {"ranks",
                                          "zero",
                                          "bytes.weights",
                                          "bytes.gradients",
                                          "bytes.states",
                                          "bytes.activations",
                                          "bytes.scratch",
                                          "bytes.communication",
                                          "bytes.library",
                                          "peak_bytes",
                                          "device_bytes",
                                          "disk.checkpoint_bytes",
                                          "disk.total_bytes",
                                          "parameters",
                                          "tokens",
                                          "steps",
                                          "hours",
                                          "flops_per_step",
                                          "share_of_peak",
                                          "bytes_sent_per_step",
                                          "seconds.compute",
                                          "seconds.communication",
                                          "seconds.hidden",
                                          "seconds.offload",
                                          "host_bytes",
                                          "copy_bytes"};
    json_t *plan = parsed(run("%s --ranks 4 --device a100 --json", config("")));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) assert_true(number(plan, numbers[i]) >= 0);
    assert_string_equal(json_string_value(json_object_get(plan, "device")), "a100");
    assert_true(json_is_string(json_object_get(plan, "peak_at")));
    assert_true(json_is_true(json_object_get(plan, "fits")));
    assert_int_equal(json_array_size(json_object_get(plan, "advice")), 0);
    assert_true(number(plan, "ranks") == 4 && number(plan, "tokens") == 5120);
    double sum = 0;
    for (size_t i = 2; i < 9; i++) sum += number(plan, numbers[i]);
    assert_true(number(plan, "peak_bytes") == sum);
    json_decref(plan);
}

/* Cut over four ranks, weights, gradients and states are a quarter, but for padding. */
static void test_stages(void **state)
{
    (void)state;
    double weights[4], gradients[4], states[4], sent[4];
    for (int stage = 0; stage < 4; stage++) {
        json_t *plan = parsed(run("%s --ranks 4 --device cpu parallel.zero=%d --json", config(""), stage));
        weights[stage] = number(plan, "bytes.weights");
        gradients[stage] = number(plan, "bytes.gradients");
        states[stage] = number(plan, "bytes.states");
        sent[stage] = number(plan, "bytes_sent_per_step");
        json_decref(plan);
    }
    assert_true(weights[0] == weights[2] && weights[3] * 4 == weights[0]);
    assert_true(gradients[0] == gradients[1] && gradients[2] * 4 == gradients[1]);
    assert_true(states[1] < states[0] * 0.3 && states[1] == states[3]);
    /* Two micro-batches each. */
    assert_true(sent[0] < sent[1] && sent[1] < sent[2] && sent[2] < sent[3]);
}

/* The tokens come from shards where train.steps does not say them, and a plan without either is one. */
static void test_data(void **state)
{
    (void)state;
    json_t *plan = parsed(
        run("%s --json train.steps=auto data.train=tests/golden/train.ds device.kind=cpu", config("")));
    assert_true(number(plan, "steps") == 2309 / 32 / 16);
    json_decref(plan);
    plan = parsed(run("%s --json train.steps=auto", config("")));
    assert_true(json_is_null(json_object_get(plan, "steps")) && json_is_null(json_object_get(plan, "hours")));
    json_decref(plan);
    assert_int_equal(run("%s train.steps=auto", config("")), 0);
    if (!strstr(out, "steps  not known")) fail_msg("%s", out);
}

/* A config file with a model that is not there: its shape lies beside the file. */
static void test_beside(void **state)
{
    (void)state;
    char folder[PATH_BYTES];
    snprintf(folder, sizeof folder, "%s", scratch_path("configs"));
    message why;
    assert_int_equal(folder_make(folder, &why), OK);
    refused(run("%s model.path=models/none", config("")), 3, "models/none");
    json_t *plan = parsed(run("configs/llama2-7b_8xh100.yaml --ranks 8 --json"));
    assert_true(number(plan, "parameters") == 6142840832 && json_is_true(json_object_get(plan, "fits")));
    json_decref(plan);
}

/* What does not fit fits with the advice. */
static void test_advice(void **state)
{
    (void)state;
    char settings[512];
    const char *const plain = "parallel.zero=1 train.micro_batch=1 train.recompute=light optim.offload=false";
    json_t *plan = parsed(run("configs/llama2-13b_8xh100.yaml --ranks 8 --json %s", plain));
    const json_t *advice = json_object_get(plan, "advice");
    assert_true(json_is_false(json_object_get(plan, "fits")));
    assert_true(json_array_size(advice) > 0);
    assert_string_equal(json_string_value(json_array_get(advice, 0)), "parallel.zero=2");
    for (size_t i = 0; i < json_array_size(advice); i++) {
        snprintf(settings, sizeof settings, "%s %s", plain, json_string_value(json_array_get(advice, i)));
        json_t *then = parsed(run("configs/llama2-13b_8xh100.yaml --ranks 8 --json %s", settings));
        if (!json_is_true(json_object_get(then, "fits"))) fail_msg("%s does not fit", settings);
        json_decref(then);
    }
    json_decref(plan);
    assert_int_equal(run("configs/qwen2.5-72b_64xh100.yaml --ranks 8"), 0);
    if (!strstr(out, "no setting helps")) fail_msg("%s", out);
}

static void test_configs(void **state)
{
    (void)state;
    static const char *const fitting[] = {"llama2-7b_8xh100.yaml --ranks 8", "llama2-7b_1xh100.yaml",
                                          "llama2-13b_8xh100.yaml --ranks 8",
                                          "qwen2.5-72b_64xh100.yaml --ranks 64"};
    for (size_t i = 0; i < sizeof fitting / sizeof *fitting; i++) {
        json_t *plan = parsed(run("configs/%s --json", fitting[i]));
        if (!json_is_true(json_object_get(plan, "fits"))) fail_msg("%s: %s", fitting[i], out);
        assert_string_equal(json_string_value(json_object_get(plan, "device")), "h100");
        json_decref(plan);
    }
}

/* A run prints its plan when it starts. */
static void test_train(void **state)
{
    (void)state;
    char arguments[1024];
    snprintf(arguments, sizeof arguments,
             "%s data.train=tests/golden/train.ds train.steps=1 train.out=%s device.kind=cpu", config(""),
             scratch_path("run"));
    if (program_run(IN_SOURCES, "train %s", arguments) != 0) fail_msg("%s", err);
    if (!strstr(out, "\nmemory GB of each rank\n       weights           0.000  that passes read\n") ||
        !strstr(out, "\n       peak              0.0") || !strstr(out, "\ndisk   "))
        fail_msg("%s", out);
}

/* Questions of which nothing is there yet are left out; wrong options are not. */
static void test_questions(void **state)
{
    (void)state;
    assert_int_equal(run("%s eval.tasks=arc_easy eval.data=tests/golden/mla", config("")), 0);
    if (!strstr(out, "eval.tasks is not counted: tests/golden/mla: there is neither arc_easy.jsonl"))
        fail_msg("%s", out);
    refused(run("%s eval.tasks=arc_easy", config("")), 2, "eval.data is not set");
    refused(run("%s eval.tasks=arc_eesy eval.data=tests/golden/eval", config("")), 2,
            "unknown task arc_eesy");
}

static void test_refused(void **state)
{
    (void)state;
    refused(run("%s --device h101", config("")), 2,
            "no device h101 to plan for: there are h100, a100 and cpu");
    refused(run("%s --ranks 0", config("")), 2, "--ranks 0: expected a whole number from 1 to 1048576");
    refused(run("%s --ranks", config("")), 2, "--ranks : expected a whole number");
    refused(run("%s --ranks 3", config("")), 2, "train.batch_tokens=512 is not a multiple of");
    refused(run("%s model.path=", config("")), 2, "model.path is not set");
    refused(run("nowhere.yaml"), 3, "nowhere.yaml");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),   cmocka_unit_test(test_stages),    cmocka_unit_test(test_data),
        cmocka_unit_test(test_beside), cmocka_unit_test(test_advice),    cmocka_unit_test(test_configs),
        cmocka_unit_test(test_train),  cmocka_unit_test(test_questions), cmocka_unit_test(test_refused),
    };
    const char *program = getenv("REMLA");
    if (!program || !file_exists(program)) return SKIPPED_CODE;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
