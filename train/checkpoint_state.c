/* state.json: where a run stands. What it says is compared with itself, with the options beside it and with
 * the folder's name: a checkpoint copied under another number, or a file mended by hand, would go on from
 * another place in the data than its weights are from, and no loss would show it. */
#include "base/file.h"
#include "train/checkpoint_parts.h"
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STATE_LIMIT = 1 << 20, HEX_BYTES = 17 };

static void hex_of(char *out, uint64_t number) { snprintf(out, HEX_BYTES, "%016" PRIx64, number); }

static bool hex_read(const char *text, uint64_t *number)
{
    if (strlen(text) != HEX_BYTES - 1 || strspn(text, "0123456789abcdef") != HEX_BYTES - 1) return false;
    *number = strtoull(text, NULL, 16);
    return true;
}

char *state_text(const checkpoint_state *s)
{
    char fingerprint[HEX_BYTES], masters[HEX_BYTES], moments[HEX_BYTES];
    hex_of(fingerprint, s->fingerprint);
    hex_of(masters, s->weights);
    hex_of(moments, s->moments);
    json_t *json = json_pack("{s:I, s:I, s:I, s:s, s:s, s:s, s:I, s:I}", "step", (json_int_t)s->step,
                             "position", (json_int_t)s->position, "tokens", (json_int_t)s->tokens,
                             "data_fingerprint", fingerprint, "weights_xxh3_64", masters, "moments_xxh3_64",
                             moments, "ranks", (json_int_t)s->ranks, "threads", (json_int_t)s->threads);
    char *text = json_dumps(json, JSON_INDENT(2));
    json_decref(json);
    return text;
}

/* The name that `folder` itself ends with, without slashes behind it. */
static void own_name(char *out, size_t size, const char *folder)
{
    size_t length = strlen(folder);
    while (length > 0 && folder[length - 1] == '/') length--;
    size_t from = length;
    while (from > 0 && folder[from - 1] != '/') from--;
    snprintf(out, size, "%.*s", (int)(length - from), folder + from);
}

/* The numbers must follow from the step, and leave room for a run that goes on. */
static status agree(const char *path, const char *folder, const options *then, const checkpoint_state *s,
                    message *why)
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
    char name[PATH_BYTES];
    int64_t step;
    own_name(name, sizeof name, folder);
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
    if (!hex_read(fingerprint, &state->fingerprint) || (masters && !hex_read(masters, &state->weights)) ||
        (moments && !hex_read(moments, &state->moments)))
        return fail(why, ERR_INPUT, "%s: a hash in it is not 16 hexadecimal digits", path);
    if (ranks < 0 || threads < 0)
        return fail(why, ERR_INPUT, "%s: ranks is %lld and threads %lld, both must be positive", path,
                    (long long)ranks, (long long)threads);
    return OK;
}

/* The file as JSON; `path` (PATH_BYTES) becomes its path. */
static status state_load(json_t **json, char *path, const char *folder, message *why)
{
    char *text;
    int64_t bytes;
    TRY(file_read_text(path_join(path, folder, CHECKPOINT_STATE), STATE_LIMIT, &text, &bytes, why));
    json_error_t error;
    *json = json_loadb(text, (size_t)bytes, JSON_REJECT_DUPLICATES, &error);
    free(text);
    return *json ? OK : fail(why, ERR_INPUT, "%s: line %d: %s", path, error.line, error.text);
}

bool state_of_another_step(const char *folder, int64_t step)
{
    char path[PATH_BYTES];
    json_t *json;
    message ignored;
    if (state_load(&json, path, folder, &ignored) != OK) return false;
    const json_t *found = json_object_get(json, "step");
    const bool other = json_is_integer(found) && json_integer_value(found) != step;
    json_decref(json);
    return other;
}

status state_read(const char *folder, const options *then, checkpoint_state *state, message *why)
{
    char path[PATH_BYTES];
    json_t *json;
    TRY(state_load(&json, path, folder, why));
    status s = state_parse(json, path, state, why);
    json_decref(json);
    if (s == OK) s = agree(path, folder, then, state, why);
    state->micro_batch = then->train_micro_batch;
    return s;
}

status state_verify(const char *folder, message *why)
{
    char path[PATH_BYTES];
    options then;
    checkpoint_state state;
    options_init(&then);
    status s = options_read_yaml(&then, path_join(path, folder, CHECKPOINT_OPTIONS), why);
    if (s == OK) s = state_read(folder, &then, &state, why);
    options_free(&then);
    return s;
}
