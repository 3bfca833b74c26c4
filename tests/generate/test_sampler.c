/* The sampler against transformers' processors (tests/golden/make_sampler.py): the probabilities that are
 * left; and that draws follow them, repeat with their seed, and differ between texts. */
#include "generate/sampler.h"
#include "base/file.h"
#include <math.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <jansson.h>
#include <cmocka.h>

enum { V = 24 };

static double setting(const json_t *c, const char *key, double otherwise)
{
    const json_t *value = json_object_get(json_object_get(c, "settings"), key);
    return value ? json_number_value(value) : otherwise;
}

static void read_floats(const json_t *list, float *out)
{
    for (size_t i = 0; i < V; i++) out[i] = (float)json_number_value(json_array_get(list, i));
}

static void check_case(const json_t *c, sampler_room *room, int number)
{
    const sampler_settings set = {.temperature = setting(c, "temperature", 1),
                                  .top_k = (int64_t)setting(c, "top_k", 0),
                                  .top_p = setting(c, "top_p", 1),
                                  .min_p = setting(c, "min_p", 0),
                                  .repetition_penalty = setting(c, "repetition_penalty", 1)};
    float logits[V];
    double chances[V];
    sampler *s = sampler_new(&set, room, 0);
    const json_t *seen = json_object_get(c, "seen");
    for (size_t i = 0; i < json_array_size(seen); i++)
        sampler_saw(s, &(int32_t){(int32_t)json_integer_value(json_array_get(seen, i))}, 1);
    read_floats(json_object_get(c, "logits"), logits);
    assert_true(sampler_chances(s, logits, chances));
    for (size_t i = 0; i < V; i++) {
        const double wanted = json_number_value(json_array_get(json_object_get(c, "chances"), i));
        if (!(fabs(chances[i] - wanted) <= 2e-6) || (wanted > 0) != (chances[i] > 0))
            fail_msg("case %d, token %zu: %.9g, transformers %.9g", number, i, chances[i], wanted);
    }
    sampler_free(s);
}

static void as_transformers(void **state)
{
    (void)state;
    char path[PATH_BYTES], *text;
    int64_t bytes;
    message why;
    int cases = 0;
    sampler_room *room = sampler_room_new(V);
    path_join(path, getenv("REMLA_SOURCE"), "tests/golden/sampler.jsonl");
    if (file_read_text(path, 1 << 20, &text, &bytes, &why) != OK) fail_msg("%s", why.text);
    for (char *rest = text, *line; (line = strsep(&rest, "\n"));) {
        if (!*line) continue;
        json_t *c = json_loads(line, 0, NULL);
        check_case(c, room, cases++);
        json_decref(c);
    }
    assert_int_equal(cases, 60);
    free(text);
    sampler_room_free(room);
}

static void greedy(void **state)
{
    (void)state;
    sampler_room *room = sampler_room_new(4);
    const sampler_settings set = sampler_default();
    sampler *s = sampler_new(&set, room, 0);
    assert_true(sampler_is_argmax(s));
    assert_int_equal(sampler_next(s, (float[]){1, 3, 3, 2}), 1); /* the lowest id of equals */
    assert_int_equal(sampler_next(s, (float[]){1, 3, NAN, 2}), -1);
    assert_int_equal(sampler_next(s, (float[]){1, INFINITY, 0, 2}), -1);
    sampler_free(s);
    const sampler_settings penalty = {.top_p = 1, .repetition_penalty = 2};
    s = sampler_new(&penalty, room, 0);
    assert_false(sampler_is_argmax(s));
    sampler_saw(s, (const int32_t[]){1}, 1);
    assert_int_equal(sampler_next(s, (float[]){1, 3, 2, 2}), 2);
    assert_int_equal(sampler_next(s, (float[]){-3, -2, -3, -3.5}), 0);
    sampler_free(s);
    sampler_room_free(room);
}

/* Draws of tokens with probabilities 0.1, 0.2, 0.7: counts within five standard deviations. */
static void draws(void **state)
{
    (void)state;
    enum { DRAWS = 20000 };
    static const double chance[3] = {0.1, 0.2, 0.7};
    const sampler_settings set = {.temperature = 1, .top_p = 1, .repetition_penalty = 1, .seed = 12};
    sampler_room *room = sampler_room_new(3);
    sampler *a = sampler_new(&set, room, 0), *same = sampler_new(&set, room, 0),
            *other = sampler_new(&set, room, 1);
    int count[3] = {0}, equal = 0;
    for (int i = 0; i < DRAWS; i++) {
        float logits[3], copy[3], third[3];
        for (int k = 0; k < 3; k++) logits[k] = copy[k] = third[k] = logf((float)chance[k]);
        const int32_t drawn = sampler_next(a, logits);
        count[drawn]++;
        assert_int_equal(sampler_next(same, copy), drawn);
        equal += sampler_next(other, third) == drawn;
    }
    for (int k = 0; k < 3; k++)
        assert_true(fabs(count[k] - DRAWS * chance[k]) < 5 * sqrt(DRAWS * chance[k] * (1 - chance[k])));
    const double by_chance = 0.01 + 0.04 + 0.49;
    assert_true(fabs(equal - DRAWS * by_chance) < 5 * sqrt(DRAWS * by_chance * (1 - by_chance)));
    sampler_free(a);
    sampler_free(same);
    sampler_free(other);
    sampler_room_free(room);
}

static void settings_are_checked(void **state)
{
    (void)state;
    message why;
    sampler_settings s = sampler_default();
    assert_int_equal(sampler_check(&s, &why), OK);
    s.temperature = -1;
    assert_int_equal(sampler_check(&s, &why), ERR_USAGE);
    assert_string_equal(why.text, "temperature is -1; it can be from 0 (greedy) to 100");
    s = sampler_default(), s.top_p = NAN;
    assert_int_equal(sampler_check(&s, &why), ERR_USAGE);
    s = sampler_default(), s.top_k = -1;
    assert_int_equal(sampler_check(&s, &why), ERR_USAGE);
    s = sampler_default(), s.min_p = 1.1;
    assert_int_equal(sampler_check(&s, &why), ERR_USAGE);
    s = sampler_default(), s.repetition_penalty = 0;
    assert_int_equal(sampler_check(&s, &why), ERR_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_transformers), cmocka_unit_test(greedy),
                                       cmocka_unit_test(draws), cmocka_unit_test(settings_are_checked)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
