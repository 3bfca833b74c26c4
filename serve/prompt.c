/* One encoder for each model, behind a lock: its cache of words serves all requests, and it encodes megabytes
 * in a second. */
#include "serve/prompt.h"
#include "base/memory.h"
#include <pthread.h>
#include <stdlib.h>

struct prompt_encoder {
    const served_model *m;
    pthread_mutex_t lock;
    tokenizer_work *work;
};

prompt_encoder *prompt_encoder_new(const served_model *m)
{
    prompt_encoder *e = memory_new(1, sizeof *e, "an encoder");
    e->m = m;
    e->work = tokenizer_work_new(m->tokenizer);
    pthread_mutex_init(&e->lock, NULL);
    return e;
}

void prompt_encoder_free(prompt_encoder *e)
{
    if (!e) return;
    pthread_mutex_destroy(&e->lock);
    tokenizer_work_free(e->work);
    free(e);
}

/* lm-eval learns the id of the end token by encoding its text: a token before it would be taken for it. */
static bool wants_first(const prompt_encoder *e, const request_prompt *p, bool special, const token_list *ids)
{
    if (e->m->first < 0 || special) return e->m->first >= 0;
    const bool one_token = ids->count == 1 && tokenizer_id(e->m->tokenizer, p->text) == ids->id[0];
    return e->m->first_always && !one_token;
}

static status encode_text(prompt_encoder *e, const request_prompt *p, bool special, token_list *out,
                          int64_t *hidden, message *why)
{
    token_list ids = {0};
    pthread_mutex_lock(&e->lock);
    const status s = tokenizer_encode(e->work, p->text, p->bytes, &ids, why);
    pthread_mutex_unlock(&e->lock);
    if (s == OK && wants_first(e, p, special, &ids)) {
        token_list_add(out, (uint32_t)e->m->first);
        *hidden = 1;
    }
    for (int64_t i = 0; s == OK && i < ids.count; i++) token_list_add(out, ids.id[i]);
    token_list_free(&ids);
    return s;
}

/* A tokenizer may have more ids than the model, too. */
static status check_ids(const served_model *m, const token_list *ids, int64_t from, message *why)
{
    for (int64_t i = from; i < ids->count; i++)
        if (ids->id[i] >= (uint64_t)m->vocabulary)
            return fail(why, ERR_INPUT, "prompt has token id %u; the model has ids 0 to %lld", ids->id[i],
                        (long long)m->vocabulary - 1);
    return OK;
}

status prompt_encode(prompt_encoder *e, const request_prompt *p, bool special, token_list *out,
                     int64_t *hidden, message *why)
{
    const int64_t before = out->count;
    *hidden = 0;
    if (p->text) TRY(encode_text(e, p, special, out, hidden, why));
    for (int64_t i = 0; i < p->ids.count; i++) token_list_add(out, p->ids.id[i]);
    return check_ids(e->m, out, before, why);
}

status prompt_check_length(const served_model *m, int64_t tokens, int64_t otherwise, int64_t *max_tokens,
                           message *why)
{
    if (!tokens) return fail(why, ERR_INPUT, "prompt is empty; expected at least one token");
    const int64_t wanted = *max_tokens, room = m->longest - tokens;
    if (room < (wanted < 0 ? 1 : wanted))
        return fail(
            why, ERR_INPUT,
            "the prompt has %lld tokens and max_tokens is %lld, together more than the %lld that this server "
            "takes (serve.context)",
            (long long)tokens, (long long)(wanted < 0 ? 1 : wanted), (long long)m->longest);
    if (wanted < 0) *max_tokens = otherwise < room ? otherwise : room;
    return OK;
}
