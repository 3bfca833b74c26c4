/* Private to the importers: the interface that a format implements, and helpers that formats share. */
#ifndef REMLA_DATA_PREPARE_IMPORT_READER_H
#define REMLA_DATA_PREPARE_IMPORT_READER_H
#include "data/prepare/byte_stream.h"
#include "data/prepare/import.h"

enum { HEAD_BYTES = 16 };

typedef struct import_reader {
    const char *name;
    /* Returns true if the file is certainly of this format: by its first bytes (zeroes behind its end) or by
     * the files beside it. NULL: the format cannot be recognised. */
    bool (*recognise)(const char *path, const unsigned char head[HEAD_BYTES]);
    /* Fills in the source and sets `state`; import_open has set path and reader. On failure import_open calls
     * close. */
    status (*open)(import_source *s, const import_settings *settings, message *why);
    status (*next)(import_source *s, uint32_t *ids, int64_t capacity, int64_t *count, bool *ends,
                   message *why);
    void (*close)(import_source *s); /* when there is a state */
} import_reader;

/* Returns true if a file named like this one with `suffix` appended exists; out: its path. */
bool import_file_beside(char out[PATH_BYTES], const char *path, const char *suffix);

extern const import_reader import_datatrove, import_llmc, import_megatron, import_nanogpt, import_mds,
    import_zst;

/* ---- ids ----------------------------------------------------------------------------------------------- */

typedef enum id_type { ID_U8, ID_I8, ID_U16, ID_I16, ID_U32, ID_I32, ID_I64 } id_type;

typedef struct id_reader {
    id_type type;
    int64_t vocabulary;
} id_reader;

int import_id_bytes(id_type type);
/* Reads `count` little-endian ids. One that is negative or not below the vocabulary is an ERR_INPUT: "FILE:
 * WHAT N (byte B) is ...", where N counts from `first`. */
status import_ids_read(byte_stream *b, const id_reader *r, uint32_t *out, int64_t count, const char *what,
                       int64_t first, message *why);

/* ---- files that are nothing but ids from some byte on -------------------------------------------------- */

typedef struct plain_ids {
    byte_stream bytes;
    id_reader ids;
    int64_t tokens, read;
} plain_ids;

/* ERR_INPUT when what follows byte `from` is not a whole number of ids. */
status import_plain_open(plain_ids *p, const char *path, id_type type, int64_t from,
                         const import_settings *settings, message *why);
void import_plain_close(plain_ids *p);
/* Checks a width that only the user gave: ERR_INPUT when the first ids contradict it. Otherwise a model would
 * silently be trained on halves of ids and learn nothing. */
status import_plain_look(const plain_ids *p, message *why);
/* Fills in the source's width, number of tokens and bytes. */
void import_plain_describe(import_source *s, const plain_ids *p);
/* Reads up to `capacity` ids; *count is 0 at the end. */
status import_plain_read(import_source *s, plain_ids *p, uint32_t *ids, int64_t capacity, int64_t *count,
                         message *why);

/* Readers whose state is a plain_ids and nothing else. */
plain_ids *import_plain_state(import_source *s);
status import_plain_state_next(import_source *s, uint32_t *ids, int64_t capacity, int64_t *count, bool *ends,
                               message *why);
void import_plain_state_close(import_source *s);

#endif
