/* remla generate MODEL [PROMPT|-]: continues a text, or answers it where the model has a chat template. The
 * text comes on standard output while it is made; what it cost is said on standard error at the end. */
#include "base/json_text.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/stop.h"
#include "eval/open.h"
#include "generate/chat_text.h"
#include "generate/engine.h"
#include "model/hf/folder_check.h"
#include "train/commands/commands.h"
#include "train/option_words.h"
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_PROMPT_BYTES = 64 << 20 };

/* What is generated, and from what. */
typedef struct generation {
    const options *o;
    bool json;
    tokenizer *t;
    chat_template *chat; /* NULL: the prompt is continued as it is */
    token_list prompt;
    int32_t end[END_TOKENS];
    int ends;
    char **stop; /* (stops) owned */
    int stops;
    loaded_model x;
    /* what came out */
    text_buffer text;
    token_list tokens;
    engine_event finished;
} generation;

/* ---- the prompt ---------------------------------------------------------------------------------------- */

static status read_input(text_buffer *text, message *why)
{
    size_t n = 1;
    while (n && text->bytes <= MAX_PROMPT_BYTES) {
        n = fread(text_buffer_reserve(text, 1 << 16), 1, 1 << 16, stdin);
        text->bytes += (int64_t)n;
    }
    if (ferror(stdin)) return fail(why, ERR_INPUT, "standard input cannot be read: %s", strerror(errno));
    if (text->bytes > MAX_PROMPT_BYTES)
        return fail(why, ERR_INPUT, "the prompt on standard input has more than %d bytes", MAX_PROMPT_BYTES);
    return OK;
}

/* The prompt as the user gave it: an argument, or standard input without its last end of line. */
static status given_prompt(const command_line *line, text_buffer *text, message *why)
{
    const char *argument = line->positionals > 1 ? line->positional[1] : "-";
    if (strcmp(argument, "-") != 0) {
        text_buffer_append(text, argument, (int64_t)strlen(argument));
        return OK;
    }
    TRY(read_input(text, why));
    if (text->bytes && text->text[text->bytes - 1] == '\n') text->bytes--;
    return OK;
}

static status put_into_chat(const generation *g, text_buffer *text, message *why)
{
    const char *system = g->o->generate_system;
    json_t *messages = json_array(), *user = chat_message("user", text->text, text->bytes);
    if (!user) {
        json_decref(messages);
        return fail(why, ERR_INPUT, "the prompt is not UTF-8");
    }
    if (system[0]) json_array_append_new(messages, chat_message("system", system, (int64_t)strlen(system)));
    json_array_append_new(messages, user);
    text->bytes = 0;
    const status s = chat_text(g->chat, g->t, messages, text, why);
    json_decref(messages);
    return s;
}

/* The token before the prompt; -1: none. A chat's template has its own. */
static int64_t first_token(const generation *g)
{
    const int64_t first = tokenizer_first(g->t), bos = tokenizer_bos(g->t);
    if (g->chat) return -1;
    switch (g->o->generate_bos) {
    case OPTION_generate_bos_always:
        return first >= 0 ? first : bos;
    case OPTION_generate_bos_never:
        return -1;
    case OPTION_generate_bos_auto:
        break;
    }
    return first;
}

static status encode_prompt(generation *g, text_buffer *text, message *why)
{
    tokenizer_work *w = tokenizer_work_new(g->t);
    const int64_t first = first_token(g);
    if (first >= 0) token_list_add(&g->prompt, (uint32_t)first);
    const status s = tokenizer_encode(w, text->bytes ? text->text : "", text->bytes, &g->prompt, why);
    tokenizer_work_free(w);
    if (s == OK && !g->prompt.count) return fail(why, ERR_INPUT, "the prompt is empty");
    return s;
}

static status make_prompt(generation *g, const command_line *line, message *why)
{
    text_buffer text = {0};
    status s = given_prompt(line, &text, why);
    if (s == OK && g->chat) s = put_into_chat(g, &text, why);
    if (s == OK) s = encode_prompt(g, &text, why);
    text_buffer_free(&text);
    return s;
}

static status open_chat(generation *g, const char *folder, message *why)
{
    if (g->o->generate_chat == OPTION_generate_chat_never) return OK;
    TRY(chat_template_of_folder(&g->chat, folder, why));
    if (!g->chat && g->o->generate_chat == OPTION_generate_chat_always)
        return fail(why, ERR_INPUT, "%s has no chat template, which generate.chat=always wants", folder);
    if (!g->chat && g->o->generate_system[0])
        return fail(why, ERR_INPUT, "generate.system is set, but %s has no chat template", folder);
    return OK;
}

/* A copy with the ends of lines and tabs that a command line writes as \n and \t. */
static char *unescaped(const char *text)
{
    char *copy = memory_check(strdup(text), "a stop string"), *to = copy;
    for (const char *from = text; *from; from++) {
        const bool escape = *from == '\\' && from[1] && strchr("nt\\", from[1]);
        if (escape) from++;
        *to++ = (char)(!escape || *from == '\\' ? *from : *from == 'n' ? '\n' : '\t');
    }
    *to = 0;
    return copy;
}

static void read_stops(generation *g)
{
    const option_list *list = &g->o->generate_stop;
    g->stops = list->count;
    g->stop = memory_new(list->count, sizeof *g->stop, "stop strings");
    for (int i = 0; i < list->count; i++) g->stop[i] = unescaped(list->item[i]);
}

/* Says when the text may become longer than the model has learned. */
static void warn_of_length(const generation *g)
{
    const int64_t most = g->x.config.positions;
    if (most && most < g->x.T)
        log_warning("prompt and generate.max_tokens are %lld tokens; %s is made for %lld", (long long)g->x.T,
                    g->x.folder, (long long)most);
}

/* All that can be wrong before memory is taken. */
static status open_inputs(generation *g, const command_line *line, message *why)
{
    const char *folder = line->positional[0];
    TRY(model_path_check(folder, why));
    TRY(tokenizer_open(&g->t, folder, why));
    TRY(open_chat(g, folder, why));
    TRY(make_prompt(g, line, why));
    TRY(end_tokens_of_folder(g->end, &g->ends, folder, g->t, why));
    read_stops(g);
    TRY(loaded_model_open(&g->x, folder, why));
    TRY(loaded_model_length(&g->x, "generate.max_tokens", g->prompt.count + g->o->generate_max_tokens, why));
    warn_of_length(g);
    return OK;
}

/* ---- generating ---------------------------------------------------------------------------------------- */

static void listen(void *context, const engine_event *event)
{
    generation *g = context;
    if (event->kind == EVENT_FINISHED) g->finished = *event;
    if (event->kind == EVENT_TOKEN) token_list_add(&g->tokens, (uint32_t)event->token);
    if (g->json) {
        text_buffer_append(&g->text, event->text, event->text_bytes);
    } else if (event->text_bytes) {
        fwrite(event->text, 1, (size_t)event->text_bytes, stdout);
        fflush(stdout);
    }
}

static decoder_settings settings_of(const generation *g)
{
    const options *o = g->o;
    return (decoder_settings){.rows = o->decode_rows,
                              .sequences = 1,
                              .positions = option_or(o->decode_positions, g->x.T),
                              .longest = g->x.T,
                              .cache = cache_of(o->decode_cache),
                              .materialise = decoder_expands_from(&g->x.config.d, o->decode_rows) > 0};
}

static engine_request request_of(generation *g)
{
    const options *o = g->o;
    engine_request r = engine_request_default();
    r.prompt = (const int32_t *)g->prompt.id;
    r.prompt_tokens = g->prompt.count;
    r.max_tokens = o->generate_max_tokens;
    r.sampling = (sampler_settings){.temperature = o->generate_temperature,
                                    .top_k = option_or(o->generate_top_k, 0),
                                    .top_p = o->generate_top_p,
                                    .min_p = o->generate_min_p,
                                    .repetition_penalty = o->generate_repetition_penalty,
                                    .seed = (uint64_t)o->generate_seed};
    r.end = g->end;
    r.ends = g->ends;
    r.stop = (const char *const *)g->stop;
    r.stops = g->stops;
    r.listen = listen;
    r.context = g;
    return r;
}

static status generate(generation *g, message *why)
{
    uint64_t id;
    const engine_request r = request_of(g);
    const engine_settings one = {.running = 1,
                                 .queue = 1,
                                 .materialise_from = decoder_expands_from(&g->x.config.d, g->o->decode_rows)};
    engine *e = engine_new(&g->x.decode, g->t, &one);
    status s = engine_submit(e, &r, &id, why);
    stop_catch();
    stop_announce("stopping\n", NULL);
    while (s == OK && engine_busy(e)) {
        engine_step(e);
        if (stop_requested()) engine_cancel(e, id);
    }
    engine_free(e);
    if (s == OK && g->finished.reason == FINISH_ERROR)
        return fail(why, DIVERGED, "%s computes numbers that are not finite", g->x.folder);
    return s;
}

/* ---- what it cost -------------------------------------------------------------------------------------- */

typedef struct costs {
    double first, prompt_tok_s, tok_s; /* seconds to the first token; tokens a second */
    int64_t cache_bytes;               /* of a position */
} costs;

/* Returns the bytes of a position over all layers. In F8 each row has a scale beside it. */
static int64_t cache_bytes(const dims *d, dtype cache)
{
    const int64_t elements = kv_bytes_per_token(d) / 2, rows = d->L * (d->kind == ATTENTION_MLA ? 1 : 2);
    return cache == F8 ? elements + rows * 4 : cache == BF16 ? elements * 2 : elements * 4;
}

static costs costs_of(const generation *g)
{
    const double first = g->finished.first - g->finished.waited,
                 rest = g->finished.seconds - g->finished.first;
    const int64_t after = g->tokens.count - 1;
    costs c = {.first = first, .cache_bytes = cache_bytes(&g->x.config.d, g->x.decode.settings.cache)};
    if (first > 0) c.prompt_tok_s = (double)g->prompt.count / first;
    if (after > 0 && rest > 0) c.tok_s = (double)after / rest;
    return c;
}

static void print_json(const generation *g)
{
    const costs c = costs_of(g);
    json_t *text = json_text_stringn(g->text.text, g->text.bytes);
    memory_check(text, "the text to print");
    json_text_print(json_pack("{s:o,s:o,s:s,s:I,s:I,s:b,s:f,s:f,s:f,s:I}", "text", text, "tokens",
                              token_list_json(&g->tokens), "finish_reason",
                              finish_reason_text(g->finished.reason), "prompt_tokens",
                              (json_int_t)g->prompt.count, "completion_tokens", (json_int_t)g->tokens.count,
                              "chat", g->chat != NULL, "first_token_seconds", c.first, "prompt_tok_s",
                              c.prompt_tok_s, "tok_s", c.tok_s, "cache_bytes_per_token",
                              (json_int_t)c.cache_bytes),
                    JSON_COMPACT);
}

static void print_costs(const generation *g)
{
    const costs c = costs_of(g);
    fprintf(
        stderr,
        "%lld tokens, %.1f a second; first token after %.3f s, prompt %lld tokens, %.0f a second; cache %lld "
        "bytes a token; ended by %s\n",
        (long long)g->tokens.count, c.tok_s, c.first, (long long)g->prompt.count, c.prompt_tok_s,
        (long long)c.cache_bytes, finish_reason_text(g->finished.reason));
}

static void print(const generation *g)
{
    if (g->json) {
        print_json(g);
        return;
    }
    putchar('\n');
    fflush(stdout);
    print_costs(g);
}

static void free_all(generation *g)
{
    loaded_model_close(&g->x);
    for (int i = 0; i < g->stops; i++) free(g->stop[i]);
    free(g->stop);
    token_list_free(&g->prompt);
    token_list_free(&g->tokens);
    text_buffer_free(&g->text);
    chat_template_close(g->chat);
    tokenizer_close(g->t);
}

static status run(generation *g, const command_line *line, const comm *c, message *why)
{
    if (c->size > 1) return fail(why, ERR_USAGE, "generate runs in one process; there are %d ranks", c->size);
    TRY(open_inputs(g, line, why));
    const compute_settings wanted = compute_settings_of(g->o);
    const decoder_settings settings = settings_of(g);
    TRY(loaded_model_decode(&g->x, &wanted, &settings, c, why));
    TRY(generate(g, why));
    print(g);
    return OK;
}

status cmd_generate(const command_line *line, options *o, const comm *c, message *why)
{
    generation g = {.o = o, .json = line->json};
    const status s = run(&g, line, c, why);
    free_all(&g);
    return s;
}
