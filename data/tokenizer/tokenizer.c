/* A tokenizer.json as a chain of parts:
 *
 *     text -> added tokens (raw) -> normalizer -> added tokens (normalized)
 *          -> pre-tokenizer -> words -> BPE -> ids
 *     ids  -> tokens -> decoder -> text
 *
 * Added tokens split the text, and only the pieces between them go on to the next part. */
#include "data/tokenizer/tokenizer.h"
#include "base/file.h"
#include "base/json_text.h"
#include "base/memory.h"
#include "data/tokenizer/added_tokens.h"
#include "data/tokenizer/bpe.h"
#include "data/tokenizer/token_decoder.h"
#include "base/digest.h"
#include "data/tokenizer/text_buffer.h"
#include "data/tokenizer/json_fields.h"
#include "data/tokenizer/normalizer.h"
#include "data/tokenizer/post_processor.h"
#include "data/tokenizer/pretokenizer.h"
#include "data/tokenizer/tokenizer_folder.h"
#include "data/tokenizer/unicode.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TOKENIZER_BYTES = 1 << 29 };

struct tokenizer {
    tokenizer_folder folder;
    char sha256[SHA256_TEXT];
    bpe *model;
    added_tokens *added;
    normalizer *normalizer;
    pretokenizer *pretokenizer;
    token_decoder *decoder;
    int64_t eos, bos, pad;
    int64_t first; /* what comes before a text */
};

struct tokenizer_work {
    const tokenizer *t;
    bpe_work *model;
    pretokenizer_work *pretokenizer;
    text_buffer normalized;
};

/* ---- opening ------------------------------------------------------------------------------------------- */

static status read_parts(tokenizer *t, const json_t *root, int64_t bytes, const char *path, message *why)
{
    const json_t *model;
    TRY(json_field_object(root, "model", path, "", &model, why));
    TRY(normalizer_read(&t->normalizer, json_object_get(root, "normalizer"), path, why));
    TRY(pretokenizer_read(&t->pretokenizer, json_object_get(root, "pre_tokenizer"), path, why));
    TRY(token_decoder_read(&t->decoder, json_object_get(root, "decoder"), path, why));
    TRY(bpe_read(&t->model, model, bytes, pretokenizer_is_byte_level(t->pretokenizer), path, why));
    TRY(added_tokens_read(&t->added, root, json_object_get(model, "vocab"), t->normalizer, path, why));
    const char *first = post_processor_first(json_object_get(root, "post_processor"));
    t->first = first ? tokenizer_id(t, first) : -1;
    return OK;
}

static status read_file(tokenizer *t, message *why)
{
    const char *path = t->folder.tokenizer;
    char *text;
    int64_t bytes;
    json_t *root;
    TRY(file_read_text(path, MAX_TOKENIZER_BYTES, &text, &bytes, why));
    status s = json_text_parse(&root, text, bytes, path, why);
    if (s == OK) {
        digest_sha256(text, (size_t)bytes, t->sha256);
        s = read_parts(t, root, bytes, path, why);
        json_decref(root);
    }
    free(text);
    return s;
}

/* Finds a special token: the first of the folder's files that names a token of this tokenizer counts. -1:
 * none does. */
static status find_special(const tokenizer *t, const char *kind, int64_t *id, message *why)
{
    *id = -1;
    for (int place = 0; place < SPECIAL_PLACES && *id < 0; place++) {
        special_token said;
        TRY(tokenizer_folder_special(&t->folder, place, kind, &said, why));
        if (said.text)
            *id = tokenizer_id(t, said.text);
        else if (said.id < tokenizer_vocabulary(t))
            *id = said.id;
        free(said.text);
    }
    return OK;
}

/* tokenizer_config.json may say whether its bos_token comes before a text, as in transformers. */
static status find_first(tokenizer *t, message *why)
{
    bool said, adds;
    TRY(tokenizer_folder_flag(&t->folder, "add_bos_token", &said, &adds, why));
    if (said && !adds) t->first = -1;
    if (adds && t->bos >= 0) t->first = t->bos;
    return OK;
}

static status open_all(tokenizer *t, const char *path, message *why)
{
    TRY(tokenizer_folder_find(&t->folder, path, why));
    TRY(read_file(t, why));
    TRY(find_special(t, "eos", &t->eos, why));
    TRY(find_special(t, "bos", &t->bos, why));
    TRY(find_first(t, why));
    return find_special(t, "pad", &t->pad, why);
}

status tokenizer_open(tokenizer **out, const char *path, message *why)
{
    *out = NULL;
    tokenizer *t = memory_new(1, sizeof *t, "a tokenizer");
    const status s = open_all(t, path, why);
    if (s == OK)
        *out = t;
    else
        tokenizer_close(t);
    return s;
}

void tokenizer_close(tokenizer *t)
{
    if (!t) return;
    bpe_free(t->model);
    added_tokens_free(t->added);
    normalizer_free(t->normalizer);
    pretokenizer_free(t->pretokenizer);
    token_decoder_free(t->decoder);
    free(t);
}

int64_t tokenizer_vocabulary(const tokenizer *t)
{
    const int64_t model = bpe_ids(t->model), added = added_tokens_ids(t->added);
    return model > added ? model : added;
}

int64_t tokenizer_eos(const tokenizer *t) { return t->eos; }

int64_t tokenizer_bos(const tokenizer *t) { return t->bos; }

int64_t tokenizer_pad(const tokenizer *t) { return t->pad; }

int64_t tokenizer_first(const tokenizer *t) { return t->first; }

const char *tokenizer_name(const tokenizer *t) { return t->folder.name; }

const char *tokenizer_sha256(const tokenizer *t) { return t->sha256; }

int64_t tokenizer_id(const tokenizer *t, const char *token)
{
    const int64_t id = added_tokens_id(t->added, token), length = (int64_t)strlen(token);
    return id >= 0 ? id : bpe_id(t->model, token, length);
}

/* ---- encoding ------------------------------------------------------------------------------------------ */

tokenizer_work *tokenizer_work_new(const tokenizer *t)
{
    tokenizer_work *w = memory_new(1, sizeof *w, "a tokenizer");
    w->t = t;
    w->model = bpe_work_new(t->model);
    w->pretokenizer = pretokenizer_work_new(t->pretokenizer);
    return w;
}

void tokenizer_work_free(tokenizer_work *w)
{
    if (!w) return;
    bpe_work_free(w->model);
    pretokenizer_work_free(w->pretokenizer);
    text_buffer_free(&w->normalized);
    free(w);
}

/* Encodes text without raw added tokens. first: at the very beginning of what is encoded. */
static status encode_plain(tokenizer_work *w, const char *text, int64_t bytes, bool first, token_list *out,
                           message *why)
{
    if (!normalizer_is_identity(w->t->normalizer)) {
        w->normalized.bytes = 0;
        text_buffer_reserve(&w->normalized, bytes);
        TRY(normalizer_run(w->t->normalizer, text, bytes, &w->normalized, why));
        text = w->normalized.text, bytes = w->normalized.bytes;
    }
    added_search s = added_tokens_begin(w->t->added, ADDED_NORMALIZED, text, bytes);
    while (added_tokens_next(&s)) {
        TRY(pretokenizer_run(w->pretokenizer, text + s.plain, s.start - s.plain, first && s.plain == 0,
                             w->model, out, why));
        token_list_add(out, s.id);
    }
    return pretokenizer_run(w->pretokenizer, text + s.taken, bytes - s.taken, first && s.taken == 0, w->model,
                            out, why);
}

static status encode_checked(tokenizer_work *w, const char *text, int64_t bytes, token_list *out,
                             message *why)
{
    added_search s = added_tokens_begin(w->t->added, ADDED_RAW, text, bytes);
    while (added_tokens_next(&s)) {
        if (s.plain < s.start)
            TRY(encode_plain(w, text + s.plain, s.start - s.plain, s.plain == 0, out, why));
        token_list_add(out, s.id);
    }
    return s.taken < bytes ? encode_plain(w, text + s.taken, bytes - s.taken, s.taken == 0, out, why) : OK;
}

status tokenizer_encode(tokenizer_work *w, const char *text, int64_t bytes, token_list *out, message *why)
{
    const int64_t bad = utf8_check(text, bytes), before = out->count;
    if (bad >= 0)
        return fail(why, ERR_INPUT, "the text is not UTF-8: byte %lld is 0x%02x", (long long)bad,
                    (uint8_t)text[bad]);
    const status s = encode_checked(w, text, bytes, out, why);
    if (s != OK) out->count = before;
    return s;
}

/* ---- decoding ------------------------------------------------------------------------------------------ */

status tokenizer_decode(const tokenizer *t, const uint32_t *id, int64_t count, bool skip_special,
                        text_buffer *out, message *why)
{
    pieces tokens = {0};
    for (int64_t i = 0; i < count; i++) {
        bool special = false;
        int64_t bytes;
        const char *text = added_tokens_text(t->added, id[i], &bytes, &special);
        if (!text) text = bpe_spelling(t->model, id[i], &bytes);
        if (!text) {
            pieces_free(&tokens);
            return fail(why, ERR_INPUT, "token %lld has id %u, which is none of %s's (they are below %lld)",
                        (long long)i, id[i], t->folder.name, (long long)tokenizer_vocabulary(t));
        }
        if (!(special && skip_special)) pieces_add(&tokens, text, bytes);
    }
    const status s = token_decoder_run(t->decoder, &tokens, out, why);
    pieces_free(&tokens);
    return s;
}

bool tokenizer_special_text(const tokenizer *t, int64_t id, text_buffer *out)
{
    message ignored;
    return id >= 0 && tokenizer_decode(t, &(uint32_t){(uint32_t)id}, 1, false, out, &ignored) == OK;
}
