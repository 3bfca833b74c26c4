/* Private to the importers: what one format provides, and what they share. */
#ifndef REMLA_DATA_PREPARE_IMPORT_READER_H
#define REMLA_DATA_PREPARE_IMPORT_READER_H
#include "data/prepare/byte_stream.h"
#include "data/prepare/import.h"

enum { HEAD_BYTES = 16 };

typedef struct import_reader {
    const char *name;
    /* Whether it wrote the file, by what is certain: its first bytes (zeroes behind its end) and what lies
     * beside it. NULL: that cannot be seen. */
    bool (*recognise)(const char *path, const unsigned char head[HEAD_BYTES]);
    /* Fills what import_source says of itself and sets `state`; import_open has done path and reader. On
     * failure import_open calls close. */
    status (*open)(import_source *s, const import_settings *how, message *why);
    status (*next)(import_source *s, uint32_t *ids, int64_t room, int64_t *count, bool *ends, message *why);
    void (*close)(import_source *s); /* when there is a state */
} import_reader;

/* Whether there is a file named like this one with `suffix` appended; out: its path. */
bool file_beside(char out[PATH_BYTES], const char *path, const char *suffix);

extern const import_reader import_datatrove, import_llmc, import_megatron, import_nanogpt, import_mds,
    import_zst;

/* ---- ids ----------------------------------------------------------------------------------------------- */

typedef enum id_type { ID_U8, ID_I8, ID_U16, ID_I16, ID_U32, ID_I32, ID_I64 } id_type;

typedef struct id_reader {
    id_type type;
    int64_t vocabulary;
} id_reader;

int id_bytes(id_type type);
/* Reads `count` little-endian ids. One that is negative or not below the vocabulary is an ERR_INPUT: "FILE:
 * WHAT N (byte B) is ...", where N counts from `first`. */
status ids_read(byte_stream *b, const id_reader *r, uint32_t *out, int64_t count, const char *what,
                int64_t first, message *why);

/* ---- files that are nothing but ids from some byte on -------------------------------------------------- */

typedef struct plain_ids {
    byte_stream bytes;
    id_reader ids;
    int64_t tokens, read;
} plain_ids;

/* ERR_INPUT when what follows byte `from` is not a whole number of ids. */
status plain_open(plain_ids *p, const char *path, id_type type, int64_t from, const import_settings *how,
                  message *why);
void plain_close(plain_ids *p);
/* For a width that nothing but the caller has said: ERR_INPUT when the first ids contradict it. A model
 * that is trained on the halves of ids learns nothing, and nobody is told. */
status plain_look(const plain_ids *p, message *why);
/* Width, number of tokens and bytes of the source. */
void plain_describe(import_source *s, const plain_ids *p);
/* The next ids, as many as there is room for; *count 0 at the end. */
status plain_read(import_source *s, plain_ids *p, uint32_t *ids, int64_t room, int64_t *count, message *why);

/* Readers whose state is a plain_ids and nothing else. */
plain_ids *plain_state(import_source *s);
status plain_state_next(import_source *s, uint32_t *ids, int64_t room, int64_t *count, bool *ends,
                        message *why);
void plain_state_close(import_source *s);

#endif
