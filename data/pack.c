/* The file of a pack index:
 *
 *     | header | first[samples+1] | from[pieces] | length[pieces] |
 *
 * Sample i is the pieces first[i] to first[i+1]-1, and piece j the tokens from[j] to from[j]+length[j]-1.
 *
 * The file is checked whole when it is opened, and read a sample at a time afterwards, so that memory does
 * not grow with the data; a sample is checked again then. A missing index is built under a name of its own
 * and renamed, so that jobs that start at the same time do not disturb each other: they make the same bytes.
 */
#include "data/pack.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/memory.h"
#include "data/pack_plan.h"
#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

enum { VERSION = 1, READ_TOKENS = 1 << 18 };
static const char magic[8] = "RMLAPACK";
static const char *const words[] = {"concat", "transmla", "best_fit"};

/* The header, as in the file. */
typedef struct header {
    char magic[8];
    uint32_t version, mode;
    uint64_t T, eos, documents; /* documents: a hash of where they end */
    uint64_t samples, pieces;
    uint64_t hash; /* of everything before it and everything after it */
} header;
_Static_assert(sizeof(header) == 64, "the header has no gaps");

/* Places of first[], from[] and length[] in the file. */
static int64_t first_at(int64_t sample) { return (int64_t)sizeof(header) + 8 * sample; }
static int64_t from_at(const pack *p, int64_t piece) { return first_at(p->samples + 1) + 8 * piece; }
static int64_t length_at(const pack *p, int64_t piece) { return from_at(p, p->pieces) + 4 * piece; }

static uint64_t documents_hash(const shard *s)
{
    return XXH3_64bits(s->document_end, sizeof *s->document_end * (size_t)s->documents);
}

static uint64_t file_hash_of(const header *h, const void *const part[3], const int64_t bytes[3])
{
    hash_state *hash = hash_start();
    hash_update(hash, h, offsetof(header, hash));
    for (int i = 0; i < 3; i++) hash_update(hash, part[i], bytes[i]);
    return hash_finish(hash);
}

/* Returns the positions that a piece takes. */
static int64_t width(const pack_rule *rule, int64_t length)
{
    return length + (rule->mode == PACKING_TRANSMLA);
}

/* ---- checking ------------------------------------------------------------------------------------------ */

/* Checks the header, and the size of the file against it. */
static status check_header(pack *p, const char *name, const header *h, int64_t count, const shard *s,
                           const pack_rule *rule, message *why)
{
    if (memcmp(h->magic, magic, sizeof magic) != 0)
        return fail(why, ERR_INPUT, "%s: is not a pack index", name);
    if (h->version != VERSION)
        return fail(why, ERR_INPUT, "%s: is a pack index of version %u, this program knows %d", name,
                    h->version, VERSION);
    if (h->mode != (uint32_t)rule->mode || h->T != (uint64_t)rule->T || h->eos != (uint64_t)rule->eos ||
        h->documents != documents_hash(s))
        return fail(why, ERR_INPUT,
                    "%s: was made for another shard, length or way of packing than its name says: remove it, "
                    "and it will be built again",
                    name);
    const uint64_t samples = h->samples, pieces = h->pieces, most = (uint64_t)s->tokens;
    if (samples < 1 || pieces < samples || pieces > most)
        return fail(why, ERR_INPUT, "%s: lists %llu samples of %llu pieces in a shard of %lld tokens", name,
                    (unsigned long long)samples, (unsigned long long)pieces, (long long)s->tokens);
    *p = (pack){.rule = *rule, .samples = (int64_t)samples, .pieces = (int64_t)pieces, .hash = h->hash};
    int64_t want; /* tokens are counted in bytes elsewhere, but not 20 for each */
    if (__builtin_mul_overflow(p->pieces, 20, &want) || want > INT64_MAX - 128 ||
        count != length_at(p, p->pieces))
        return fail(why, ERR_INPUT, "%s: has %lld bytes, not those of %llu samples of %llu pieces", name,
                    (long long)count, (unsigned long long)samples, (unsigned long long)pieces);
    return OK;
}

/* Tells whether a piece and its targets lie inside one document. */
static bool piece_fits(const pack_rule *rule, const shard *s, uint64_t from, uint32_t length)
{
    if (length == 0 || width(rule, length) > rule->T || from >= (uint64_t)s->tokens) return false;
    const int64_t end = s->document_end[shard_document(s, (int64_t)from)];
    return end - (int64_t)from >= (int64_t)length + (rule->mode == PACKING_BEST_FIT);
}

static status check_sample(const pack *p, const char *name, int64_t sample, const uint64_t *first,
                           const uint64_t *from, const uint32_t *length, const shard *s, message *why)
{
    int64_t used = 0;
    bool good = first[sample] < first[sample + 1] && first[sample + 1] <= (uint64_t)p->pieces;
    for (uint64_t j = first[sample]; good && j < first[sample + 1]; j++) {
        good = piece_fits(&p->rule, s, from[j], length[j]);
        used += width(&p->rule, length[j]);
        good = good && used <= p->rule.T;
    }
    return good ? OK
                : fail(why, ERR_INPUT,
                       "%s: sample %lld is not pieces of documents that fit into %lld positions: remove the "
                       "file, and it will be built again",
                       name, (long long)sample, (long long)p->rule.T);
}

status pack_check(pack *p, const char *name, const void *bytes, int64_t count, const shard *s,
                  const pack_rule *rule, message *why)
{
    header h;
    if (count < (int64_t)sizeof h)
        return fail(why, ERR_INPUT, "%s: has %lld bytes, a pack index has at least %zu", name,
                    (long long)count, sizeof h);
    memcpy(&h, bytes, sizeof h);
    TRY(check_header(p, name, &h, count, s, rule, why));
    const char *body = bytes;
    const void *const part[3] = {body + first_at(0), body + from_at(p, 0), body + length_at(p, 0)};
    const int64_t part_bytes[3] = {8 * (p->samples + 1), 8 * p->pieces, 4 * p->pieces};
    if (file_hash_of(&h, part, part_bytes) != h.hash)
        return fail(why, ERR_INPUT,
                    "%s: is damaged: its bytes do not have the hash that it gives; remove it, and it will be "
                    "built again",
                    name);
    const uint64_t *first = part[0];
    if (first[0] != 0 || first[p->samples] != (uint64_t)p->pieces)
        return fail(why, ERR_INPUT, "%s: its samples do not begin at the first piece and end at the last",
                    name);
    for (int64_t i = 0; i < p->samples; i++) TRY(check_sample(p, name, i, first, part[1], part[2], s, why));
    return OK;
}

/* ---- building ------------------------------------------------------------------------------------------ */

/* Sets ends[d] if document d ends with the end-of-text token. Reads the whole shard once. */
static status find_ends(const shard *s, int64_t eos, uint8_t *ends, message *why)
{
    int32_t *token = memory_new(READ_TOKENS, sizeof *token, "ids of %s", s->path);
    status result = OK;
    int64_t d = 0, found = 0;
    uint32_t last = 0; /* token of the last document */
    for (int64_t at = 0; at < s->tokens && result == OK; at += READ_TOKENS) {
        const int64_t n = s->tokens - at < READ_TOKENS ? s->tokens - at : READ_TOKENS;
        result = shard_read(s, at, n, ANY_TOKEN, token, why);
        for (; result == OK && d < s->documents && s->document_end[d] <= at + n; d++)
            found += ends[d] = (last = (uint32_t)token[s->document_end[d] - 1 - at]) == eos;
    }
    free(token);
    if (result == OK && found == 0)
        log_warning(
            "%s: none of its %lld documents ends with the end-of-text token %lld (data.eos); the last "
            "ends with %u",
            s->path, (long long)s->documents, (long long)eos, last);
    return result;
}

static status plan(pack_plan *out, const shard *s, const pack_rule *rule, message *why)
{
    if (rule->mode == PACKING_BEST_FIT) {
        pack_plan_best_fit(out, s->document_end, s->documents, rule->T);
        return OK;
    }
    uint8_t *ends = memory_new(s->documents, sizeof *ends, "the documents of %s", s->path);
    const status result = find_ends(s, rule->eos, ends, why);
    if (result == OK) pack_plan_transmla(out, s->document_end, s->documents, ends, rule->T);
    free(ends);
    return result;
}

static status write_parts(const char *path, const header *h, const void *const part[3],
                          const int64_t bytes[3], message *why)
{
    file_writer w;
    TRY(file_create(&w, path, (int64_t)sizeof *h + bytes[0] + bytes[1] + bytes[2], why));
    TRY(file_append(&w, h, sizeof *h, why));
    for (int i = 0; i < 3; i++) TRY(file_append(&w, part[i], bytes[i], why));
    return file_finish(&w, NULL, why);
}

/* Writes the file under a name of its own, and renames it: two jobs may build the same index at the same
 * time. */
static status write_plan(const char *path, const pack_plan *made, const shard *s, const pack_rule *rule,
                         message *why)
{
    header h = {.version = VERSION,
                .mode = (uint32_t)rule->mode,
                .T = (uint64_t)rule->T,
                .eos = (uint64_t)rule->eos,
                .documents = documents_hash(s),
                .samples = (uint64_t)made->samples,
                .pieces = (uint64_t)made->pieces};
    memcpy(h.magic, magic, sizeof magic);
    const void *const part[3] = {made->first, made->from, made->length};
    const int64_t bytes[3] = {8 * (made->samples + 1), 8 * made->pieces, 4 * made->pieces};
    h.hash = file_hash_of(&h, part, bytes);
    char own[PATH_BYTES], host[64] = "";
    gethostname(host, sizeof host - 1);
    TRY(path_print(own, why, "%s.%s-%d", path, host, (int)getpid()));
    message inner;
    if (write_parts(own, &h, part, bytes, &inner) != OK)
        return fail(why, ERR_INPUT, "%.700s; data.pack_index=FOLDER keeps pack indexes elsewhere",
                    inner.text);
    if (rename(own, path) == 0) return OK;
    const int error = errno;
    unlink(own);
    return fail(why, ERR_INPUT, "%s: cannot be given its name: %s", path, strerror(error));
}

static status build(const char *path, const shard *s, const pack_rule *rule, message *why)
{
    const double start = clock_seconds();
    pack_plan made = {0};
    TRY(plan(&made, s, rule, why));
    status result = OK;
    if (made.samples == 0)
        result = fail(why, ERR_INPUT, "%s: no sample can be made of its %lld documents: they hold no text",
                      s->path, (long long)s->documents);
    if (result == OK) result = write_plan(path, &made, s, rule, why);
    if (result == OK)
        log_line("packed %s (%s): %lld documents in %lld samples of %lld, in %.1f s: %s", s->path,
                 words[rule->mode], (long long)s->documents, (long long)made.samples, (long long)rule->T,
                 clock_seconds() - start, path);
    pack_plan_free(&made);
    return result;
}

/* ---- opening and reading ------------------------------------------------------------------------------- */

/* Makes the path of the index, the same one for X.ds and X.ds.zst, which hold the same tokens. */
static status choose_path(char *out, const shard *s, const pack_rule *rule, const char *folder, message *why)
{
    const uint64_t key[] = {(uint64_t)rule->mode, (uint64_t)rule->T, (uint64_t)rule->eos, documents_hash(s)};
    const char *base = path_base(s->path), *name = folder[0] ? base : s->path;
    size_t length = strlen(name);
    if (length > 4 && !strcmp(name + length - 4, ".zst")) length -= 4;
    char hash[HASH_TEXT];
    hash_text(hash, XXH3_64bits(key, sizeof key));
    return path_print(out, why, "%s%s%.*s.%s-%lld-%s.pack", folder, folder[0] ? "/" : "", (int)length, name,
                      words[rule->mode], (long long)rule->T, hash);
}

status pack_open(pack *p, const shard *s, const pack_rule *rule, const char *folder, message *why)
{
    char path[PATH_BYTES], *bytes;
    int64_t count;
    TRY(choose_path(path, s, rule, folder, why));
    if (folder[0]) TRY(folder_make(folder, why));
    if (!file_exists(path)) TRY(build(path, s, rule, why));
    /* There is at most a piece for each token: a larger file is refused before it is read. */
    TRY(file_read_text(path, first_at(1) + 20 * s->tokens, &bytes, &count, why));
    const status result = pack_check(p, path, bytes, count, s, rule, why);
    free(bytes);
    strcpy(p->path, path);
    return result;
}

/* Reads the pieces of a sample; never allocates more than a piece for each position. */
static status read_pieces(const pack *p, int fd, int64_t sample, pack_piece **piece, int *pieces,
                          message *why)
{
    uint64_t range[2];
    TRY(file_read_at(fd, p->path, range, sizeof range, first_at(sample), why));
    const int64_t first = (int64_t)range[0], count = (int64_t)(range[1] - range[0]);
    if (range[1] > (uint64_t)p->pieces || count < 1 || count > p->rule.T)
        return fail(why, ERR_INPUT, "%s: has changed since it was opened", p->path);
    *pieces = (int)count;
    *piece = memory_new(count, sizeof **piece + 12, "pieces");
    uint64_t *from = (uint64_t *)(*piece + count);
    uint32_t *length = (uint32_t *)(from + count);
    TRY(file_read_at(fd, p->path, from, 8 * count, from_at(p, first), why));
    TRY(file_read_at(fd, p->path, length, 4 * count, length_at(p, first), why));
    for (int64_t i = 0; i < count; i++) (*piece)[i] = (pack_piece){(int64_t)from[i], length[i]};
    return OK;
}

status pack_read(const pack *p, const shard *s, int64_t sample, pack_piece **piece, int *pieces, message *why)
{
    REQUIRE(sample >= 0 && sample < p->samples, "sample %lld of %lld", (long long)sample,
            (long long)p->samples);
    int fd;
    int64_t bytes, used = 0;
    *piece = NULL;
    TRY(file_open(p->path, &fd, &bytes, why));
    status result = read_pieces(p, fd, sample, piece, pieces, why);
    close(fd);
    /* The file may have changed since it was checked. */
    for (int i = 0; result == OK && i < *pieces; i++) {
        used += width(&p->rule, (*piece)[i].length);
        if (used > p->rule.T ||
            !piece_fits(&p->rule, s, (uint64_t)(*piece)[i].from, (uint32_t)(*piece)[i].length))
            result = fail(why, ERR_INPUT, "%s: has changed since it was opened", p->path);
    }
    if (result == OK) return OK;
    free(*piece);
    *piece = NULL;
    return result;
}
