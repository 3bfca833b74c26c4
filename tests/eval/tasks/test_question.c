/* Prompts, continuations, their lengths and tokens of every built-in task in both styles, against files that
 * Python has made by the definitions: those of tests/golden/eval, and, where they are there, of
 * the shared fixtures with the tokenizer of the demo's model. And what is refused. */
#include "tests/support/check.h"
#include "tests/support/scratch.h"
#include "eval/tasks/encode.h"
#include "data/prepare/text_reader.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { GOLDEN_POSITIONS = 512, SMOLLM2_POSITIONS = 8192, MOST_IDS = 100000 };

static const char *const styles[] = {"transmla", "lm-eval"};

static char *place(char *path, const char *below)
{
    return path_join(path, getenv("REMLA_SOURCE") ? getenv("REMLA_SOURCE") : ".", below);
}

/* All questions of the seven tasks, and, if there are to be eight, of MMLU with five examples in the style
 * that has them. */
static void read_all(question_list *list, const char *const *name, int tasks, task_style style,
                     const char *folder)
{
    message why;
    for (int i = 0; i < tasks; i++) {
        const int shots = i == 7 ? 5 : 0;
        recipe r;
        if (shots && style == STYLE_TRANSMLA) break;
        if (recipe_find(&r, name[i], style, folder, &why) != OK) fail_msg("%s", why.text);
        if (question_list_read(list, &r, i, folder, 0, shots, &why) != OK) fail_msg("%s", why.text);
        recipe_free(&r);
    }
}

static const question *find(const question_list *list, const char *const *name, const json_t *want,
                            const score_request *request, const score_request **first)
{
    *first = request;
    for (int64_t i = 0; i < list->count; i++) {
        const question *q = &list->item[i];
        if (!strcmp(name[q->task], json_string_value(json_object_get(want, "task"))) &&
            q->shots == json_integer_value(json_object_get(want, "shots")) &&
            !strcmp(q->id, json_string_value(json_object_get(want, "id"))))
            return q;
        *first += q->choices;
    }
    fail_msg("there is no question %s", json_string_value(json_object_get(want, "id")));
    return NULL;
}

static int64_t number(const json_t *want, const char *key, int i)
{
    return json_integer_value(json_array_get(json_object_get(want, key), (size_t)i));
}

static void compare(const question *q, const score_request *r, const json_t *want)
{
    const json_t *context = json_object_get(want, "context"), *ids = json_object_get(want, "ids");
    assert_int_equal(q->gold, json_integer_value(json_object_get(want, "gold")));
    assert_int_equal(q->choices, json_array_size(json_object_get(want, "continuations")));
    for (int j = 0; j < q->choices; j++) {
        const char *text =
            json_string_value(json_is_array(context) ? json_array_get(context, (size_t)j) : context);
        assert_string_equal(q->context[j], text);
        assert_string_equal(q->continuation[j], json_string_value(json_array_get(
                                                    json_object_get(want, "continuations"), (size_t)j)));
        if (!json_is_null(json_object_get(want, "picked_norm"))) /* nothing else is divided */
            assert_int_equal(question_characters(q->continuation[j]), number(want, "chars", j));
        assert_int_equal(r[j].scored, number(want, "tokens", j));
        assert_int_equal(r[j].count - r[j].scored, number(want, "context_tokens", j));
        for (size_t i = 0; i < json_array_size(json_array_get(ids, (size_t)j)); i++)
            assert_int_equal(r[j].tokens[i],
                             json_integer_value(json_array_get(json_array_get(ids, (size_t)j), i)));
    }
}

/* `expected` of one style; returns how many questions were compared. */
static int64_t compare_all(const question_list *list, const char *const *name, const score_request *request,
                           const char *folder, const char *style)
{
    char path[PATH_BYTES];
    text_reader reader;
    text_batch batch = {0};
    message why;
    int64_t compared = 0;
    if (path_print(path, &why, "%s/expected.%s.jsonl.gz", folder, style) != OK) fail_msg("%s", why.text);
    if (text_reader_open(&reader, path, 0, INT64_MAX, &why) != OK) fail_msg("%s", why.text);
    for (bool ended = false; !ended;) {
        text_batch_clear(&batch);
        if (text_reader_fill(&reader, &batch, 1 << 20, &ended, &why) != OK) fail_msg("%s", why.text);
        for (int64_t i = 0; i < batch.records; i++) {
            json_t *want =
                json_loadb(batch.text + batch.record[i].at, (size_t)batch.record[i].bytes, 0, NULL);
            const score_request *first;
            const question *q = find(list, name, want, request, &first);
            compare(q, first, want);
            json_decref(want);
            compared++;
        }
    }
    text_batch_free(&batch);
    text_reader_close(&reader);
    return compared;
}

static void compare_folder(const char *questions, const char *expected, const char *vocabulary,
                           int64_t positions, int tasks)
{
    static const char *const name[] = {"arc_easy",  "arc_challenge", "openbookqa", "piqa",
                                       "hellaswag", "winogrande",    "mmlu",       "mmlu"};
    tokenizer *t;
    message why;
    if (tokenizer_open(&t, vocabulary, &why) != OK) fail_msg("%s", why.text);
    for (int s = 0; s < 2; s++) {
        const encoding e = {t, (task_style)s, encode_positions((task_style)s, positions), MOST_IDS};
        question_list list = {0};
        score_request *request;
        int64_t requests, shortened;
        read_all(&list, name, tasks, e.style, questions);
        if (encode_questions(&e, &list, name, &request, &requests, &shortened, &why) != OK)
            fail_msg("%s", why.text);
        assert_int_equal(shortened, 0);
        assert_int_equal(compare_all(&list, name, request, expected, styles[s]), list.count);
        encode_free(request, requests);
        question_list_free(&list);
    }
    tokenizer_close(t);
}

static void golden(void **state)
{
    (void)state;
    char folder[PATH_BYTES];
    place(folder, "tests/golden/eval");
    compare_folder(folder, folder, folder, GOLDEN_POSITIONS, 8);
}

static void real_questions(void **state)
{
    (void)state;
    const char *fixtures = fixture_path("eval");
    char questions[PATH_BYTES], smollm2[PATH_BYTES];
    place(smollm2, "build/demo/smollm2");
    if (!fixtures || !folder_exists(smollm2)) skip();
    compare_folder(path_join(questions, fixtures, "tasks"), fixtures, smollm2, SMOLLM2_POSITIONS, 8);
    path_join(questions, fixtures, "edge");
    compare_folder(questions, questions, smollm2, SMOLLM2_POSITIONS, 7);
}

/* ---- what a tokenizer puts in front -------------------------------------------------------------------- */

/* Returns how many choices have more tokens than the model takes. */
static int64_t encode_winogrande(const char *vocabulary, task_style style, int64_t positions,
                                 question_list *list, score_request **request, int64_t *requests)
{
    static const char *const name[] = {"winogrande"};
    char folder[PATH_BYTES];
    recipe r;
    tokenizer *t;
    message why;
    place(folder, "tests/golden/eval");
    if (tokenizer_open(&t, vocabulary, &why) != OK) fail_msg("%s", why.text);
    assert_int_equal(recipe_find(&r, name[0], style, folder, &why), OK);
    assert_int_equal(question_list_read(list, &r, 0, folder, 0, 0, &why), OK);
    const encoding e = {t, style, positions, MOST_IDS};
    int64_t shortened;
    if (encode_questions(&e, list, name, request, requests, &shortened, &why) != OK) fail_msg("%s", why.text);
    tokenizer_close(t);
    return shortened;
}

/* Both sequences of tokens have it, so the same is scored behind one token more. An empty context is that
 * token (lm-eval) or the end of text (transmla). */
static void token_in_front(void **state)
{
    (void)state;
    static const char config[] =
        "{\"add_bos_token\": true, \"bos_token\": \"!\", \"eos_token\": \"<|endoftext|>\"}";
    char plain[PATH_BYTES], from[PATH_BYTES], to[PATH_BYTES], front[PATH_BYTES];
    message why;
    place(plain, "tests/golden/eval");
    snprintf(front, sizeof front, "%s", scratch_path("front"));
    assert_int_equal(folder_make(front, &why), OK);
    assert_int_equal(file_copy(path_join(from, plain, "tokenizer.json"),
                               path_join(to, front, "tokenizer.json"), NULL, &(int64_t){0}, &why),
                     OK);
    path_join(to, front, "tokenizer_config.json");
    assert_int_equal(file_write(to, config, (int64_t)strlen(config), NULL, &why), OK);
    for (int s = 0; s < 2; s++) {
        question_list a = {0}, b = {0};
        score_request *without, *with;
        int64_t requests;
        encode_winogrande(plain, (task_style)s, GOLDEN_POSITIONS, &a, &without, &requests);
        encode_winogrande(front, (task_style)s, GOLDEN_POSITIONS, &b, &with, &requests);
        for (int64_t i = 0; i < requests; i++) {
            const bool empty = without[i].tokens[0] == 95; /* stands for the context */
            assert_int_equal(with[i].scored, without[i].scored);
            assert_int_equal(with[i].count, without[i].count + !empty);
            assert_int_equal(with[i].tokens[0], empty && s == STYLE_TRANSMLA ? 95 : 2);
            for (int64_t n = empty; n < without[i].count; n++)
                assert_int_equal(with[i].tokens[n + !empty], without[i].tokens[n]);
        }
        encode_free(without, requests);
        encode_free(with, requests);
        question_list_free(&a);
        question_list_free(&b);
    }
}

/* A model of few positions reads the end of a sequence; of a continuation that is longer than all of them it
 * scores the end. */
static void few_positions(void **state)
{
    (void)state;
    char folder[PATH_BYTES];
    place(folder, "tests/golden/eval");
    for (int64_t s = 0, most = 1; most < 64; s = !s, most += s == 0) {
        question_list a = {0}, b = {0};
        score_request *all, *cut;
        int64_t requests, longer = 0;
        encode_winogrande(folder, (task_style)s, GOLDEN_POSITIONS, &a, &all, &requests);
        const int64_t shortened = encode_winogrande(folder, (task_style)s, most, &b, &cut, &requests);
        for (int64_t i = 0; i < requests; i++) {
            const int64_t gone = all[i].count - cut[i].count;
            longer += all[i].scored > most;
            assert_int_equal(cut[i].count, all[i].count > most + 1 ? most + 1 : all[i].count);
            assert_int_equal(cut[i].scored, all[i].scored > most ? most : all[i].scored);
            assert_memory_equal(cut[i].tokens, all[i].tokens + gone,
                                sizeof *cut[i].tokens * (size_t)cut[i].count);
        }
        assert_int_equal(shortened, longer);
        assert_true(most > 1 || longer);
        encode_free(all, requests);
        encode_free(cut, requests);
        question_list_free(&a);
        question_list_free(&b);
    }
}

/* ---- refusals ------------------------------------------------------------------------------------------ */

static message why;

/* What reading FOLDER/own.jsonl by own.yaml says. */
static status read_own(const char *yaml, const char *lines, int shots, question_list *list)
{
    char path[PATH_BYTES], folder[PATH_BYTES];
    recipe r;
    snprintf(folder, sizeof folder, "%s", scratch_path("own-task"));
    if (folder_make(folder, &why) != OK) fail_msg("%s", why.text);
    assert_int_equal(file_write(path_join(path, folder, "own.yaml"), yaml, (int64_t)strlen(yaml), NULL, &why),
                     OK);
    assert_int_equal(
        file_write(path_join(path, folder, "own.jsonl"), lines, (int64_t)strlen(lines), NULL, &why), OK);
    TRY(recipe_find(&r, "own", STYLE_LM_EVAL, folder, &why));
    const status s = question_list_read(list, &r, 0, folder, 0, shots, &why);
    recipe_free(&r);
    return s;
}

static void expect_refusal(status code, const char *yaml, const char *lines, const char *part)
{
    question_list list = {0};
    const status s = read_own(yaml, lines, 1, &list);
    if (s != code || !strstr(why.text, part))
        fail_msg("status %d, %s: expected \"%s\"", (int)s, why.text, part);
    question_list_free(&list);
}

#define OWN "context: '{q}'\nexamples: dev\nsplit: test\ngroup: g\n"
#define DEV "{\"q\": \"e\", \"choices\": [\"x\", \"y\"], \"gold\": 1, \"split\": \"dev\", \"g\": \"1\"}\n"

static void own_tasks(void **state)
{
    (void)state;
    question_list list = {0};
    static const char line[] =
        "{\"q\":\"f\",\"choices\":[\"u\",\"v\",\"w\"],\"gold\":2,\"split\":\"test\",\"g\":\"1\"}\n";
    char lines[512];
    snprintf(lines, sizeof lines, "%s\n%s", line, DEV);
    if (read_own(OWN, lines, 1, &list) != OK) fail_msg("%s", why.text);
    assert_int_equal(list.count, 1);
    assert_string_equal(list.item[0].context[2], "e y\n\nf");
    assert_string_equal(list.item[0].continuation[2], " w");
    assert_string_equal(list.item[0].id, "0");
    question_list_free(&list);

    expect_refusal(ERR_INPUT, "context: a\ncontext: b\n", DEV, "own.yaml:2: the key is set a second time");
    expect_refusal(ERR_INPUT, "contex: a\n", DEV, "own.yaml:1: unknown key");
    expect_refusal(ERR_INPUT, "split: a\n", DEV, "there is no context");
    expect_refusal(ERR_INPUT, "context: [a\n", DEV, "own.yaml:2: not valid YAML");
    expect_refusal(ERR_INPUT, "context: [a]\n", DEV, "expected a key and a text");
    expect_refusal(ERR_INPUT, "context: a\nscore: f1\n", DEV, "score is acc or acc_norm");
    expect_refusal(ERR_INPUT, "- a\n", DEV, "expected keys with texts");
    expect_refusal(ERR_INPUT, OWN, DEV "{\"q\": ", "own.jsonl:2: not JSON at byte");
    expect_refusal(ERR_INPUT, OWN, DEV "\n[1]\n", "own.jsonl:3: expected a JSON object");
    expect_refusal(ERR_INPUT, OWN, "{\"split\":\"test\"}", "there is no text \"g\"");
    expect_refusal(ERR_INPUT, OWN, DEV, "there is no question in it of split test");
    expect_refusal(ERR_USAGE, OWN,
                   "{\"g\":\"2\",\"split\":\"test\",\"q\":\"\",\"choices\":[\"a\",\"b\"],\"gold\":0}",
                   "has 0 examples (split dev) of 2");
    expect_refusal(ERR_INPUT, OWN,
                   DEV "{\"g\":\"1\",\"split\":\"test\",\"q\":\"\",\"choices\":[\"a\",\"b\"],\"gold\":2}",
                   "own.jsonl:2: gold is 2, but the choices are 0 to 1");
    expect_refusal(ERR_INPUT, OWN,
                   DEV "{\"g\":\"1\",\"split\":\"test\",\"q\":\"\",\"choices\":[\"a\"],\"gold\":0}",
                   "two choices at least");
    expect_refusal(ERR_INPUT, OWN,
                   DEV "{\"g\":\"1\",\"split\":\"test\",\"q\":\"\",\"choices\":[\"a\",1],\"gold\":0}",
                   "choice 1 is not a text");
    expect_refusal(ERR_INPUT, OWN,
                   DEV "{\"g\":\"1\",\"split\":\"test\",\"choices\":[\"a\",\"b\"],\"gold\":0}",
                   "own.jsonl:2: there is no field \"q\"");

    recipe r;
    assert_int_equal(recipe_find(&r, "arc_esy", STYLE_LM_EVAL, ".", &why), ERR_USAGE);
    assert_non_null(strstr(why.text, "did you mean arc_easy?"));
    assert_int_equal(recipe_find(&r, "../own", STYLE_LM_EVAL, ".", &why), ERR_USAGE);
    assert_int_equal(question_file(lines, "nowhere", "piqa", &why), ERR_INPUT);
    assert_non_null(strstr(why.text, "neither piqa.jsonl nor piqa.jsonl.gz"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(golden), cmocka_unit_test(real_questions),
                                       cmocka_unit_test(token_in_front), cmocka_unit_test(few_positions),
                                       cmocka_unit_test(own_tasks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
