/* Finds added tokens in a text with two tries of bytes, one for each kind: tokens that are looked for in the
 * raw text, and tokens that are looked for after normalizing. At every place the longest token counts. A
 * search goes left to right; a token may also take the white space beside it (lstrip, rstrip), or count only
 * where no letter touches it (single_word). */
#include "data/tokenizer/added_tokens.h"
#include "base/array.h"
#include "base/log.h"
#include "base/memory.h"
#include "data/tokenizer/text_buffer.h"
#include "data/tokenizer/json_fields.h"
#include "data/tokenizer/unicode.h"
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct added_token {
    uint32_t id;
    bool single_word, lstrip, rstrip, normalized;
    bool special;                 /* its spelling is that of a special token */
    bool is_skipped;              /* its pattern is the spelling of a special token */
    text_buffer spelled, pattern; /* pattern: the text that is looked for, and that decoding gives */
} added_token;

/* The children of a node are a list. */
typedef struct node {
    int32_t child, sibling; /* -1: none */
    int32_t token;          /* that ends here, or -1 */
    uint8_t byte;
} node;

typedef struct trie {
    node *node;
    int64_t count, capacity;
    int32_t first[256]; /* nodes of the first bytes, or -1 */
} trie;

struct added_tokens {
    added_token *token;
    int64_t count, capacity, ids;
    int32_t *of_id; /* by id: index of its token, or -1 */
    trie trie[2];   /* by kind */
};

/* ---- tries --------------------------------------------------------------------------------------------- */

static int32_t add_node(trie *t, uint8_t byte, int32_t sibling)
{
    t->node = array_reserve(t->node, &t->capacity, t->count + 1, sizeof *t->node);
    t->node[t->count] = (node){.child = -1, .sibling = sibling, .token = -1, .byte = byte};
    return (int32_t)t->count++;
}

static int32_t find_child(const trie *t, int32_t parent, uint8_t byte)
{
    int32_t i = t->node[parent].child;
    while (i >= 0 && t->node[i].byte != byte) i = t->node[i].sibling;
    return i;
}

/* Returns false when the pattern is in the trie already. */
static bool add_pattern(trie *t, const text_buffer *pattern, int32_t token)
{
    int32_t *first = &t->first[(uint8_t)pattern->text[0]];
    if (*first < 0) *first = add_node(t, (uint8_t)pattern->text[0], -1);
    int32_t at = *first;
    for (int64_t i = 1; i < pattern->bytes; i++) {
        const uint8_t byte = (uint8_t)pattern->text[i];
        int32_t next = find_child(t, at, byte);
        if (next < 0) {
            next = add_node(t, byte, t->node[at].child);
            t->node[at].child = next;
        }
        at = next;
    }
    if (t->node[at].token >= 0) return false;
    t->node[at].token = token;
    return true;
}

/* Returns the longest token that begins at text[from], or -1. */
static int32_t match_at(const trie *t, const char *text, int64_t from, int64_t bytes, int64_t *end)
{
    int32_t best = -1, at = t->first[(uint8_t)text[from]];
    for (int64_t i = from + 1; at >= 0; i++) {
        if (t->node[at].token >= 0) best = t->node[at].token, *end = i;
        if (i == bytes) break;
        at = find_child(t, at, (uint8_t)text[i]);
    }
    return best;
}

/* ---- reading ------------------------------------------------------------------------------------------- */

typedef struct reading {
    added_tokens *a;
    const json_t *vocab; /* of the model */
    json_t *index;       /* of tokens by their spelling */
    const normalizer *n;
    uint32_t next_id;
    const char *path;
    message *why;
} reading;

static added_token *find_token(const reading *r, const char *text, int64_t bytes)
{
    const json_t *i = json_object_getn(r->index, text, (size_t)bytes);
    return i ? &r->a->token[json_integer_value(i)] : NULL;
}

static status read_flags(const reading *r, const json_t *entry, const char *where, added_token *t)
{
    TRY(json_field_bool(entry, "special", false, r->path, where, &t->special, r->why));
    TRY(json_field_bool(entry, "normalized", !t->special, r->path, where, &t->normalized, r->why));
    TRY(json_field_bool(entry, "single_word", false, r->path, where, &t->single_word, r->why));
    TRY(json_field_bool(entry, "lstrip", false, r->path, where, &t->lstrip, r->why));
    return json_field_bool(entry, "rstrip", false, r->path, where, &t->rstrip, r->why);
}

/* Returns the token with this spelling, old or new. Of two entries with one spelling the later one's flags
 * count, except that special stays set. */
static added_token *place_of(reading *r, const char *text, int64_t bytes)
{
    added_tokens *a = r->a;
    added_token *known = find_token(r, text, bytes);
    if (known) return known;
    a->token = array_reserve(a->token, &a->capacity, a->count + 1, sizeof *a->token);
    if (json_object_setn_new(r->index, text, (size_t)bytes, json_integer((json_int_t)a->count)))
        memory_failed("an added token");
    added_token *t = &a->token[a->count++];
    *t = (added_token){0};
    text_buffer_append(&t->spelled, text, bytes + 1); /* with its zero, for messages */
    t->spelled.bytes = bytes;
    const json_t *id = json_object_getn(r->vocab, text, (size_t)bytes);
    t->id = id ? (uint32_t)json_integer_value(id) : r->next_id++;
    return t;
}

static void warn_of_id(const reading *r, const json_t *entry, const added_token *t)
{
    const json_t *id = json_object_get(entry, "id");
    if (json_is_integer(id) && json_integer_value(id) != t->id)
        log_warning("%s: the added token \"%.100s\" has id %lld in the file, but gets %u, as the library "
                    "numbers them",
                    r->path, t->spelled.text, (long long)json_integer_value(id), t->id);
}

static status read_token(reading *r, const json_t *entry, size_t i)
{
    char where[64];
    snprintf(where, sizeof where, "added_tokens[%zu]", i);
    if (!json_is_object(entry)) return fail(r->why, ERR_INPUT, "%s: %s is not an object", r->path, where);
    const char *text = NULL;
    int64_t bytes = 0;
    TRY(json_field_text(entry, "content", r->path, where, &text, &bytes, r->why));
    if (!text) return fail(r->why, ERR_INPUT, "%s: %s.content is missing", r->path, where);
    added_token flags;
    TRY(read_flags(r, entry, where, &flags));
    if (!bytes) return OK;
    added_token *t = place_of(r, text, bytes);
    warn_of_id(r, entry, t);
    t->special |= flags.special;
    t->normalized = flags.normalized;
    t->single_word = flags.single_word, t->lstrip = flags.lstrip, t->rstrip = flags.rstrip;
    return OK;
}

static status index_token(reading *r, int32_t i)
{
    added_tokens *a = r->a;
    added_token *t = &a->token[i];
    if (t->normalized)
        TRY(normalizer_run(r->n, t->spelled.text, t->spelled.bytes, &t->pattern, r->why));
    else
        text_buffer_append(&t->pattern, t->spelled.text, t->spelled.bytes);
    if (!t->pattern.bytes ||
        !add_pattern(&a->trie[t->normalized ? ADDED_NORMALIZED : ADDED_RAW], &t->pattern, i))
        return fail(r->why, ERR_INPUT,
                    "%s: the added token \"%.100s\" is, normalized, empty or like another one", r->path,
                    t->spelled.text);
    if (a->of_id[t->id] >= 0)
        return fail(r->why, ERR_INPUT, "%s: the added tokens \"%.100s\" and \"%.100s\" both get id %u",
                    r->path, a->token[a->of_id[t->id]].spelled.text, t->spelled.text, t->id);
    a->of_id[t->id] = i;
    return OK;
}

static status read_all(reading *r, const json_t *root)
{
    added_tokens *a = r->a;
    const json_t *list = NULL, *entry;
    size_t i;
    if (json_object_get(root, "added_tokens"))
        TRY(json_field_array(root, "added_tokens", r->path, "", &list, r->why));
    json_array_foreach((json_t *)list, i, entry) TRY(read_token(r, entry, i));
    for (int64_t k = 0; k < a->count; k++)
        if (a->token[k].id >= a->ids) a->ids = (int64_t)a->token[k].id + 1;
    a->of_id = memory_new(a->ids + 1, sizeof *a->of_id, "ids of added tokens");
    memset(a->of_id, 0xff, sizeof *a->of_id * (size_t)a->ids);
    for (int32_t k = 0; k < a->count; k++) TRY(index_token(r, k));
    /* As in the library, an id is skipped if the text that it decodes to is the spelling of a special token.
     */
    for (int64_t k = 0; k < a->count; k++) {
        const added_token *same = find_token(r, a->token[k].pattern.text, a->token[k].pattern.bytes);
        a->token[k].is_skipped = same && same->special;
    }
    return OK;
}

status added_tokens_read(added_tokens **out, const json_t *root, const json_t *vocab, const normalizer *n,
                         const char *path, message *why)
{
    *out = NULL;
    added_tokens *a = memory_new(1, sizeof *a, "added tokens");
    json_t *index = memory_check(json_object(), "added tokens");
    memset(a->trie[ADDED_RAW].first, 0xff, sizeof a->trie[ADDED_RAW].first);
    memset(a->trie[ADDED_NORMALIZED].first, 0xff, sizeof a->trie[ADDED_NORMALIZED].first);
    reading r = {.a = a,
                 .vocab = vocab,
                 .index = index,
                 .n = n,
                 .path = path,
                 .why = why,
                 .next_id = (uint32_t)json_object_size(vocab)};
    const status s = read_all(&r, root);
    json_decref(index);
    if (s == OK)
        *out = a;
    else
        added_tokens_free(a);
    return s;
}

void added_tokens_free(added_tokens *a)
{
    if (!a) return;
    for (int64_t i = 0; i < a->count; i++) {
        text_buffer_free(&a->token[i].spelled);
        text_buffer_free(&a->token[i].pattern);
    }
    free(a->token);
    free(a->of_id);
    for (int kind = 0; kind < 2; kind++) free(a->trie[kind].node);
    free(a);
}

int64_t added_tokens_ids(const added_tokens *a) { return a->ids; }

int64_t added_tokens_id(const added_tokens *a, const char *spelled)
{
    for (int64_t i = 0; i < a->count; i++)
        if (!strcmp(a->token[i].spelled.text, spelled)) return a->token[i].id;
    return -1;
}

const char *added_tokens_text(const added_tokens *a, int64_t id, int64_t *bytes, bool *special)
{
    if (id < 0 || id >= a->ids || a->of_id[id] < 0) return NULL;
    const added_token *t = &a->token[a->of_id[id]];
    *bytes = t->pattern.bytes;
    *special = t->is_skipped;
    return t->pattern.text;
}

/* ---- searching ----------------------------------------------------------------------------------------- */

added_search added_tokens_begin(const added_tokens *a, added_kind kind, const char *text, int64_t bytes)
{
    return (added_search){.a = a, .kind = kind, .text = text, .bytes = bytes};
}

/* Returns the character that ends at text[end]; end > 0. */
static uint32_t character_before(const char *text, int64_t end, int *bytes)
{
    int64_t i = end - 1;
    while (i > 0 && ((uint8_t)text[i] & 0xc0) == 0x80) i--;
    return utf8_at(text + i, bytes);
}

static bool stands_alone(const added_search *s, int64_t start, int64_t end)
{
    int bytes;
    return !(start > 0 && unicode_is_word(character_before(s->text, start, &bytes))) &&
           !(end < s->bytes && unicode_is_word(utf8_at(s->text + end, &bytes)));
}

static int64_t strip_left(const added_search *s, int64_t start)
{
    int bytes;
    while (start > 0 && unicode_is_space(character_before(s->text, start, &bytes))) start -= bytes;
    return start;
}

static int64_t strip_right(const added_search *s, int64_t end)
{
    int bytes;
    while (end < s->bytes && unicode_is_space(utf8_at(s->text + end, &bytes))) end += bytes;
    return end;
}

/* Finds the next token in the text, whatever is around it; false when there is none. */
static bool find_next(added_search *s, const added_token **token, int64_t *start, int64_t *end)
{
    const trie *t = &s->a->trie[s->kind];
    int64_t i = s->from;
    for (; i < s->bytes; i++) {
        if (t->first[(uint8_t)s->text[i]] < 0) continue;
        const int32_t found = match_at(t, s->text, i, s->bytes, end);
        if (found < 0) continue;
        *token = &s->a->token[found];
        *start = i;
        s->from = *end;
        return true;
    }
    s->from = i;
    return false;
}

bool added_tokens_next(added_search *s)
{
    const added_token *t;
    int64_t start, end;
    if (!s->a->trie[s->kind].count) return false;
    while (find_next(s, &t, &start, &end)) {
        if (t->single_word && !stands_alone(s, start, end)) continue;
        if (t->lstrip) start = strip_left(s, start);
        s->plain = s->taken;
        s->start = start > s->plain ? start : s->plain; /* the one before may have taken these spaces */
        s->taken = t->rstrip ? strip_right(s, end) : end;
        s->id = t->id;
        return true;
    }
    return false;
}
