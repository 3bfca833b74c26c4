/* llm.c's .bin: 256 int32 of header (magic, version, number of tokens, zeroes), then ids. Documents are not
 * marked. */
#include "data/prepare/import_reader.h"
#include <string.h>
#include <unistd.h>

enum { HEADER_BYTES = 1024 };

/* The files that llm.c writes, by the number that they begin with. Only the first two are tokens. */
static const struct kind {
    int32_t magic, version; /* 0: none is read */
    id_type type;
    const char *what;
} kinds[] = {
    {20240520, 1, ID_U16, "GPT-2 tokens"},
    {20240801, 7, ID_U32, "Llama 3 tokens"},
    {20240522, 0, ID_U16, "a multiple-choice evaluation of llm.c"},
    {20240326, 0, ID_U16, "a model of llm.c"},
    {20240803, 0, ID_U16, "a model of llm.c"},
    {20240327, 0, ID_U16, "a debugging state of llm.c"},
    {20240328, 0, ID_U16, "a tokenizer of llm.c"},
    {20240527, 0, ID_U16, "a training state of llm.c"},
};

static const struct kind *find_kind(const void *head)
{
    int32_t magic;
    memcpy(&magic, head, sizeof magic);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++)
        if (kinds[i].magic == magic) return &kinds[i];
    return NULL;
}

static bool recognise(const char *path, const unsigned char head[HEAD_BYTES])
{
    (void)path;
    return find_kind(head) != NULL;
}

/* Checks the header, which determines the size of the file. */
static status header_check(const char *path, const int32_t *header, int64_t bytes, id_type *type,
                           message *why)
{
    const struct kind *k = find_kind(header);
    if (!k)
        return fail(why, ERR_INPUT, "%s: begins with %d, but llm.c's tokens begin with 20240520 or 20240801",
                    path, header[0]);
    if (!k->version) return fail(why, ERR_INPUT, "%s: is %s (magic %d), not tokens", path, k->what, k->magic);
    if (header[1] != k->version)
        return fail(why, ERR_INPUT, "%s: is version %d of llm.c's %s, expected version %d", path, header[1],
                    k->what, k->version);
    *type = k->type;
    if (header[2] < 0 || bytes - HEADER_BYTES != header[2] * (int64_t)import_id_bytes(k->type))
        return fail(why, ERR_INPUT,
                    "%s: the header says %d tokens of %d bytes, but %lld bytes are behind the header", path,
                    header[2], import_id_bytes(k->type), (long long)bytes - HEADER_BYTES);
    return OK;
}

static status header_read(const char *path, id_type *type, message *why)
{
    int fd;
    int64_t bytes;
    int32_t header[HEADER_BYTES / 4];
    TRY(file_open(path, &fd, &bytes, why));
    status s = file_read_at(fd, path, header, HEADER_BYTES, 0, why);
    if (s == OK) s = header_check(path, header, bytes, type, why);
    close(fd);
    return s;
}

static status open(import_source *s, const import_settings *settings, message *why)
{
    id_type type;
    plain_ids *p = import_plain_state(s);
    TRY(header_read(s->path, &type, why));
    TRY(import_plain_open(p, s->path, type, HEADER_BYTES, settings, why));
    import_plain_describe(s, p);
    return OK;
}

const import_reader import_llmc = {"llmc", recognise, open, import_plain_state_next,
                                   import_plain_state_close};
