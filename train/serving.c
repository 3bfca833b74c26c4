/* Options and a folder become a model that is served. */
#include "train/serving.h"
#include "base/log.h"
#include "model/hf/folder_check.h"
#include "train/option_words.h"

enum {
    CONTEXT = 4096,   /* tokens of a text, where no option says it */
    POSITIONS = 16384 /* of the cache, likewise */
};

/* Tokens of a text: what the option says, else what model and cache have. */
static int64_t longest_of(const serving *s, const char *folder, const options *o)
{
    const int64_t made_for = s->x.config.positions ? s->x.config.positions : INT64_MAX;
    const int64_t limits[] = {CONTEXT, made_for, option_or(o->decode_positions, CONTEXT),
                              s->x.config.d.window ? s->x.config.d.window : CONTEXT};
    int64_t longest = limits[0];
    for (size_t i = 1; i < sizeof limits / sizeof limits[0]; i++)
        if (limits[i] < longest) longest = limits[i];
    longest = option_or(o->serve_context, longest);
    if (longest > made_for)
        log_warning("serve.context is %lld tokens; %s is made for %lld", (long long)longest, folder,
                    (long long)made_for);
    return longest;
}

static int64_t positions_of(const serving *s, const options *o)
{
    const int64_t most = o->decode_sequences * s->as.longest, wanted = POSITIONS < most ? POSITIONS : most;
    return option_or(o->decode_positions, wanted > s->as.longest ? wanted : s->as.longest);
}

static void set_first(serving *s, const options *o)
{
    const int64_t first = tokenizer_first(s->tokenizer), bos = tokenizer_bos(s->tokenizer);
    switch (o->serve_bos) {
    case OPTION_serve_bos_auto:
        s->as.first = first;
        break;
    case OPTION_serve_bos_always:
        s->as.first = first >= 0 ? first : bos;
        s->as.first_always = true;
        break;
    case OPTION_serve_bos_never:
        s->as.first = -1;
        break;
    }
}

/* A model whose template is none can still go on with texts. */
static void open_chat(serving *s, const char *folder)
{
    message why;
    if (chat_template_of_folder(&s->chat, folder, &why) == OK) return;
    s->chat = NULL;
    log_warning("%s; the server has no chats with this model", why.text);
}

status serving_open(serving *s, const char *folder, const options *o, message *why)
{
    *s = (serving){0};
    TRY(model_path_check(folder, why));
    TRY(tokenizer_open(&s->tokenizer, folder, why));
    open_chat(s, folder);
    TRY(end_tokens_of_folder(s->end, &s->as.ends, folder, s->tokenizer, why));
    TRY(loaded_model_open(&s->x, folder, why));
    s->as.longest = longest_of(s, folder, o);
    TRY(loaded_model_length(&s->x, "serve.context", s->as.longest, why));
    s->as.name = tokenizer_name(s->tokenizer);
    s->as.tokenizer = s->tokenizer;
    s->as.chat = s->chat;
    s->as.vocabulary = s->x.config.d.V;
    s->as.end = s->end;
    set_first(s, o);
    return OK;
}

status serving_start(serving *s, const options *o, int64_t capacity, const comm *c, message *why)
{
    const int64_t running = o->decode_sequences, rows = o->decode_rows > running ? o->decode_rows : running,
                  expands_from = decoder_expands_from(&s->x.config.d, rows);
    const decoder_settings settings = {.rows = rows,
                                       .sequences = 2 * running, /* as many prompts are kept */
                                       .positions = positions_of(s, o),
                                       .longest = s->as.longest,
                                       .cache = cache_of(o->decode_cache),
                                       .materialise = expands_from > 0};
    const compute_settings wanted = compute_settings_of(o);
    TRY(loaded_model_decode(&s->x, &wanted, &settings, c, why));
    s->cache_bytes = decoder_bytes(&s->x.config.d, s->x.m.k, &settings);
    s->engine = engine_new(
        &s->x.decode, s->tokenizer,
        &(engine_settings){.running = running, .queue = capacity, .materialise_from = expands_from});
    return OK;
}

void serving_close(serving *s)
{
    engine_free(s->engine);
    loaded_model_close(&s->x);
    chat_template_close(s->chat);
    tokenizer_close(s->tokenizer);
}
