/* state.json: where a run stands. Position and tokens follow from the step, and are recorded all the same:
 * each number is checked against the others, the options beside it and the folder's name. A checkpoint that
 * was copied under another number, or a file that was edited by hand, would resume at another place in the
 * data than its weights come from, and no loss would show it. */
#include "base/file.h"
#include "base/hash.h"
#include "base/json_text.h"
#include "train/checkpoint_parts.h"
#include "train/option_words.h"
#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum { STATE_LIMIT = 1 << 20 };

status checkpoint_state_write(const char *folder, const checkpoint_state *s, written_files *written,
                              message *why)
{
    char path[PATH_BYTES], fingerprint[HASH_TEXT], masters[HASH_TEXT], moments[HASH_TEXT];
    hash_text(fingerprint, s->fingerprint);
    hash_text(masters, s->weights);
    hash_text(moments, s->moments);
    json_t *json = json_pack("{s:I, s:I, s:I, s:s, s:s, s:s, s:I, s:I}", "step", (json_int_t)s->step,
                             "position", (json_int_t)s->position, "tokens", (json_int_t)s->tokens,
                             "data_fingerprint", fingerprint, "weights_xxh3_64", masters, "moments_xxh3_64",
                             moments, "ranks", (json_int_t)s->ranks, "threads", (json_int_t)s->threads);
    return json_text_write(json, JSON_INDENT(2), path_join(path, folder, CHECKPOINT_STATE), written, why);
}

/* The numbers must follow from the step, and be far from overflow, so that the run can continue. */
static status check_numbers(const char *path, const char *folder, const options *then,
                            const checkpoint_state *s, message *why)
{
    const int64_t T = then->train_seq_len, sequences = then->train_batch_tokens / T,
                  most = INT64_MAX / 4 / then->train_batch_tokens;
    if (s->step < 0 || s->step > most)
        return fail(why, ERR_INPUT, "%s: step is %lld, expected 0 to %lld", path, (long long)s->step,
                    (long long)most);
    if (s->position != s->step * sequences)
        return fail(why, ERR_INPUT, "%s: position is %lld, but %lld steps of %lld sequences are %lld", path,
                    (long long)s->position, (long long)s->step, (long long)sequences,
                    (long long)(s->step * sequences));
    if (s->tokens != s->position * T)
        return fail(why, ERR_INPUT, "%s: tokens is %lld, but %lld sequences of %lld tokens are %lld", path,
                    (long long)s->tokens, (long long)s->position, (long long)T, (long long)(s->position * T));
    char own[PATH_BYTES];
    int64_t step;
    TRY(path_print(own, why, "%s", folder));
    path_strip(own);
    const char *name = path_base(own);
    if (checkpoint_step(name, &step) && step != s->step)
        return fail(why, ERR_INPUT,
                    "%s: is of step %lld, but its folder is called %s: a copy gets another name, such as "
                    "%s-copy",
                    path, (long long)s->step, name, name);
    return OK;
}

static status state_parse(json_t *json, const char *path, checkpoint_state *state, message *why)
{
    json_int_t step, position, tokens, ranks = 0, threads = 0;
    const char *fingerprint, *masters = NULL, *moments = NULL;
    json_error_t error;
    if (json_unpack_ex(json, &error, JSON_STRICT, "{s:I, s:I, s:I, s:s, s?:s, s?:s, s?:I, s?:I}", "step",
                       &step, "position", &position, "tokens", &tokens, "data_fingerprint", &fingerprint,
                       "weights_xxh3_64", &masters, "moments_xxh3_64", &moments, "ranks", &ranks, "threads",
                       &threads))
        return fail(why, ERR_INPUT, "%s: %s", path, error.text);
    *state = (checkpoint_state){.step = step,
                                .position = position,
                                .tokens = tokens,
                                .ranks = ranks,
                                .threads = threads,
                                .hashed = masters && moments};
    if (!hash_parse(fingerprint, &state->fingerprint) || (masters && !hash_parse(masters, &state->weights)) ||
        (moments && !hash_parse(moments, &state->moments)))
        return fail(why, ERR_INPUT, "%s: a hash in it is not 16 hexadecimal digits", path);
    if (ranks < 0 || threads < 0)
        return fail(why, ERR_INPUT, "%s: ranks is %lld and threads %lld, both must be positive", path,
                    (long long)ranks, (long long)threads);
    return OK;
}

bool checkpoint_state_differs(const char *folder, int64_t step)
{
    char path[PATH_BYTES];
    json_t *json;
    message ignored;
    if (json_text_read(&json, path_join(path, folder, CHECKPOINT_STATE), STATE_LIMIT, &ignored) != OK)
        return false;
    const json_t *found = json_object_get(json, "step");
    const bool other = json_is_integer(found) && json_integer_value(found) != step;
    json_decref(json);
    return other;
}

status checkpoint_state_read(const char *folder, const options *then, checkpoint_state *state, message *why)
{
    char path[PATH_BYTES];
    json_t *json;
    TRY(json_text_read(&json, path_join(path, folder, CHECKPOINT_STATE), STATE_LIMIT, why));
    status s = state_parse(json, path, state, why);
    json_decref(json);
    if (s == OK) s = check_numbers(path, folder, then, state, why);
    const shards_settings sums = shards_settings_of(then, 1);
    state->micro_batch = then->train_micro_batch;
    state->stage = sums.stage;
    state->pairwise = sums.how.pairwise;
    return s;
}

status checkpoint_state_verify(const char *folder, message *why)
{
    char path[PATH_BYTES];
    options then;
    checkpoint_state state;
    options_init(&then);
    status s = options_read_yaml(&then, path_join(path, folder, CHECKPOINT_OPTIONS), why);
    if (s == OK) s = checkpoint_state_read(folder, &then, &state, why);
    options_free(&then);
    return s;
}
