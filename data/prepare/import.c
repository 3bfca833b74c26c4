/* Detects which program wrote a file, and does what all readers have in common. A format is detected only by
 * certain signs: a magic number, or files beside it. Raw ids have none and are never guessed, because every
 * file can be read as ids. Formats that are certainly not ids (NumPy, Parquet ...) are refused with advice.
 */
#include "data/prepare/import_reader.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Indexed by the words of import.format. */
static const import_reader *const readers[] = {
    [IMPORT_DATATROVE] = &import_datatrove,
    [IMPORT_LLMC] = &import_llmc,
    [IMPORT_MEGATRON] = &import_megatron,
    [IMPORT_NANOGPT] = &import_nanogpt,
    [IMPORT_MDS] = &import_mds,
};
enum { NUM_READERS = sizeof readers / sizeof readers[0], RUN = 1 << 14 };

/* ---- detection ----------------------------------------------------------------------------------------- */

bool import_file_beside(char out[PATH_BYTES], const char *path, const char *suffix)
{
    return snprintf(out, PATH_BYTES, "%s%s", path, suffix) < PATH_BYTES && file_exists(out);
}

/* Refuses files whose first bytes show that they are not ids, whatever their names. */
static status refuse_known(const char *path, const unsigned char head[HEAD_BYTES], message *why)
{
    static const struct {
        const char *begin;
        size_t length;
        const char *what;
    } known[] = {
        {"MMIDIDX\0\0", 9, "an index of Megatron: name the .bin beside it"},
        {"\x28\xb5\x2f\xfd", 4, "compressed by zstd: decompress it with `zstd -d`"},
        {"\x50\x2a\x4d\x18", 4, "compressed by zstd: decompress it with `zstd -d`"},
        {"\x93NUMPY", 6, "a NumPy array with its header: write the ids alone, with tofile"},
        {"PAR1", 4, "a Parquet table: write its column of ids as one of the formats that are read"},
        {"ARROW1\0\0", 8, "an Arrow table: write its column of ids as one of the formats that are read"},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (!memcmp(head, known[i].begin, known[i].length))
            return fail(why, ERR_INPUT, "%s: is %s", path, known[i].what);
    return OK;
}

static status read_head(const char *path, unsigned char head[HEAD_BYTES], message *why)
{
    int fd;
    int64_t bytes;
    TRY(file_open(path, &fd, &bytes, why));
    const status s = file_read_at(fd, path, head, bytes < HEAD_BYTES ? bytes : HEAD_BYTES, 0, why);
    close(fd);
    return s;
}

static status detect(const char *path, const import_settings *settings, const import_reader **found,
                     message *why)
{
    unsigned char head[HEAD_BYTES] = {0};
    if (!folder_exists(path)) {
        TRY(read_head(path, head, why));
        if (import_zst.recognise(path, head) &&
            (settings->format == IMPORT_AUTO || settings->format == IMPORT_DATATROVE)) {
            *found = &import_zst;
            return OK;
        }
        TRY(refuse_known(path, head, why));
    }
    if (settings->format == IMPORT_NANOGPT && import_llmc.recognise(path, head))
        return fail(why, ERR_INPUT, "%s: begins as llm.c's files do, with a header: import.format=llmc",
                    path);
    *found = readers[settings->format];
    for (int i = 0; i < NUM_READERS && !*found; i++)
        if (readers[i] && readers[i]->recognise && readers[i]->recognise(path, head)) *found = readers[i];
    if (*found) return OK;
    if (folder_exists(path))
        return fail(why, ERR_INPUT, "%s: is a folder without index.json, so that it is not MDS", path);
    return fail(why, ERR_USAGE,
                "%s: the format is not recognised, and ids without a header are not guessed: "
                "import.format=nanogpt with import.token_bytes=2 or 4 reads the whole file as ids",
                path);
}

/* ---- the source ---------------------------------------------------------------------------------------- */

/* Opens the reader, and checks what all formats have in common. */
static status check(import_source *s, const import_settings *settings, message *why)
{
    if (folder_exists(s->path) != (s->reader == &import_mds))
        return fail(why, ERR_INPUT, "%s: is %s, but %s is read from %s", s->path,
                    folder_exists(s->path) ? "a folder" : "no folder", s->reader->name,
                    s->reader == &import_mds ? "the folder of its index.json" : "a file");
    TRY(s->reader->open(s, settings, why));
    if (!settings->token_bytes || s->reader == &import_nanogpt || s->reader == &import_datatrove ||
        settings->token_bytes == s->token_bytes)
        return OK;
    return fail(why, ERR_USAGE, "%s: import.token_bytes=%d, but its ids take %d bytes", s->path,
                settings->token_bytes, s->token_bytes);
}

status import_open(import_source *s, const char *path, const import_settings *settings, message *why)
{
    import_settings h = *settings;
    if (!h.vocabulary) h.vocabulary = IMPORT_VOCABULARY;
    REQUIRE(h.vocabulary <= (int64_t)1 << 31, "vocabulary of %lld", (long long)h.vocabulary);
    *s = (import_source){.tokens = -1,
                         .documents = -1,
                         .eos = settings->eos,
                         .known = {.vocabulary = -1, .eos = -1, .bos = -1, .pad = -1}};
    TRY(path_print(s->path, why, "%s", path));
    TRY(detect(path, &h, &s->reader, why));
    s->format = s->reader->name;
    const status result = check(s, &h, why);
    if (result != OK) import_close(s);
    if (result == OK && settings->vocabulary) s->token_bytes = settings->vocabulary <= 1 << 16 ? 2 : 4;
    return result;
}

void import_close(import_source *s)
{
    if (s->state) s->reader->close(s);
    *s = (import_source){0};
}

status import_next(import_source *s, uint32_t *ids, int64_t capacity, int64_t *count, bool *ends,
                   message *why)
{
    *count = 0;
    *ends = false;
    return s->reader->next(s, ids, capacity, count, ends, why);
}

/* ---- into a shard -------------------------------------------------------------------------------------- */

/* Appends ids; documents end behind every `eos`. */
static status append_cut(shard_writer *w, const uint32_t *ids, int64_t count, uint32_t eos, message *why)
{
    int64_t from = 0;
    for (int64_t i = 0; i < count; i++) {
        if (ids[i] != eos) continue;
        TRY(shard_writer_append(w, ids + from, i + 1 - from, why));
        TRY(shard_writer_end_document(w, why));
        from = i + 1;
    }
    return shard_writer_append(w, ids + from, count - from, why);
}

status import_step(import_source *s, shard_writer *w, bool *more, message *why)
{
    uint32_t ids[RUN];
    int64_t count;
    bool ends;
    TRY(import_next(s, ids, RUN, &count, &ends, why));
    *more = count > 0 || ends;
    for (int64_t i = 0; i < count; i++) s->eos_seen += ids[i] == s->eos;
    if (!s->keeps_documents && s->eos >= 0) return append_cut(w, ids, count, (uint32_t)s->eos, why);
    TRY(shard_writer_append(w, ids, count, why));
    return ends ? shard_writer_end_document(w, why) : OK;
}
