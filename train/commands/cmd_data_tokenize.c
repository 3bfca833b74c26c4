/* remla data tokenize TEXT...: text files to a folder of token shards, which `remla train` reads. */
#include "base/clock.h"
#include "base/log.h"
#include "base/stop.h"
#include "data/prepare/tokenize.h"
#include "base/machine.h"
#include "model/hf/folder_check.h"
#include "train/commands/commands.h"
#include <stdio.h>
#include <stdlib.h>

/* A folder of a chat model names what ends a turn; a tokenizer often has what ended texts, too. */
static void warn_of_other_end(const tokenizer *t, int64_t eos)
{
    static const char *const names[] = {"<|endoftext|>", "<|end_of_text|>"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const int64_t other = tokenizer_id(t, names[i]);
        if (other < 0 || other == eos) continue;
        log_warning(
            "tokenize.eos=auto takes %lld, which the model folder names; the tokenizer has %s too: if "
            "that is what ended texts when the model was trained, give tokenize.eos=%lld",
            (long long)eos, names[i], (long long)other);
        return;
    }
}

/* tokenize.eos=auto */
static status find_end(const options *o, const tokenizer *t, int64_t *eos, message *why)
{
    const int64_t vocabulary = tokenizer_vocabulary(t);
    *eos = tokenizer_eos(t);
    if (*eos < 0)
        return fail(why, ERR_INPUT,
                    "%s names no end-of-text token: give its id as tokenize.eos, or tokenize.eos=none",
                    o->tokenize_model);
    if (*eos >= vocabulary)
        return fail(why, ERR_INPUT,
                    "%s: the end-of-text id is %lld, but the tokenizer has only ids below %lld: give "
                    "tokenize.eos",
                    o->tokenize_model, (long long)*eos, (long long)vocabulary);
    return OK;
}

/* tokenize.eos; -1: nothing ends a document. */
static status choose_end(const options *o, const tokenizer *t, int64_t *eos, message *why)
{
    if (o->tokenize_eos.word == OPTION_AUTO) return find_end(o, t, eos, why);
    *eos = option_or(o->tokenize_eos, -1);
    if (*eos < tokenizer_vocabulary(t)) return OK;
    return fail(why, ERR_USAGE, "tokenize.eos=%lld: expected auto, none, or an id below %lld",
                (long long)*eos, (long long)tokenizer_vocabulary(t));
}

static status check_options(const options *o, message *why)
{
    if (!o->tokenize_model[0])
        return fail(why, ERR_USAGE, "tokenize.model is not set: name the folder with the tokenizer.json");
    if (!o->tokenize_out[0])
        return fail(why, ERR_USAGE, "tokenize.out is not set: name the folder for the shards");
    if (!o->tokenize_column[0])
        return fail(why, ERR_USAGE, "tokenize.column is empty: name what holds the text in a line of JSON");
    return OK;
}

static status job_open(tokenize_job *j, const options *o, tokenizer **t, message *why)
{
    TRY(check_options(o, why));
    TRY(model_path_check(o->tokenize_model, why));
    TRY(tokenizer_open(t, o->tokenize_model, why));
    j->tokenizer = *t;
    return choose_end(o, *t, &j->eos, why);
}

/* What ends a document, as an id and as the tokenizer spells it. */
static void say_end(const tokenize_job *j)
{
    text_buffer text = {0};
    message ignored;
    if (j->eos < 0) {
        log_line("nothing ends the documents");
        return;
    }
    const uint32_t id = (uint32_t)j->eos;
    if (tokenizer_decode(j->tokenizer, &id, 1, false, &text, &ignored) == OK)
        log_line("every document ends with token %u, %.*s", id, (int)text.bytes, text.text);
    else
        log_line("every document ends with token %u", id);
    text_buffer_free(&text);
}

static void print(const command_line *line, const tokenize_job *j, const tokenize_result *r, double seconds)
{
    const double tok_s = (double)r->made / seconds;
    if (line->json) {
        printf("{\"files\": %lld, \"bytes\": %lld, \"documents\": %lld, \"empty\": %lld, \"tokens\": %lld, "
               "\"shards\": %lld, \"eos\": %lld, \"seconds\": %.9g, \"tok_s\": %.9g}\n",
               (long long)r->files, (long long)r->bytes, (long long)r->documents, (long long)r->empty,
               (long long)r->tokens, (long long)r->shards, (long long)j->eos, seconds, tok_s);
        return;
    }
    log_line(
        "%s: %lld documents, %lld tokens in %lld shards, from %lld files of %.1f MiB | %.1f s | %.2fM tok/s",
        j->out, (long long)r->documents, (long long)r->tokens, (long long)r->shards, (long long)r->files,
        (double)r->bytes / 1048576, seconds, tok_s / 1e6);
    if (r->empty) log_line("%lld documents without text were left out", (long long)r->empty);
}

status cmd_data_tokenize(const command_line *line, options *o, const comm *c, message *why)
{
    const double start = clock_seconds();
    char out[PATH_BYTES];
    snprintf(out, sizeof out, "%s", o->tokenize_out);
    path_strip(out);
    tokenizer *t = NULL;
    tokenize_job j = {.source = (const char *const *)line->positional,
                      .sources = line->positionals,
                      .column = o->tokenize_column,
                      .out = out,
                      .shard_tokens = o->tokenize_shard_tokens,
                      .compress = o->tokenize_compress,
                      .threads = machine_threads()};
    tokenize_result r;
    status s = comm_agree(c, job_open(&j, o, &t, why), why);
    stop_catch();
    if (s == OK) say_end(&j);
    if (s == OK && c->rank == 0 && o->tokenize_eos.word == OPTION_AUTO) warn_of_other_end(t, j.eos);
    if (s == OK) s = tokenize_text(&j, c, &r, why);
    if (s == OK && c->rank == 0) print(line, &j, &r, clock_seconds() - start);
    tokenizer_close(t);
    return s;
}
