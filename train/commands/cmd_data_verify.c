/* remla data verify FILE...: reads shards whole and says which are damaged, and where first. */
#include "base/json_text.h"
#include "base/log.h"
#include "data/shards/shard_verify.h"
#include "train/commands/commands.h"
#include <jansson.h>
#include <stdio.h>

typedef struct totals {
    verified sum;
    int64_t listed; /* shards whose hashes a dataset.json knows */
    int damaged;
    message first; /* damage */
} totals;

static void describe(const char *path, const verified *v)
{
    char vocabulary[64] = "vocabulary not known: ids not compared";
    if (v->vocabulary >= 0)
        snprintf(vocabulary, sizeof vocabulary, "ids below %lld", (long long)v->vocabulary);
    log_line("%s: good: %lld tokens, %lld documents, %s%s", path, (long long)v->tokens,
             (long long)v->documents, vocabulary, v->listed ? ", hashes as dataset.json says" : "");
    if (v->open_ended)
        log_warning("%s: %lld of its documents do not end with the end-of-text id %lld", path,
                    (long long)v->open_ended, (long long)v->eos);
}

static void add(totals *t, listed *l, const char *path, int of)
{
    verified v;
    message why;
    if (shard_verify(&v, l, path, &why) != OK) {
        if (t->damaged++ == 0) t->first = why;
        if (of > 1) log_warning("%s", why.text);
        return;
    }
    describe(path, &v);
    t->sum.tokens += v.tokens;
    t->sum.documents += v.documents;
    t->sum.bytes += v.bytes;
    t->listed += v.listed;
}

static void print_json(const totals *t, int shards)
{
    json_t *all = json_pack("{s:i, s:i, s:I, s:I, s:I, s:I, s:o}", "shards", shards, "damaged", t->damaged,
                            "listed", (json_int_t)t->listed, "tokens", (json_int_t)t->sum.tokens, "documents",
                            (json_int_t)t->sum.documents, "bytes", (json_int_t)t->sum.bytes, "first_damage",
                            t->damaged ? json_text_string(t->first.text) : json_null());
    json_text_print(all, 0);
}

status cmd_data_verify(const command_line *line, options *o, const comm *c, message *why)
{
    (void)o, (void)c;
    path_list shards;
    listed l = {0};
    totals t = {0};
    TRY(shard_verify_find(&shards, line->positional, line->positionals, why));
    const int count = shards.count;
    for (int i = 0; i < count; i++) add(&t, &l, shards.path[i], count);
    listed_free(&l);
    path_list_free(&shards);
    if (line->json) print_json(&t, count);
    if (t.damaged && count == 1) return fail(why, ERR_INPUT, "%s", t.first.text);
    if (t.damaged)
        return fail(why, ERR_INPUT, "%d of %d shards are damaged; the first: %.900s", t.damaged, count,
                    t.first.text);
    return OK;
}
