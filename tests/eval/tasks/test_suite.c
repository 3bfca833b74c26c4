/* A suite from its names to its results: picks and accuracies counted once more from the log-probabilities,
 * what a result is as JSON and read back, and answers that are no numbers. */
#include "tests/support/check.h"
#include "tests/support/random_weights.h"
#include "tests/support/scratch.h"
#include "tests/support/small_dims.h"
#include "eval/tasks/results.h"
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static char folder[PATH_BYTES];
static message why;

static void open_suite(task_suite *s, const char *tasks, task_style style)
{
    const suite_settings settings = {.tasks = tasks, .folder = folder, .style = style, .rows = 64};
    const suite_model m = {folder, 96, 512};
    path_join(folder, getenv("REMLA_SOURCE") ? getenv("REMLA_SOURCE") : ".", "tests/golden/eval");
    if (suite_open(s, &settings, &m, comm_self(), &why) != OK) fail_msg("%s", why.text);
}

/* Log-probabilities that are easy to count with, of choices 0, 1, 2 ... of each question in turn. */
static suite_result result_with(const task_suite *s, const double *each)
{
    const score_work work = {.seconds = 1};
    suite_result r;
    double *logprob = memory_new(s->requests, sizeof *logprob, "scores");
    int64_t n = 0;
    for (int64_t i = 0; i < s->questions.count; i++)
        for (int j = 0; j < s->questions.item[i].choices; j++) logprob[n++] = each[j];
    results_of(&r, s, logprob, &work);
    free(logprob);
    return r;
}

static void picks(void **state)
{
    (void)state;
    task_suite s;
    /* hellaswag.jsonl: five, four and two endings, golds 0, 3 and 1; one ending is empty. */
    open_suite(&s, "hellaswag", STYLE_TRANSMLA);
    const suite_result equal = result_with(&s, (const double[]){-5, -5, -5, -5, -5});
    assert_int_equal(equal.task[0].n, 3);
    assert_true(fabs(equal.task[0].acc - 1 / 3.0) < 1e-12); /* of equal ones the first: right in question 0 */
    assert_true(fabs(equal.task[0].acc_stderr - sqrt(1 / 3.0 * 2 / 3 / 2)) < 1e-12);
    const suite_result last = result_with(&s, (const double[]){-9, -8, -7, -6, -6.5});
    assert_true(fabs(last.task[0].acc - 2 / 3.0) < 1e-12); /* picks 3 of 5, 3 of 4, 1 of 2: golds 0, 3, 1 */
    int64_t right = 0;
    for (int64_t i = 0; i < 3; i++) {
        const question *q = &s.questions.item[i];
        int best = 0;
        double most = -1e300;
        for (int j = 0; j < q->choices; j++) {
            const double score = (const double[]){-9, -8, -7, -6, -6.5}[j];
            size_t bytes = strlen(q->continuation[j]) - 1, characters = 0;
            for (size_t b = 1; b <= bytes; b++) characters += (q->continuation[j][b] & 0xc0) != 0x80;
            if (characters && score / (double)characters > most) most = score / (double)characters, best = j;
        }
        right += best == q->gold;
    }
    assert_true(fabs(last.task[0].acc_norm - (double)right / 3) < 1e-12);
    assert_true(isnan(last.average));
    suite_close(&s);
}

static void json(void **state)
{
    (void)state;
    task_suite s, other;
    suite_result back;
    open_suite(&s, "all", STYLE_LM_EVAL);
    const suite_result r = result_with(&s, (const double[]){-3, -2, -4, -2.5, -6});
    assert_true(isnan(result_find(&r, "mmlu")->acc_norm) && isnan(result_find(&r, "winogrande")->acc_norm));
    assert_null(result_find(&r, "arc"));
    const double want =
        (result_find(&r, "mmlu")->acc +
         (result_find(&r, "arc_easy")->acc_norm + result_find(&r, "arc_challenge")->acc_norm) / 2 +
         result_find(&r, "piqa")->acc_norm + result_find(&r, "hellaswag")->acc_norm +
         result_find(&r, "openbookqa")->acc_norm + result_find(&r, "winogrande")->acc) /
        6;
    assert_true(fabs(r.average - want) < 1e-12);
    const char *path = scratch_path("result.json");
    json_t *alone = results_json(&r, NULL);
    assert_int_equal(json_dump_file(alone, path, 0), 0);
    json_decref(alone);
    if (results_read(&back, path, &why) != OK) fail_msg("%s", why.text);
    assert_int_equal(back.tasks, 7);
    assert_true(fabs(back.average - r.average) < 1e-12);
    assert_int_equal(results_comparable(&back, &s, "it", &why), OK);
    json_t *both = results_json(&r, &back);
    assert_true(
        fabs(json_number_value(json_object_get(json_object_get(both, "recovered"), "average")) - 100) < 1e-9);
    json_decref(both);
    back.task[3].n++;
    assert_int_equal(results_comparable(&back, &s, "it", &why), ERR_INPUT);
    back.tasks = 3;
    assert_int_equal(results_comparable(&back, &s, "it", &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "it has no piqa"));
    open_suite(&other, "piqa", STYLE_TRANSMLA);
    assert_int_equal(results_comparable(&r, &other, "it", &why), ERR_INPUT);
    assert_int_equal(results_read(&back,
                                  scratch_text("bad.json", "{\"style\": \"lm-eval\", \"tasks\": {\"a\": 1}}"),
                                  &why),
                     ERR_INPUT);
    suite_close(&other);
    suite_close(&s);
}

static void no_numbers(void **state)
{
    (void)state;
    dims d = SMALL_MLA;
    model m;
    decoder x;
    task_suite s;
    score_work work;
    d.V = 96;
    open_suite(&s, "piqa,arc_easy", STYLE_LM_EVAL);
    double *logprob = memory_new(s.requests, sizeof *logprob, "scores");
    model_init(&m, &d, ops_cpu_f32(), 1);
    random_weights(&m, 1, 1);
    decoder_init(&x, &m, score_plan_settings(s.plan));
    if (suite_run(&s, &x, comm_self(), false, logprob, &work, &why) != OK) fail_msg("%s", why.text);
    assert_true(work.computed < work.asked && work.passes > 0);
    for (int64_t i = 0; i < s.requests; i++) assert_true(logprob[i] < 0);
    for (int64_t i = 0; i < d.V * d.C; i++) ((float *)m.w.unit[0].data)[i] = NAN;
    assert_int_equal(suite_run(&s, &x, comm_self(), false, logprob, &work, &why), DIVERGED);
    assert_non_null(strstr(why.text, "piqa: question 0, choice 0: the log-probability is"));
    decoder_free(&x);
    model_free(&m);
    free(logprob);
    suite_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(picks), cmocka_unit_test(json),
                                       cmocka_unit_test(no_numbers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
