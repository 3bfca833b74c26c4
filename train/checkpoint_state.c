/* state.json: where a run stands. Position and tokens follow from the step and from what was passed over, and
 * are recorded all the same: each number is checked against the others, the options beside it and the
 * folder's name. A checkpoint that was copied under another number, or a file that was edited by hand, would
 * resume at another place in the data than its weights come from, and no loss would show it. */
#include "base/file.h"
#include "base/hash.h"
#include "base/json_text.h"
#include "train/checkpoint_parts.h"
#include "train/option_words.h"
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum { STATE_LIMIT = 1 << 20 };

/* ---- writing ------------------------------------------------------------------------------------------- */

static json_t *passed_json(const checkpoint_state *s)
{
    json_t *list = json_array();
    for (const passed_over *p = s->passed; p < s->passed + s->passes; p++)
        json_array_append_new(list, json_pack("{s:I, s:I, s:I, s:s}", "step", (json_int_t)p->step, "from",
                                              (json_int_t)p->from, "to", (json_int_t)p->to, "why", p->why));
    return list;
}

json_t *checkpoint_state_json(const checkpoint_state *s)
{
    json_t *json =
        json_pack("{s:I, s:I, s:I, s:o}", "step", (json_int_t)s->step, "position", (json_int_t)s->position,
                  "tokens", (json_int_t)s->tokens, "data_fingerprint", json_text_hash(s->fingerprint));
    if (s->hashed) {
        json_object_set_new(json, "weights_fingerprint", json_text_hash(s->weights));
        json_object_set_new(json, "masters_fingerprint", json_text_hash(s->masters));
        json_object_set_new(json, "moments_fingerprint", json_text_hash(s->moments));
    }
    json_object_set_new(json, "ranks", json_integer(s->ranks));
    json_object_set_new(json, "threads", json_integer(s->threads));
    if (s->passes) json_object_set_new(json, "passed_over", passed_json(s));
    if (s->far) json_object_set_new(json, "far", json_true());
    return json;
}

status checkpoint_state_write(const char *folder, const checkpoint_state *s, written_files *written,
                              message *why)
{
    char path[PATH_BYTES];
    return json_text_write(checkpoint_state_json(s), JSON_INDENT(2),
                           path_join(path, folder, CHECKPOINT_STATE), written, why);
}

/* ---- checking ------------------------------------------------------------------------------------------ */

/* Each begins where the steps and the passes before it have led. Adds the sequences up in *sum, which is at
 * most `most`. */
static status check_passes(const char *path, const checkpoint_state *s, int64_t sequences, int64_t most,
                           int64_t *sum, message *why)
{
    *sum = 0;
    for (int i = 0; i < s->passes; i++) {
        const passed_over *p = &s->passed[i];
        const int64_t least = i ? p[-1].step : 0;
        if (p->step < least || p->step > s->step)
            return fail(why, ERR_INPUT, "%s: passed_over %d is after step %lld, expected %lld to %lld", path,
                        i, (long long)p->step, (long long)least, (long long)s->step);
        const int64_t from = p->step * sequences + *sum;
        if (p->from != from)
            return fail(why, ERR_INPUT,
                        "%s: passed_over %d is from position %lld, but %lld steps of %lld sequences and what "
                        "was passed over before lead to %lld",
                        path, i, (long long)p->from, (long long)p->step, (long long)sequences,
                        (long long)from);
        if (p->to <= from || p->to > most)
            return fail(why, ERR_INPUT,
                        "%s: passed_over %d is from position %lld to %lld, expected %lld to %lld", path, i,
                        (long long)from, (long long)p->to, (long long)from + 1, (long long)most);
        *sum += p->to - from;
    }
    return OK;
}

/* A folder that has the name of a checkpoint must be of the step in that name. */
static status check_name(const char *path, const char *folder, int64_t step, message *why)
{
    char own[PATH_BYTES];
    int64_t named;
    TRY(path_print(own, why, "%s", folder));
    path_strip(own);
    const char *name = path_base(own);
    if (!checkpoint_step(name, &named) || named == step) return OK;
    return fail(why, ERR_INPUT,
                "%s: is of step %lld, but its folder is called %s: a copy gets another name, such as %s-copy",
                path, (long long)step, name, name);
}

/* The numbers must follow from the step and what was passed over, and be far from overflow, so that the run
 * can continue. */
static status check_numbers(const char *path, const options *then, const checkpoint_state *s, message *why)
{
    const int64_t T = then->train_seq_len, sequences = then->train_batch_tokens / T,
                  most = INT64_MAX / 4 / then->train_batch_tokens;
    int64_t passed;
    if (s->step < 0 || s->step > most)
        return fail(why, ERR_INPUT, "%s: step is %lld, expected 0 to %lld", path, (long long)s->step,
                    (long long)most);
    TRY(check_passes(path, s, sequences, most * sequences, &passed, why));
    const int64_t trained = s->step * sequences, position = trained + passed;
    char and[64] = "";
    if (passed) snprintf(and, sizeof and, " and %lld passed over", (long long)passed);
    if (s->position != position)
        return fail(why, ERR_INPUT, "%s: position is %lld, but %lld steps of %lld sequences%s are %lld", path,
                    (long long)s->position, (long long)s->step, (long long)sequences, and,
                    (long long)position);
    if (s->tokens != trained * T)
        return fail(why, ERR_INPUT, "%s: tokens is %lld, but %lld sequences of %lld tokens are %lld", path,
                    (long long)s->tokens, (long long)trained, (long long)T, (long long)(trained * T));
    return OK;
}

status checkpoint_same_fingerprint(const char *folder, const char *what, uint64_t found, uint64_t saved,
                                   message *why)
{
    if (found == saved) return OK;
    return fail(why, ERR_INPUT,
                "%s: the %s that were read have the fingerprint %016" PRIx64 ", its " CHECKPOINT_STATE
                " says %016" PRIx64 ": they are not what was saved",
                folder, what, found, saved);
}

/* ---- reading ------------------------------------------------------------------------------------------- */

static status passed_parse(const json_t *list, const char *path, checkpoint_state *state, message *why)
{
    if (!list) return OK;
    if (!json_is_array(list) || json_array_size(list) > PASSES)
        return fail(why, ERR_INPUT, "%s: passed_over is not an array of at most %d objects", path, PASSES);
    for (size_t i = 0; i < json_array_size(list); i++) {
        json_int_t step, from, to;
        const char *reason;
        json_error_t error;
        if (json_unpack_ex(json_array_get(list, i), &error, JSON_STRICT, "{s:I, s:I, s:I, s:s}", "step",
                           &step, "from", &from, "to", &to, "why", &reason))
            return fail(why, ERR_INPUT, "%s: passed_over %zu: %s", path, i, error.text);
        passed_over *p = &state->passed[state->passes++];
        *p = (passed_over){.step = step, .from = from, .to = to};
        if ((size_t)snprintf(p->why, sizeof p->why, "%s", reason) >= sizeof p->why)
            return fail(why, ERR_INPUT, "%s: passed_over %zu: why has %zu bytes, expected fewer than %zu",
                        path, i, strlen(reason), sizeof p->why);
    }
    return OK;
}

/* The hash under this key; 0 when it is not there. Clears *all then. */
static status hash_of(const json_t *json, const char *key, const char *path, uint64_t *hash, bool *all,
                      message *why)
{
    const json_t *value = json_object_get(json, key);
    *hash = 0;
    if (!value) *all = false;
    if (!value || (json_is_string(value) && hash_parse(json_string_value(value), hash))) return OK;
    return fail(why, ERR_INPUT, "%s: %s is not 16 hexadecimal digits", path, key);
}

/* Checkpoints from before there were fingerprints have XXH3 of masters and moments instead, which are not
 * compared: the manifest guards their files. */
static status state_parse(const json_t *json, const char *path, checkpoint_state *state, message *why)
{
    json_int_t step, position, tokens, ranks = 0, threads = 0;
    json_t *list = NULL, *ignored = NULL;
    int far = false;
    json_error_t error;
    if (json_unpack_ex((json_t *)json, &error, JSON_STRICT,
                       "{s:I, s:I, s:I, s:o, s?:o, s?:o, s?:o, s?:o, s?:o, s?:I, s?:I, s?:o, s?:b}", "step",
                       &step, "position", &position, "tokens", &tokens, "data_fingerprint", &ignored,
                       "weights_fingerprint", &ignored, "masters_fingerprint", &ignored,
                       "moments_fingerprint", &ignored, "weights_xxh3_64", &ignored, "moments_xxh3_64",
                       &ignored, "ranks", &ranks, "threads", &threads, "passed_over", &list, "far", &far))
        return fail(why, ERR_INPUT, "%s: %s", path, error.text);
    *state = (checkpoint_state){.step = step,
                                .position = position,
                                .tokens = tokens,
                                .ranks = ranks,
                                .threads = threads,
                                .far = far,
                                .hashed = true};
    if (ranks < 0 || threads < 0)
        return fail(why, ERR_INPUT, "%s: ranks is %lld and threads %lld, both must be positive", path,
                    (long long)ranks, (long long)threads);
    bool there;
    TRY(hash_of(json, "data_fingerprint", path, &state->fingerprint, &there, why));
    TRY(hash_of(json, "weights_fingerprint", path, &state->weights, &state->hashed, why));
    TRY(hash_of(json, "masters_fingerprint", path, &state->masters, &state->hashed, why));
    TRY(hash_of(json, "moments_fingerprint", path, &state->moments, &state->hashed, why));
    return passed_parse(list, path, state, why);
}

/* The value of one key, for the caller to release; NULL where there is none. */
static json_t *value_of(const char *folder, const char *key)
{
    char path[PATH_BYTES];
    json_t *json;
    message ignored;
    if (json_text_read(&json, path_join(path, folder, CHECKPOINT_STATE), STATE_LIMIT, &ignored) != OK)
        return NULL;
    json_t *value = json_incref(json_object_get(json, key));
    json_decref(json);
    return value;
}

bool checkpoint_state_differs(const char *folder, int64_t step)
{
    json_t *found = value_of(folder, "step");
    const bool other = json_is_integer(found) && json_integer_value(found) != step;
    json_decref(found);
    return other;
}

bool checkpoint_state_far(const char *folder)
{
    json_t *found = value_of(folder, "far");
    const bool far = json_is_true(found);
    json_decref(found);
    return far;
}

status checkpoint_state_read(const char *folder, const options *then, checkpoint_state *state, message *why)
{
    char path[PATH_BYTES];
    json_t *json;
    TRY(json_text_read(&json, path_join(path, folder, CHECKPOINT_STATE), STATE_LIMIT, why));
    status s = state_parse(json, path, state, why);
    json_decref(json);
    if (s == OK) s = check_numbers(path, then, state, why);
    if (s == OK) s = check_name(path, folder, state->step, why);
    const shards_settings sums = shards_settings_of(then, 1);
    state->micro_batch = then->train_micro_batch;
    state->stage = sums.stage;
    state->pairwise = sums.how.pairwise;
    return s;
}

status checkpoint_state_open(const char *folder, checkpoint_state *state, message *why)
{
    char path[PATH_BYTES];
    options then;
    options_init(&then);
    status s = options_read_yaml(&then, path_join(path, folder, CHECKPOINT_OPTIONS), why);
    if (s == OK) s = checkpoint_state_read(folder, &then, state, why);
    options_free(&then);
    return s;
}

status checkpoint_state_verify(const char *folder, message *why)
{
    checkpoint_state ignored;
    return checkpoint_state_open(folder, &ignored, why);
}
